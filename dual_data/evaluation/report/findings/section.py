"""The section on the findings: each question with its answer, and the comparisons behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dual_data.evaluation.report.analysis.contrast import Contrast
from dual_data.evaluation.report.analysis.curves import LOST
from dual_data.evaluation.report.analysis.estimates import TRIVIAL_RULE
from dual_data.evaluation.report.analysis.relearned import Relearned
from dual_data.evaluation.report.analysis.runs import Collection
from dual_data.evaluation.report.document import ITEMS, Block, Folded, Heading, Paragraph, Points, Table
from dual_data.evaluation.report.findings.baselines import baseline_answer
from dual_data.evaluation.report.findings.popularity import popularity_answer
from dual_data.evaluation.report.findings.relearning import relearning_answer
from dual_data.evaluation.report.findings.sentences import Compared
from dual_data.evaluation.report.findings.stages import control_answer, smoothness_answer, stage_answer
from dual_data.evaluation.report.findings.wordings import own_words_answer, wording_answer
from dual_data.evaluation.report.numbers import p_value, shown
from dual_data.evaluation.report.places import sources

_POPULARITY = (
    "A comparison is of popular and rare facts under one model, method and learning rate; the loss is the drop of "
    "ROUGE-L recall since before unlearning. One learning rate serves both sets: that with the largest mean, over the "
    'two, of the harmonic mean in the rule under "Chosen learning rates". Paired facts: the model before unlearning '
    "answers both or neither, and gives both answers a similar log-probability (at most a quarter of a nat a token "
    "apart; fewer than ten pairs are not compared). A right answer's is that of its tokens after the words that the "
    "model itself put before them, since a model that answers in sentences gives the bare answer a low one whatever it "
    "knows. Over all facts, the set that scores more before unlearning has more to lose; paired facts score alike. At "
    "one rate, forgetting one set may do more general damage than forgetting the other: the "
    'tables under "Details of the findings" give the retain_eval score in the same cells beside each comparison.'
)
_RETENTION = (
    f"Equal forgetting: where {LOST:.0%} of the forget score is gone, interpolated between the learning rates on "
    "either side. Retention: the retain_eval score there, as a share of that before unlearning."
)
_JUMPS = (
    "Largest jump: the largest change of the forget score between neighbouring learning rates, or up to the lowest of "
    "them, in per cent of that score before unlearning. Noise alone makes the largest of several changes large, and "
    "rates that lie far apart make every change large: this describes the curves and tests nothing."
)
_WORDINGS = (
    "At the chosen learning rates. By chance: how often the same wordings and prompts bring out the answer of another "
    "fact of the relation."
)
_OWN_WORDS = (
    "At the chosen learning rates, for cells that lost ten facts or more, counted in every seed. A model that answers "
    "in sentences may only begin otherwise: its text then lacks an answer that it would still give after the words of "
    "before. These may hint at the answer, as a region does at its country."
)
_RELEARNING = (
    "Cells are tuned on some facts and asked those to forget that they were not tuned on; a curve is of one cell and "
    "one way of tuning it. What the control gains by the same tuning is no recovery: the table under "
    '"Relearning" names it. Facts that tuning loses count against those that it brings back. What the control loses by '
    "it is harm, which is smaller in a model that has less to lose: left out, it makes what comes back look too "
    "little, and counted as recovery too much. Popular and rare facts are compared in both ways where both lost ten "
    "facts or more at one learning rate; a difference is shown if both ways show it."
)
_BASELINES = (
    f"The trivial rule is {TRIVIAL_RULE}, with its name in parentheses: subject_copy gives the subject's label, "
    "subject_prefix its first letters, majority_answer the set's most frequent answer, relation_majority that of the "
    "relation, and shuffled_answers another answer of the relation. Scores are ROUGE-L recall on the forget facts "
    "measured; cells are at their chosen learning rates. Where the facts that it is right for are kept and the others "
    "lost, a set seems hard to forget because of its answers."
)
_INTERVALS = (
    "Intervals are bootstrap intervals over subjects and seeds. How often a subject is drawn, with all its facts, is a "
    "Poisson variable with a mean of 1. The mean over seeds is drawn from Student's t distribution, since seeds are "
    "few. A difference of two sets or two curves has the degrees of freedom of all their seeds (Welch, Satterthwaite). "
    "Scores have 2,000 draws, medians 1,000, AUCs and rank correlations 500, so ends vary in the second or third "
    "digit.",
    "In simulations of three and five seeds (two were not tried), 94 to 100 % of the intervals of differences held the "
    "truth where seeds differed as much on both sides, but a true difference is easily missed. Too narrow, where seeds "
    "were far apart, were intervals of scores near 0 or 1, of medians, of methods of which each seed loses nearly all "
    "or nearly none, and of differences from a side whose seeds differ less: 75 to 93 % held the truth. Intervals of "
    "one seed hold for the models that were trained, not for others.",
    "The intervals and p-values of single methods, and those between methods, are of the models at the chosen learning "
    "rates. The choice, made on the same scores, is not drawn anew: of two equal methods, one is found to forget more "
    "often than the p-values say. At equal forgetting nothing is chosen.",
    "Where the score of a model or a rule is 0 for all facts or 1 for all, all draws are equal. The far end is then "
    "that of the exact binomial interval of n subjects: 1 - (1/40)^(1/n) for 0, and (1/40)^(1/n) for 1. Intervals of "
    "other scores reach at least as far, since draws of scores that are nearly all alike hardly differ. An AUC of 0 or "
    "1 has these ends too, with n of the smaller class.",
    "Differences have no such end, nor have model utility, n-gram entropy and shares recovered. Where all draws are "
    "equal, as between two sets that are forgotten entirely, their interval has no width: 0.000 [0.000, 0.000] holds "
    "for the facts measured and says nothing about others.",
    "Every seed is measured on the same subjects, so each draw has the same subjects for all seeds. It also has the "
    "same in all comparisons, of all datasets: facts that comparisons share do not narrow the interval of their "
    "average, and facts of other subjects do.",
    "p-values are corrected by Holm's method over all comparisons of a kind. Comparisons of one seed are not tested. A "
    "p-value near five per cent, before correction, is known to three thousandths from 10,000 draws, and one of "
    "retention to a hundredth from 1,000.",
)


def findings(collection: Collection, tuned: Sequence[Relearned]) -> list[Block]:
    """The questions with their answers, and the comparisons behind these; `tuned` are the curves of relearning."""
    blocks: list[Block] = [Heading("Findings")]
    popularity = popularity_answer(collection)
    stages, retained = stage_answer(collection)
    controls, controlled = control_answer(collection)
    smoother, jumps = smoothness_answer(collection)
    trivial, answered = baseline_answer(collection)
    relearning, recovered = relearning_answer(collection, tuned)
    for question, note, sentences in (
        ("Are popular facts harder to forget?", _POPULARITY if popularity.over_all else "", popularity.sentences),
        (
            "Does a training stage before unlearning help to retain?",
            _RETENTION if retained or any(controlled.values()) else "",
            [*stages, *controls],
        ),
        ("Is forgetting smoother after a training stage?", _JUMPS, smoother),
        ("Do other wordings bring back what was forgotten?", _WORDINGS, wording_answer(collection)),
        ("Is what the model no longer says gone?", _OWN_WORDS, own_words_answer(collection)),
        ("Does fine-tuning bring back what was forgotten?", _RELEARNING, relearning),
        ("Which scores can a trivial rule reach?", _BASELINES, trivial),
    ):
        if sentences:
            blocks += [Heading(question, 3), *([Paragraph(note)] if note else []), Points(tuple(sentences))]
    blocks.append(Heading("Details of the findings", 3))
    blocks.append(Folded("How intervals and p-values are made", (Points(_INTERVALS),)))
    if facts := tuple(_facts(collection)):
        blocks.append(Folded("Number of facts in each set", (Points(facts),)))
    if popularity.similarity:
        blocks.append(Folded("How similar the paired facts are", (Points(tuple(popularity.similarity)),)))
    popularity_title = "Loss of ROUGE-L recall on popular and on rare facts"
    paired_title = f"{popularity_title}, paired on the confidence before unlearning"
    retention_title = f"Share of the retain_eval score that is left where {LOST:.0%} of the forget score is gone"
    jump_title = (
        "Largest jump of the forget score between neighbouring learning rates, as a share of that before unlearning"
    )
    answered_title = "Loss of ROUGE-L recall on facts that the trivial rule answers, and on the others"
    recovered_title = "Share of the lost facts that relearning brings back, on average over log2(1 + steps)"
    kept = ("retain_eval", "the score of the held-out facts in the same cells, of the seeds that both sides have")
    with_losses = ("with losses", "the same share where losses of the control count as recovery")
    blocks += _comparisons(popularity_title, ("popular", "rare"), popularity.over_all, kept)
    blocks += _comparisons(paired_title, ("popular", "rare"), popularity.over_pairs, kept)
    of_sets = ("popular facts forgotten", "rare facts forgotten")
    blocks += _comparisons(f"{retention_title}, by what is forgotten", of_sets, popularity.retained)
    blocks += _comparisons(retention_title, ("after the stage", "pretrained"), retained)
    for trained, of_stage in controlled.items():
        sides = ("after the control", f"after {trained}")
        blocks += _comparisons(f"{retention_title}, of controls of {trained}", sides, of_stage)
    blocks += _comparisons(jump_title, ("after the stage", "pretrained"), jumps)
    blocks += _comparisons(answered_title, ("answered by the rule", "the others"), answered)
    blocks += _comparisons(recovered_title, ("popular", "rare"), recovered, with_losses)
    return blocks


def _facts(collection: Collection) -> Iterator[str]:
    """The number of facts in each set, by dataset and limit of the grid; several where grids have other rows."""
    numbers: dict[tuple[str, int | None], dict[str, set[int]]] = {}
    for key, runs in sorted(collection.bases.items()):
        of_data = numbers.setdefault((key.data, runs[0].limit), {})
        for name, items in runs[0].sets.items():
            of_data.setdefault(f"{key.set} (to forget)" if name == "forget" else name, set()).add(len(items.ids))
    for (data, limit), of_data in numbers.items():
        counts = ", ".join(f"{name} {' or '.join(map(str, sorted(facts)))}" for name, facts in of_data.items())
        whole = f", a sample: the grid takes at most {limit} of a set" if limit else ""
        yield f"{data}: {counts}{whole}."


def _sides_and_difference(contrast: Contrast | None) -> tuple[str, str, str]:
    if contrast is None:
        return "-", "-", "-"
    return shown(contrast.first), shown(contrast.second), shown(contrast.difference)


def _comparisons(
    title: str, sides: tuple[str, str], compared: Sequence[Compared], beside: tuple[str, str] | None = None
) -> list[Block]:
    """A folded table of comparisons; `beside` is the name and the meaning of the contrast beside each."""
    if not compared:
        return []
    if not any(comparison.beside for comparison in compared):
        beside = None
    rows = tuple(
        (
            comparison.label,
            *_sides_and_difference(comparison.contrast),
            p_value(comparison.p_value),
            *(_sides_and_difference(comparison.beside) if beside else ()),
            str(comparison.contrast.facts),
            str(comparison.contrast.seeds),
            sources(comparison.runs),
        )
        for comparison in compared
    )
    columns = (*sides, "difference")
    further = tuple(f"{beside[0]}, {name}" for name in columns) if beside else ()
    header = ("comparison", *columns, "p (Holm)", *further, "facts", "seeds", ITEMS)
    caption = f"{title}. Difference: {sides[0]} minus {sides[1]}."
    if beside:
        caption += f" {beside[0]}: {beside[1]}."
    table = Table(header, rows, caption, ("comparison", "p (Holm)", "facts", "seeds"))
    return [Folded(f"{title} ({len(rows)})", (table,))]
