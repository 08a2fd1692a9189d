"""The audit of many splits, shortened: a line for each split, and for the pairs that matter most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dual_data.audit.table import shown
from dual_data.cli.text import table
from dual_data.text.display import count

MOST_IN_FULL = 6
"""Splits that are shown with every measurement unless asked otherwise: dozens of lines each."""
_PAIRS = 40
"""Pairs that are shown; more where more are of rare and popular facts, or share questions."""
_OTHER = 2
"""Kind of the pairs that are neither."""
_MORE = "--full or --json shows everything, --split some splits; --explain says what is measured."

_SHARES = {
    "malformed": "malformed_share",
    "answer in question": "answer_in_question_share",
    "ambiguous subjects": "ambiguous_subject_share",
}


def summary(report: Mapping[str, Mapping[str, Any]]) -> str:
    """What matters most of the report of `dual_data.audit.audit`, as two tables and what they leave out."""
    header = ("split", "rows", *_SHARES, "top answer", "its share", "best trivial rule", "its ROUGE-L")
    blocks = [table(header, [_split(name, measures) for name, measures in report["splits"].items()])]
    pairs = sorted(report["pairs"].items(), key=lambda pair: (_kind(pair), -(_best(pair[1], "auc_")[1] or 0)))
    most = pairs[: max(_PAIRS, sum(_kind(pair) < _OTHER for pair in pairs))]
    if most:
        header = ("split", "compared with", "shared questions", "shared subjects", "told apart best by", "AUC")
        blocks.append(table(header, [_pair(name, measures) for name, measures in most]))
    others = len(pairs) - len(most)
    left_out = f"{count(others, 'pair')} with lower AUCs and without a common question, and " if others else ""
    return "\n\n".join([*blocks, f"Not shown: {left_out}most measurements. {_MORE}"])


def _kind(pair: tuple[str, Mapping[str, Any]]) -> int:
    """Of rare and popular facts (0), with questions in common (1), or `_OTHER`.

    By the area alone, pairs that are meant to differ would come first, such as facts to forget and those of another
    topic.
    """
    name, measures = pair
    first, second = _sides(name)
    if first.replace("rare", "popular") == second.replace("rare", "popular"):
        return 0
    return 1 if measures["shared_questions"] else _OTHER


def _split(name: str, measures: Mapping[str, Any]) -> list[object]:
    shares = [shown(measures[key]) for key in _SHARES.values()]
    top = [measures["top_answer"], shown(measures["top_answer_share"])]
    rule, score = _best(measures, "", "_rouge")
    return [name, f"{measures['rows']:,}", *shares, *top, rule, shown(score)]


def _pair(name: str, measures: Mapping[str, Any]) -> list[object]:
    feature, area = _best(measures, "auc_")
    return [*_sides(name), measures["shared_questions"], measures["shared_subjects"], feature, shown(area)]


def _sides(pair: str) -> tuple[str, str]:
    """The splits of a pair; if their own names have a bar, cut at the first."""
    first, _, second = pair.partition("|")
    return first, second


def _best(measures: Mapping[str, Any], start: str, end: str = "") -> tuple[str | None, float | None]:
    """The largest of the measurements whose names start and end so, by the rest of its name."""
    values = {
        key.removeprefix(start).removesuffix(end): value
        for key, value in measures.items()
        if key.startswith(start) and key.endswith(end) and value is not None
    }
    best = max(values, key=values.__getitem__, default="")
    if not values.get(best):  # a score of 0 is no rule's
        return None, values.get(best)
    return best, values[best]
