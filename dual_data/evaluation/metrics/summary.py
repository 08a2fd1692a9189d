"""The means of a set that a result shows, made of the scores of its items; needs no model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean, median

from dual_data.evaluation.metrics.chance import chance_corrected
from dual_data.evaluation.metrics.truth_ratio import indistinguishable, share_of_truth, truthful
from dual_data.evaluation.results import ItemRow, Wording
from dual_data.evaluation.rows.attack_prompts import GIVES_ANSWER_AWAY, IN_CONTEXT

_RANKS = ("first_rank", "worst_rank", "sequence_rank")


def summarise(rows: Sequence[ItemRow], baseline: float) -> dict[str, float | None]:
    """Means of the items' scores, and scores of the whole set.

    Items without a score are left out of its mean. Where one item's score is NaN there is no mean, since the mean of
    the others would hide that the model diverged.

    `any_paraphrase` (J_P), `any_in_context` (J_ICR) and `worst_case` (J_W) are shares of facts that are elicited by at
    least one paraphrase, one prompt with demonstrations, or any question, paraphrase or attack that does not give the
    answer away (Singh et al. 2025, arXiv 2509.02820); None where nothing of the kind was asked.
    """
    summary: dict[str, float | None] = {"items": float(len(rows))}
    for name in rows[0]["scores"]:
        if name == "truth_ratio":
            continue  # one confident mistake dominates the mean of ratios; the bounded aggregates follow below
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
    paraphrases = [wording for row in rows for wording in row["paraphrases"]]
    for name in ("contains_answer", "rougeL_recall", "probability", "mean_log_probability"):
        values = _numbers(wording["scores"][name] for wording in paraphrases)
        summary[f"paraphrase_{name}"] = fmean(values) if values else None
    summary["any_paraphrase"] = _share_of_hits([row["paraphrases"] for row in rows])
    summary["any_in_context"] = _share_of_hits(
        [[wording for wording in row["attacks"] if wording["attack"] == IN_CONTEXT] for row in rows]
    )
    summary["worst_case"] = _share_of_hits([*map(fair_wordings, rows)])
    by_attack: dict[str, list[float]] = {}
    for row in rows:
        for wording in row["attacks"]:
            by_attack.setdefault(wording["attack"], []).append(wording["scores"]["contains_answer"])
    for name, hits in by_attack.items():
        summary[f"attack_{name}"] = fmean(hits)
    return summary


def fair_wordings(row: ItemRow) -> list[Wording]:
    """The question, its other wordings and the attacks whose prompt does not contain the answer."""
    return [
        row,
        *row["paraphrases"],
        *(attack for attack in row["attacks"] if attack["attack"] not in GIVES_ANSWER_AWAY),
    ]


def _numbers(values: Iterable[float | None]) -> list[float]:
    """The values that are not None; an empty list where one of them is NaN."""
    numbers = [value for value in values if value is not None]
    return [] if any(map(math.isnan, numbers)) else numbers


def _share_of_hits(groups: Sequence[Sequence[Wording]]) -> float | None:
    """Share of the non-empty groups in which at least one generation has the answer; None where all are empty."""
    hits = [any(wording["scores"]["contains_answer"] for wording in group) for group in groups if group]
    return sum(hits) / len(hits) if hits else None
