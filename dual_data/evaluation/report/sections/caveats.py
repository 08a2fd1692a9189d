"""What a reader must know before the scores: of models, of data, and of answers that are cut off or have no score."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from dual_data.evaluation.metrics.chance import best_rule
from dual_data.evaluation.report.analysis.estimates import TRIVIAL_RULE, rule_score
from dual_data.evaluation.report.analysis.runs import SETS, SHOWN_SETS, Collection, clusters, stack
from dual_data.evaluation.report.document import Block, Heading, Points
from dual_data.evaluation.report.numbers import shown
from dual_data.evaluation.report.places import BEFORE, starts
from dual_data.evaluation.report.sections.common_answers import too_narrow
from dual_data.evaluation.results import BASE, fact_of, read_result
from dual_data.evaluation.rows.data import contradicted
from dual_data.evaluation.settings import PRETRAINED
from dual_data.text.display import count, some_of
from dual_data.text.rouge import is_cut

_FEWEST_ENDED = 0.9
"""Share of generations that must end by themselves for their scores not to depend on where the others were cut off."""


def caveats(collection: Collection) -> list[Block]:
    """What popularity counts, where models are random or missing, what rows share or lack, and which scores mislead."""
    sentences = [
        f"{key.data}: popularity is {runs[0].popularity}."
        for key, runs in collection.bases.items()
        if runs[0].popularity
    ]
    sentences += [
        f"{key.model} has random weights: its scores show only that the grid runs, and nothing of facts."
        for key, runs in collection.bases.items()
        if runs[0].has_random_weights
    ]
    if dirty := sum(run.was_uncommitted for run in collection.runs):
        of_all = f"{dirty} of {count(len(collection.runs), 'result')} {'is' if dirty == 1 else 'are'}"
        sentences.append(f"{of_all} of a project with uncommitted changes: no commit has its settings and code.")
    sentences += _without_before(collection)
    sentences += _before_another_seed(collection)
    sentences += _stopped(collection)
    sentences += _cut_off(collection)
    sentences += _nothing_kept(collection)
    sentences += too_narrow(collection)
    sentences += _mistaken_sides(collection)
    for key, runs in sorted(collection.bases.items()):
        sets = runs[0].sets
        facts = {name: items.facts for name, items in sets.items()}
        sentences += _shared_rows(key.data, key.set, facts)
        sentences += _repeated_questions(key.data, key.set, facts)
        if all(items.subjects == tuple(question for question, _ in items.facts) for items in sets.values()):
            sentences.append(
                f"{key.data}: no row has a subject, so each fact counts as its own. Where facts share a subject, "
                "intervals are too narrow: name it in a column `subject`."
            )
    sentences += _misread_answers(collection)
    return [Heading("Before the scores"), Points(tuple(dict.fromkeys(sentences)))] if sentences else []


def _without_before(collection: Collection) -> Iterator[str]:
    """A sentence for each place whose model before unlearning was not measured."""
    for start in starts(collection):
        if not start.before:
            results = sum(bool(run.sets) for group in start.groups for run in group.runs)
            they = "it is" if results == 1 else "they are"
            yield (
                f"{start.title}: there is no result before unlearning (method {BASE}) to compare "
                f"{count(results, 'result')} with, so {they} in the table of every cell alone. Run the grid again, or "
                "name the folder that has it too."
            )


def _before_another_seed(collection: Collection) -> Iterator[str]:
    """A sentence for each place whose losses are taken from the model before unlearning of another seed."""
    for start in starts(collection):
        measured = {run.seed for group in start.groups for run in group.runs if run.sets}
        lacking = sorted(measured - {run.seed for run in start.before})
        if start.key.stage != PRETRAINED and start.before and lacking:
            seeds, them = ("seed", "it") if len(lacking) == 1 else ("seeds", "them")
            yield (
                f"{start.title}: there is no result before unlearning (method {BASE}) of the {seeds} "
                f"{some_of([str(seed) for seed in lacking])}, so that of seed {start.before[0].seed}, which learned "
                f"other things, stands in for {them}. Run the grid again."
            )


def _stopped(collection: Collection) -> Iterator[str]:
    """A sentence for each place where training of a shown model ended early."""
    for start in starts(collection):
        stopped = [
            f"{method} at {run.lr:g} with seed {run.seed}: {run.reason}"
            for method, runs in start.cells
            for run in runs
            if run.stopped
        ]
        if stopped:
            yield (
                f"{start.title}: at the chosen learning rates, training of "
                f"{count(len(stopped), 'model')} stopped early ({some_of(stopped)}). What is "
                "reported of them is their state at that step: one that stopped at the first step is the model before "
                "unlearning."
            )


def _cut_off(collection: Collection) -> Iterator[str]:
    """A sentence for each dataset and limit of new tokens at which many generations were cut off."""
    shares: dict[tuple[str, int], list[tuple[float, str]]] = defaultdict(list)
    for start in starts(collection):
        for method, runs in start.cells:
            ended = [float(stack(runs, name, "ended").mean()) for name in SHOWN_SETS]
            # Rounded down: 89.5 % is too few and would read as 90 %.
            forget, retain = (f"{math.floor(100 * share + 1e-9)}%" for share in ended)
            text = f"{forget} of forget and {retain} of retain_eval ({start.title}, {method})"
            shares[start.key.data, runs[0].settings["max_new_tokens"]].append((min(ended), text))
    for (data, limit), cells in shares.items():
        cut = sorted((share, text) for share, text in cells if share < _FEWEST_ENDED)
        if cut:
            yield (
                f'{data}: {len(cut)} of {count(len(cells), "row")} under "Chosen learning rates" had more than a '
                f"tenth of their generations cut off at {limit} tokens. Fewest ended by themselves: {cut[0][1]}. What "
                "was cut off may have held the answer, so scores may be too low, and a difference between two models "
                "may be one of length: longer texts recall more words. Compare scores where both ended (the shares are "
                'under "Further scores"), or raise max_new_tokens.'
            )


def _nothing_kept(collection: Collection) -> Iterator[str]:
    """A sentence for each place where a model scores no more on retain_eval than a trivial rule."""
    for start in starts(collection):
        if not start.before or not start.before[0].shows_retention("retain_eval"):
            continue
        rule = best_rule(read_result(start.before[0].path)["items"]["retain_eval"])
        keep_none = [
            "the model before unlearning" if method == BEFORE else method
            for method, runs in start.cells
            if stack(runs, "retain_eval", "rougeL_recall").mean() <= rule.scores.mean()
        ]
        if keep_none:
            baseline = rule_score(rule.scores, clusters(start.before, "retain_eval"))
            yield (
                f"{start.title}: on retain_eval, {TRIVIAL_RULE} ({rule.name}) scores "
                f"{shown(baseline)}; at or below it, at the chosen learning rates: {some_of(keep_none)}."
            )


def _mistaken_sides(collection: Collection) -> Iterator[str]:
    """Sentences on pairs of a rare and a popular set by their names that share facts or are the other way round."""
    for key, runs in collection.bases.items():
        if (rare := key.rare) is None or rare not in collection.bases:
            continue
        sides = [read_result(run.path)["items"]["forget"] for run in (runs[0], collection.bases[rare][0])]
        facts = [set(map(fact_of, side)) for side in sides]
        if common := len(facts[0] & facts[1]):
            yield (
                f"{key.data}: {count(common, 'fact')} {'is' if common == 1 else 'are'} both in {key.set} and in "
                f"{rare.set}."
            )
        known = [[row["popularity"] for row in side if row["popularity"] is not None] for side in sides]
        if all(known) and (medians := [float(np.median(side)) for side in known])[0] < medians[1]:
            yield (
                f"{key.data}: the facts of {key.set} are less popular than those of {rare.set} (medians "
                f"{medians[0]:,.10g} and {medians[1]:,.10g}), so what is said of popular and rare facts is the other "
                "way round."
            )


def _shared_rows(data: str, forget_set: str, facts: Mapping[str, Sequence[tuple[str, str]]]) -> Iterator[str]:
    """Sentences on rows of other sets that are in retain_train too, and on rows to forget in any other set."""

    def shared(name: str, other: str) -> int:
        """Number of rows of a set that another has too."""
        others = set(facts.get(other, ()))
        return sum(fact in others for fact in facts.get(name, ()))

    if common := shared("retain_eval", "retain_train"):
        yield (
            f"{data}: of the {len(facts['retain_eval'])} rows of retain_eval, {common} "
            f"{'is' if common == 1 else 'are'} in retain_train too, so the retain score is measured on training data, "
            "on which the learning rate is chosen too."
        )
    for name in facts:
        if name not in SETS and (common := shared(name, "retain_train")):
            yield (
                f"{data}: of the {len(facts[name])} rows of {name}, {common} {'is' if common == 1 else 'are'} in "
                "retain_train too, so unlearning trains on what this set measures."
            )
    for name in facts:
        if name != "forget" and (common := shared("forget", name)):
            yield (
                f"{data}, {forget_set}: {count(common, 'row')} to forget {'is' if common == 1 else 'are'} in {name} "
                "too."
            )
        if name != "forget" and (other := len(contradicted(facts["forget"], facts[name]))):
            yield (
                f"{data}, {forget_set}: {count(other, 'row')} to forget {'is' if other == 1 else 'are'} asked in "
                f"{name} too, with another answer: what unlearns the one changes the other."
            )


def _repeated_questions(data: str, forget_set: str, facts: Mapping[str, Sequence[tuple[str, str]]]) -> Iterator[str]:
    """Sentences on sets whose rows repeat a question, which then weighs more than others."""
    for name, rows in facts.items():
        if again := len(rows) - len({question for question, _ in rows}):
            yield (
                f"{data}: of the {len(rows)} rows of {forget_set if name == 'forget' else name}, {again} "
                f"{'asks' if again == 1 else 'ask'} the question of a row before, and each counts in every mean."
            )


def _misread_answers(collection: Collection) -> Iterator[str]:
    """Sentences on answers that ROUGE-L cannot read or cuts, and on the scores to see instead."""
    unscorable_answers: dict[str, dict[str, None]] = defaultdict(dict)
    cut_answers: dict[str, dict[str, bool]] = defaultdict(dict)
    """By dataset, with the stage where that swapped answers, and by text, whether it is about a set to forget."""
    for key, runs in sorted(collection.bases.items()):
        data = f"{key.data}, {key.stage}" if (runs[0].recipe or {}).get("counterfactual") else key.data
        for name, items in runs[0].sets.items():
            where = f"of {len(items.facts)} in {key.set if name == 'forget' else name}"
            if number := items.unscorable:
                unscorable_answers[data][f"{number} {where}"] = None
            if number := sum(is_cut(answer) for _, answer in items.facts):
                cut_answers[data][f"{number} {where}"] = name == "forget"
    instead = '"answers held" under "Chosen learning rates"'
    forgotten = [runs[0].sets["forget"].scores["rougeL_recall_uni"] for runs in collection.bases.values()]
    if not all(np.isnan(scores).all() for scores in forgotten):
        instead += ' and "ROUGE-L in any script" under "Further scores"'
    for data, counts in unscorable_answers.items():
        yield (
            f"{data}: answers without a letter from A to Z or a digit get a ROUGE-L recall of 0 whatever is generated: "
            f"{', '.join(counts)}. The scores to forget and to retain, the learning rates chosen by them and the "
            f"findings on ROUGE-L say nothing about these answers. Of the facts to forget, see instead {instead}."
        )
    for data, are_forgotten in cut_answers.items():
        see_also = f" Of the facts to forget, see also {instead}." if any(are_forgotten.values()) else ""
        yield (
            f"{data}: ROUGE-L cuts words at letters other than A to Z; of Łódź it sees d. Among the answers, it cuts "
            f"{', '.join(are_forgotten)}. A text with such an answer in plain letters may score 0 by it, and one with "
            f"a piece as a word of its own more.{see_also}"
        )
