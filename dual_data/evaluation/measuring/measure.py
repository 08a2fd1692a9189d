"""One cell measured: every item of every set with its scores, and the means that a result shows.

Base and cells go through the same stream; the base's run is kept as what changes are measured from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, median
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from dual_data.evaluation.measuring.embedding import SentenceEmbedder
from dual_data.evaluation.measuring.engine import Engine
from dual_data.evaluation.measuring.score import Reference
from dual_data.evaluation.metrics import likelihood, membership
from dual_data.evaluation.metrics.chance import chance_corrected
from dual_data.evaluation.metrics.likelihood import TokenScores
from dual_data.evaluation.metrics.text import text_scores
from dual_data.evaluation.metrics.truth_ratio import (
    indistinguishable,
    normalised_probability,
    share_of_truth,
    truth_ratio,
    truthful,
)
from dual_data.evaluation.results import ItemRow, Wording
from dual_data.evaluation.rows.attack_prompts import GIVES_ANSWER_AWAY, IN_CONTEXT
from dual_data.evaluation.rows.panel import PanelScores, TokenisedPanel, panel_scores
from dual_data.evaluation.rows.request import Outcome
from dual_data.evaluation.rows.workload import Place, Workload
from dual_data.matching import ObjectKind

Scores = dict[str, float | None]
"""None where nothing of the kind was asked, NaN where a model that diverged gave no number."""
WORDING_SCORES = (
    "contains_answer",
    "rougeL_recall",
    "probability",
    "mean_log_probability",
    "first_rank",
    "change_mean_log_probability",
    "change_entropy",
    "change_log_rank",
    "kl",
)
"""What is kept of paraphrases and attacks: there are many, and what the report and the audit read is enough."""
_RANKS = ("first_rank", "worst_rank", "sequence_rank")


class Measurement(NamedTuple):
    """What one model said to a whole workload."""

    items: Mapping[str, list[ItemRow]]
    """By set."""
    summary: Mapping[str, Mapping[str, float | None]]
    """By set: `items`, means of every score, medians of ranks, worst cases, chance-corrected scores."""
    outcomes: tuple[Outcome, ...]
    """As the engine gave them; what later cells are compared with."""
    reference: Reference | None
    """Logits and hidden states at the answer positions; only where they were to be kept."""
    panel: PanelScores | None = None
    """What it made of the workload's panel; None without one."""


def measure(
    engine: Engine,
    workload: Workload,
    *,
    base: Measurement | None = None,
    keep_reference: bool = False,
    embedder: SentenceEmbedder | None = None,
) -> list[Measurement]:
    """Measure the model, or every active adapter at once; one measurement an adapter.

    `base` is the measurement of the same workload by the reference model: changes, KL and cosines are taken from it.
    With `embedder` there is minilm_cosine, of the generation and the nearest accepted answer.
    """
    reference = Reference() if keep_reference else None
    runs = engine.run(workload.requests, reference=base.reference if base is not None else None, keep=reference)
    panels = measure_panel(engine, workload.panel) if workload.panel is not None else [None] * len(runs)
    found = []
    for cell, (outcomes, panel) in enumerate(zip(runs, panels, strict=True)):
        reader = _Reader(outcomes, base, engine.loaded.tokenizer)
        items = {name: [reader.item(place) for place in places] for name, places in workload.sets.items()}
        if embedder is not None:
            _add_cosines(embedder, [row for rows in items.values() for row in rows])
        summary = {name: summarise(rows, max(workload.baselines[name].values())) for name, rows in items.items()}
        found.append(Measurement(items, summary, tuple(outcomes), reference if cell == 0 else None, panel))
    return found


def measure_panel(engine: Engine, panel: TokenisedPanel) -> list[PanelScores]:
    """What the model, or every active adapter at once, makes of a panel; nothing is generated."""
    return [panel_scores(panel.panel, outcomes) for outcomes in engine.run(panel.requests)]


def summarise(rows: Sequence[ItemRow], baseline: float) -> dict[str, float | None]:
    """Means of the items' scores, and what only a whole set has.

    Items that were not asked for a score are left out of its mean; where one gave no number there is no mean, for that
    of the others would hide that the model diverged.

    `any_paraphrase` (J_P), `any_in_context` (J_ICR) and `worst_case` (J_W) are shares of facts that at least one
    wording, one prompt with demonstrations, or any attack at all got out (Singh et al. 2025, arXiv 2509.02820); None
    where nothing of the kind was asked.
    """
    summary: dict[str, float | None] = {"items": float(len(rows))}
    for name in rows[0]["scores"]:
        if name == "truth_ratio":
            continue  # one confident mistake makes the mean of ratios anything; the bounded aggregates follow below
        values = _numbers(row["scores"].get(name) for row in rows)
        summary[name] = fmean(values) if values else None
        if name in _RANKS:
            summary[f"{name}_median"] = float(median(values)) if values else None
    summary["baseline"] = baseline
    recall = summary["rougeL_recall"]
    summary["rougeL_recall_corrected"] = None if recall is None else chance_corrected(recall, baseline)
    ratios = _numbers(row["scores"]["truth_ratio"] for row in rows)
    for name, aggregate in (
        ("truth_ratio_forget", indistinguishable),
        ("truth_ratio_retain", truthful),
        ("truth_share", share_of_truth),
    ):
        summary[name] = fmean(map(aggregate, ratios)) if ratios else None
    worded = [entry for row in rows for entry in row["paraphrases"]]
    for name in ("contains_answer", "rougeL_recall", "probability", "mean_log_probability"):
        values = _numbers(entry["scores"][name] for entry in worded)
        summary[f"paraphrase_{name}"] = fmean(values) if values else None
    summary["any_paraphrase"] = _share_of_hits([row["paraphrases"] for row in rows])
    summary["any_in_context"] = _share_of_hits(
        [[entry for entry in row["attacks"] if entry["attack"] == IN_CONTEXT] for row in rows]
    )
    fair = [[entry for entry in row["attacks"] if entry["attack"] not in GIVES_ANSWER_AWAY] for row in rows]
    summary["worst_case"] = _share_of_hits(
        [[row, *row["paraphrases"], *attacks] for row, attacks in zip(rows, fair, strict=True)]
    )
    by_attack: dict[str, list[float]] = {}
    for row in rows:
        for entry in row["attacks"]:
            by_attack.setdefault(entry["attack"], []).append(entry["scores"]["contains_answer"])
    for name, hits in by_attack.items():
        summary[f"attack_{name}"] = fmean(hits)
    return summary


def likelihood_scores(scores: TokenScores, text: str, before: TokenScores | None = None) -> Scores:
    """Every score of one answer under teacher forcing; changes are None without a reference.

    Without a likelihood every score is NaN: comparisons with what is no number would give one, a rank of 1.
    """
    log_p = likelihood.sum_log_probability(scores)
    found: Scores = {
        "probability": likelihood.probability(scores),
        "probability_with_end": likelihood.probability_with_end(scores),
        "sum_log_probability": log_p,
        "mean_log_probability": likelihood.mean_log_probability(scores),
        "first_rank": float(likelihood.first_rank(scores)),
        "worst_rank": float(likelihood.worst_rank(scores)),
        "exact_memorisation": likelihood.exact_memorisation(scores),
        "extraction_strength": likelihood.extraction_strength(scores),
        "entropy": likelihood.mean_entropy(scores),
        "kl": likelihood.mean_kl(scores),
        "hidden_cosine": scores.cosine,
        "change_log_probability": None,
        "change_mean_log_probability": None,
        "change_entropy": None,
        "change_log_rank": None,
    }
    if before is not None:
        mean = likelihood.mean_log_probability
        found["change_log_probability"] = log_p - likelihood.sum_log_probability(before)
        found["change_mean_log_probability"] = mean(scores) - mean(before)
        found["change_entropy"] = likelihood.mean_entropy(scores) - likelihood.mean_entropy(before)
        found["change_log_rank"] = math.log(likelihood.first_rank(scores) / likelihood.first_rank(before))
    for name, attack in membership.ATTACKS.items():
        found[f"member_{name}"] = attack(scores, text)
    lost = math.isnan(log_p)
    return {name: None if value is None else math.nan if lost else _seven(value) for name, value in found.items()}


def _sequence_rank(gold: float, others: Sequence[float]) -> float | None:
    if not others:
        return None
    return math.nan if any(map(math.isnan, (gold, *others))) else float(likelihood.sequence_rank(gold, others))


def _numbers(values: Iterable[float | None]) -> list[float]:
    """The values that were asked for; none at all where one of them is no number."""
    found = [value for value in values if value is not None]
    return [] if any(map(math.isnan, found)) else found


def _seven(value: float) -> float:
    """Seven significant digits: as many as float32 has, in half the space."""
    return float(f"{value:.7g}")


class _Reader(NamedTuple):
    """Turns the outcomes of one cell into items."""

    outcomes: Sequence[Outcome]
    base: Measurement | None
    tokenizer: PreTrainedTokenizerBase

    def item(self, place: Place) -> ItemRow:
        item, outcome = place.item, self.outcomes[place.canonical]
        gold, *wrong = outcome.scores
        mean = likelihood.mean_log_probability
        others = [mean(scores) for scores in wrong]
        text = self.text(outcome)
        scores: Scores = {
            **text_scores(text, item.answer, item.answers, item.kind),
            **likelihood_scores(gold, item.answer, self.before(place.canonical)),
            "truth_ratio": truth_ratio(mean(gold), others),
            "normalised_probability": normalised_probability(mean(gold), others),
            "sequence_rank": _sequence_rank(mean(gold), others),
        }
        return {
            "id": item.id,
            "subject": item.subject,
            "relation": item.relation,
            "popularity": item.popularity,
            "question": item.question,
            "ground_truth": item.answer,
            "answers": list(item.answers),
            "kind": item.kind,
            "generation": text,
            "ended": outcome.ended,
            "scores": scores,
            "tokens": {
                "log_p": [_seven(value) for value in gold.log_p],
                "rank": list(gold.rank),
                "answer_tokens": gold.answer_tokens,
            },
            "paraphrases": [
                self.asked(index, wording, item.answer, item.answers, item.kind)
                for index, wording in zip(place.paraphrases, item.paraphrases, strict=True)
            ],
            "attacks": [
                {
                    "attack": asked.attack,
                    # The reversed question is answered by the subject, an entity.
                    **self.asked(
                        asked.request,
                        asked.question,
                        asked.answer,
                        *((item.answers, item.kind) if asked.answer == item.answer else ((asked.answer,), "entity")),
                    ),
                }
                for asked in place.attacks
            ],
        }

    def asked(self, index: int, question: str, answer: str, answers: Sequence[str], kind: ObjectKind) -> Wording:
        """Generation and scores of one more wording of an item."""
        outcome = self.outcomes[index]
        text = self.text(outcome)
        scores = {
            **text_scores(text, answer, answers, kind),
            **likelihood_scores(outcome.scores[0], answer, self.before(index)),
        }
        return {
            "question": question,
            "generation": text,
            "scores": {name: scores[name] for name in WORDING_SCORES},
        }

    def before(self, index: int) -> TokenScores | None:
        return None if self.base is None else self.base.outcomes[index].scores[0]

    def text(self, outcome: Outcome) -> str:
        return str(self.tokenizer.decode(list(outcome.generation), skip_special_tokens=True))


def _add_cosines(embedder: SentenceEmbedder, rows: Sequence[ItemRow]) -> None:
    found = embedder.nearest([row["generation"] for row in rows], [row["answers"] for row in rows])
    for row, value in zip(rows, found, strict=True):
        row["scores"]["minilm_cosine"] = _seven(value)


def _share_of_hits(groups: Sequence[Sequence[Wording]]) -> float | None:
    """Share of the groups that are not empty in which any answer was given; None where all are empty."""
    hits = [any(entry["scores"]["contains_answer"] for entry in group) for group in groups if group]
    return sum(hits) / len(hits) if hits else None
