"""Measures one cell: every item of every set with its scores, and the means that a result shows.

Base and cells are measured in the same way; the base's measurement is what changes are relative to.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dual_data.evaluation.measuring.embedding import SentenceEmbedder
from dual_data.evaluation.measuring.engine import Engine
from dual_data.evaluation.measuring.own_words import ask_in_own_words, own_words_scores
from dual_data.evaluation.measuring.score import Reference
from dual_data.evaluation.measuring.workload import Asked, Attacked, Workload
from dual_data.evaluation.metrics import likelihood, membership
from dual_data.evaluation.metrics.panel import PanelScores, panel_scores
from dual_data.evaluation.metrics.summary import summarise
from dual_data.evaluation.metrics.text import text_scores
from dual_data.evaluation.metrics.truth_ratio import normalised_probability, truth_ratio
from dual_data.evaluation.models.loading import Loaded
from dual_data.evaluation.results import WORDING_SCORES, AttackWording, ItemRow, Wording
from dual_data.evaluation.rows.attack_prompts import asks_for_subject
from dual_data.evaluation.rows.data import Item
from dual_data.evaluation.rows.panel import TokenisedPanel
from dual_data.evaluation.rows.request import Outcome, TokenScores
from dual_data.text.matching import ObjectKind

Scores = dict[str, float | None]
"""By name; None where nothing of the kind was asked, NaN where a diverged model gave no number."""


class Measurement(NamedTuple):
    """Results of one model for a whole workload."""

    items: Mapping[str, list[ItemRow]]
    """By set."""
    summary: Mapping[str, Mapping[str, float | None]]
    """By set: the number of items, means of every score, medians of ranks, worst cases, chance-corrected scores."""
    outcomes: tuple[Outcome, ...]
    """Outcomes of the engine, with which later cells are compared."""
    reference: Reference | None
    """Logits and hidden states at the answer positions; None unless asked for."""
    workload: Workload
    """What was asked, with the right answers in the model's own words."""
    panel: PanelScores | None = None
    """Scores on the workload's panel; None without one."""


def measure(
    engine: Engine,
    workload: Workload,
    *,
    base: Measurement | None = None,
    keep_reference: bool = False,
    embedder: SentenceEmbedder | None = None,
    in_own_words: Sequence[str] = (),
) -> list[Measurement]:
    """Measure the model, or all active adapters at once; one measurement per adapter.

    `base` is the reference model's measurement of the same workload: changes, KL and cosines are relative to it.
    `embedder` adds minilm_cosine, between the generation and the nearest accepted answer. The right answers that the
    model gives in the sets of `in_own_words` are scored where it gives them (:mod:`own_words`); it must then be one
    alone. Others are asked for the same by the measurement's workload.
    """
    reference = Reference() if keep_reference else None
    runs = engine.run(workload.requests, reference=base.reference if base is not None else None, keep=reference)
    if in_own_words:
        workload, outcomes = ask_in_own_words(engine, workload, runs[0], in_own_words)
        runs = [outcomes]
    panels = measure_panel(engine, workload.panel) if workload.panel is not None else [None] * len(runs)
    measurements = []
    for cell, (outcomes, panel) in enumerate(zip(runs, panels, strict=True)):
        reader = _Reader(outcomes, base, engine.loaded)
        items = {name: [reader.item(asked) for asked in asked_items] for name, asked_items in workload.sets.items()}
        if embedder is not None:
            _add_cosines(embedder, [row for rows in items.values() for row in rows])
        summary = {name: summarise(rows, workload.baselines[name]) for name, rows in items.items()}
        kept = reference if cell == 0 else None
        measurements.append(Measurement(items, summary, tuple(outcomes), kept, workload, panel))
    return measurements


def measure_panel(engine: Engine, panel: TokenisedPanel) -> list[PanelScores]:
    """Scores of the model, or of all active adapters at once, on a panel; nothing is generated."""
    return [panel_scores(panel.panel, outcomes) for outcomes in engine.run(panel.requests)]


def likelihood_scores(scores: TokenScores, text: str, before: TokenScores | None = None) -> Scores:
    """All scores of one answer under teacher forcing; changes are None without `before`, the reference's scores.

    change_log_rank is of the answer's first token, the other changes are of all its tokens.
    Where the likelihood is NaN every score is NaN, since comparisons with NaN would give numbers, such as a rank of 1.
    """
    log_p = likelihood.sum_log_probability(scores)
    results: Scores = {
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
        results["change_log_probability"] = log_p - likelihood.sum_log_probability(before)
        results["change_mean_log_probability"] = mean(scores) - mean(before)
        results["change_entropy"] = likelihood.mean_entropy(scores) - likelihood.mean_entropy(before)
        results["change_log_rank"] = math.log(likelihood.first_rank(scores) / likelihood.first_rank(before))
    for name, attack in membership.MEMBERSHIP_ATTACKS.items():
        results[f"member_{name}"] = attack(scores, text)
    is_nan = math.isnan(log_p)
    return {name: None if value is None else math.nan if is_nan else rounded(value) for name, value in results.items()}


def rounded(value: float) -> float:
    """Rounded to seven significant digits, the precision of float32, which halves the file size."""
    return float(f"{value:.7g}")


class _Reader(NamedTuple):
    """Makes item rows of the outcomes of one cell."""

    outcomes: Sequence[Outcome]
    base: Measurement | None
    loaded: Loaded

    def item(self, asked: Asked) -> ItemRow:
        item, outcome = asked.item, self.outcomes[asked.canonical]
        gold, wrong = outcome.scores[0], outcome.scores[1 : 1 + asked.distractors]
        mean = likelihood.mean_log_probability
        distractors = [mean(scores) for scores in wrong]
        text = self.loaded.text(outcome.generation)
        scores: Scores = {
            **text_scores(text, item.answer, item.answers, item.kind),
            **likelihood_scores(gold, item.answer, self.before(asked.canonical)),
            **own_words_scores(outcome, asked.own_words),
            "truth_ratio": truth_ratio(mean(gold), distractors),
            "normalised_probability": normalised_probability(mean(gold), distractors),
            "sequence_rank": likelihood.sequence_rank(mean(gold), distractors),
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
                "log_p": [rounded(value) for value in gold.log_p],
                "rank": list(gold.rank),
                "answer_tokens": gold.answer_tokens,
            },
            "distractors": [rounded(value) for value in distractors],
            "paraphrases": [
                self._wording(index, wording, item.answer, item.answers, item.kind)
                for index, wording in zip(asked.paraphrases, item.paraphrases, strict=True)
            ],
            "attacks": [self._attack(attacked, item) for attacked in asked.attacks],
        }

    def _attack(self, attacked: Attacked, item: Item) -> AttackWording:
        of_subject = asks_for_subject(attacked.attack, item.subject, item.answer)
        answers = (attacked.answer,) if of_subject else item.answers
        kind: ObjectKind = "entity" if of_subject else item.kind
        wording = self._wording(attacked.request, attacked.question, attacked.answer, answers, kind)
        return {"attack": attacked.attack, **wording}

    def _wording(self, index: int, question: str, answer: str, answers: Sequence[str], kind: ObjectKind) -> Wording:
        """Generation and scores of another wording of an item, or of an attack."""
        outcome = self.outcomes[index]
        text = self.loaded.text(outcome.generation)
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


def _add_cosines(embedder: SentenceEmbedder, rows: Sequence[ItemRow]) -> None:
    cosines = embedder.nearest([row["generation"] for row in rows], [row["answers"] for row in rows])
    for row, cosine in zip(rows, cosines, strict=True):
        row["scores"]["minilm_cosine"] = rounded(cosine)
