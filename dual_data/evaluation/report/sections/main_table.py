"""The main table: every place before unlearning, and every method at its chosen learning rate.

It exists as a table of texts for the page and as columns of numbers for programs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dual_data.bootstrap import UNIT, UNKNOWN, Interval, bootstrap_function, share_ends
from dual_data.evaluation.metrics.chance import PERFECT
from dual_data.evaluation.report.analysis.estimates import TRIVIAL_RULE, estimate, trivial_rule
from dual_data.evaluation.report.analysis.runs import PANEL, SETS, Collection, Key, Run, clusters, stack
from dual_data.evaluation.report.document import ITEMS, Table, link_to
from dual_data.evaluation.report.numbers import shown
from dual_data.evaluation.report.places import (
    CellLine,
    Start,
    cell_table,
    place_columns,
    place_of,
    rate_of,
    row_id,
    seeds_of,
    sources,
    starts,
    stopped_of,
)
from dual_data.evaluation.report.sections.panel import has_panel, panel_accuracy
from dual_data.statistics import Floats

_CAPTION = (
    "Scores are ROUGE-L recall unless another is named; words are compared by their stems, as in the published logs: "
    f'"Germanic" counts as "German". Baseline: the score of the trivial rule, {TRIVIAL_RULE}, on the forget facts '
    "measured, such as giving every question the most frequent answer, which scores 0 if none repeats; it can be high "
    "where facts or relations are few, and its interval does not account for the choice of the rule. "
    "Corrected: (forget - baseline) / (1 - baseline); its interval reaches at least as far as that of forget does near "
    "0 and 1. Answers held: share of forget facts whose greedy answer contains "
    "an accepted answer. Probability: of the answers to forget, the geometric mean over tokens. Worst case: share of "
    "forget facts that at least one wording or attack prompt brings out; multiple_choice is left out, since it shows "
    "the answer, and reverse asks for the subject. KL on retain: KL(before || after) on "
    "retain_eval, in nats per token."
)


class Row(NamedTuple):
    """One row of the table."""

    key: Key
    method: str
    """The name of a method, or "before" for the model before unlearning."""
    runs: tuple[Run, ...]
    baseline: Interval
    scores: Mapping[str, Interval]
    """By column."""
    others: Mapping[str, Interval]
    """ROUGE-L recall of further measured sets, by name."""


def main_rows(collection: Collection) -> list[Row]:
    """All rows, by place."""
    return [_row(start, method, runs) for start in starts(collection) for method, runs in start.cells]


def main_table(rows: Sequence[Row]) -> Table:
    """The rows for a reader."""
    panel = (PANEL,) if any(PANEL in row.scores for row in rows) else ()
    columns = (
        "lr", "seeds", "forget", "corrected", "baseline", "answers held", "probability", "retain_eval",
        "other kept sets", *panel, "worst case", "KL on retain",
    )  # fmt: skip
    lines = []
    for row in rows:
        texts = {
            # A probability of 1e-4 and one of 1e-9 are both near 0, but not alike.
            name: shown(score, small=name == "probability")
            for name, score in row.scores.items()
        }
        others = "; ".join(f"{name} {shown(score)}" for name, score in row.others.items())
        texts |= {
            "lr": rate_of(row.runs),
            "seeds": seeds_of(row.runs),
            "baseline": shown(row.baseline),
            "other kept sets": others or "-",
        }
        shown_texts = [texts.get(name, "-") for name in columns]
        lines.append(CellLine(row.key, row.method, shown_texts, sources(row.runs), row_id("chosen", row.runs)))
    caption = f"{_CAPTION} {PANEL.capitalize()}: accuracy." if panel else _CAPTION
    return cell_table(columns, lines, caption, ("lr", "seeds"))


def main_numbers(rows: Sequence[Row], folder: Path) -> list[dict[str, str]]:
    """The rows for programs: three columns per score, with the ends of its interval; empty where there is no number.

    Further measured sets may have any name, so their columns say of which score they are.
    Items are addresses of results relative to `folder`.
    """
    scores = [
        {"baseline": row.baseline, **row.scores}
        | {f"{name}_rougeL_recall": score for name, score in row.others.items()}
        for row in rows
    ]
    names = list(dict.fromkeys(name for row_scores in scores for name in row_scores))
    place = place_columns([row.key for row in rows])
    lines = []
    for row, row_scores in zip(rows, scores, strict=True):
        columns = dict(zip(place, place_of(row.key, place), strict=True))
        columns |= {"method": row.method, "lr": rate_of(row.runs)}
        columns |= {"seeds": str(len(row.runs)), "stopped": str(stopped_of(row.runs))}
        for name in names:
            score = row_scores.get(name)
            column = name.replace(" ", "_")
            columns[column], columns[f"{column}_low"], columns[f"{column}_high"] = (
                ("", "", "") if score is None else tuple(map(_number, score[:3]))
            )
        lines.append(columns | {ITEMS: " ".join(link_to(run.path, folder) for run in row.runs)})
    return lines


def _row(start: Start, method: str, runs: Sequence[Run]) -> Row:
    scores = {
        "forget": estimate(runs, "forget", "rougeL_recall"),
        "corrected": _corrected(runs, start.before[0].rule.scores),
        "answers held": estimate(runs, "forget", "contains_answer"),
        "probability": estimate(runs, "forget", "probability"),
        "retain_eval": estimate(runs, "retain_eval", "rougeL_recall"),
        "worst case": estimate(runs, "forget", "worst"),
        "KL on retain": estimate(runs, "retain_eval", "kl"),
    }
    if has_panel(runs):
        scores[PANEL] = panel_accuracy(runs)
    further_sets = [name for name in runs[0].sets if name not in SETS]
    other_scores = {
        name: estimate(runs, name, "rougeL_recall") for name in further_sets if runs[0].shows_retention(name)
    }
    return Row(start.key, method, tuple(runs), trivial_rule(start.before), scores, other_scores)


def _corrected(runs: Sequence[Run], trivial: Floats) -> Interval:
    """(score - baseline) / (1 - baseline), with the same draws; UNKNOWN without numbers or where the baseline is 1."""
    table = stack(runs, "forget", "rougeL_recall")
    if np.isnan(table).any() or trivial.mean() > PERFECT:
        return UNKNOWN

    def corrected(score: Floats, baseline: Floats) -> Floats:
        # In a draw of only facts that the rule answers the baseline is 1: the difference is then divided by 1.
        return (score - baseline) / np.where(baseline > PERFECT, 1.0, 1 - baseline)

    def estimated(scores: Floats) -> Interval:
        tables = scores, np.broadcast_to(trivial, table.shape)
        return bootstrap_function(corrected, tables, clusters(runs, "forget"), UNIT)

    of_draws = estimated(table)
    # Where the score's interval ends beyond its draws, as near 0 and 1, this one goes as far, whatever the rule scores.
    far = share_ends(1.0, 0.0, len(set(clusters(runs, "forget"))))
    score = estimate(runs, "forget", "rougeL_recall")
    low = estimated(np.full_like(table, score.low)).low if score.low == far[0] else of_draws.low
    high = estimated(np.full_like(table, score.high)).high if score.high == far[1] else of_draws.high
    return of_draws._replace(low=min(low, of_draws.low), high=max(high, of_draws.high))


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"
