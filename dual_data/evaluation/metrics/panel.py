"""Scores on a utility panel: the option that a model prefers, by question, and the likelihood of each text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from dual_data.evaluation.metrics.likelihood import mean_log_probability, sum_log_probability
from dual_data.evaluation.rows.panel import Choice, Panel, panel_hash
from dual_data.evaluation.rows.request import Outcome


class PanelScores(NamedTuple):
    """Scores of one model on a panel, by question and by text; None where it gave no number."""

    given: tuple[int | None, ...]
    """The option with the highest log-probability."""
    right: tuple[int | None, ...]
    """Whether that option is right."""
    right_by_length: tuple[int | None, ...]
    """The same by log-probability per character of the option, which does not favour short options."""
    probability: tuple[float | None, ...]
    """Probability of the right option among the options: can change while their order stays the same."""
    nll: tuple[float | None, ...]
    """Mean negative log-probability per token of each text, in nats."""


def panel_scores(panel: Panel, outcomes: Sequence[Outcome]) -> PanelScores:
    """Scores of one model, from its outcomes in the order of the panel's requests."""
    rows = [_score_choice(choice, outcome) for choice, outcome in zip(panel.choices, outcomes, strict=False)]
    nlls = (-mean_log_probability(outcome.scores[0]) for outcome in outcomes[len(panel.choices) :])
    given, right, by_length, probability = zip(*rows, strict=True)
    return PanelScores(given, right, by_length, probability, tuple(n if math.isfinite(n) else None for n in nlls))


def panel_summary(panel: Panel, scores: PanelScores) -> dict[str, Any]:
    """The panel's part of a result, JSON-able: which panel, means of its scores, and accuracy by kind."""
    return {
        "name": panel.name,
        "hash": panel_hash(panel),
        "questions": len(panel.choices),
        "texts": len(panel.texts),
        "guessing": panel.guessing,
        "accuracy": _mean(scores.right),
        "accuracy_by_length": _mean(scores.right_by_length),
        "accuracy_by_kind": {
            kind: _mean([scores.right[index] for index in indices]) for kind, indices in sorted(_kinds(panel).items())
        },
        "probability": _mean(scores.probability),
        "text_nll": _mean(scores.nll),
    }


def panel_items(panel: Panel, scores: PanelScores) -> dict[str, Any]:
    """Scores of every question and text in the panel's order, JSON-able, and the question indices of each kind."""
    return {"kinds": _kinds(panel), **scores._asdict()}


def _kinds(panel: Panel) -> dict[str, list[int]]:
    """Indices of the questions of each kind."""
    kinds: dict[str, list[int]] = {}
    for index, choice in enumerate(panel.choices):
        kinds.setdefault(choice.kind, []).append(index)
    return kinds


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(values) if values and len(known) == len(values) else None


def _score_choice(choice: Choice, outcome: Outcome) -> tuple[int | None, int | None, int | None, float | None]:
    sums = [sum_log_probability(scores) for scores in outcome.scores]
    best = max(sums)
    if any(map(math.isnan, sums)) or not math.isfinite(best):
        return None, None, None, None
    rates = [log_p / len(option) for log_p, option in zip(sums, choice.options, strict=True)]
    given = sums.index(best)
    shares = [math.exp(log_p - best) for log_p in sums]
    return (
        given,
        int(given == choice.answer),
        int(rates.index(max(rates)) == choice.answer),
        shares[choice.answer] / math.fsum(shares),
    )
