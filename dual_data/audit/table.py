"""The audit as text: a row for each measurement, a column for each split."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from dual_data.text.display import visible

_LONGEST = 34


def render(report: Mapping[str, Mapping[str, Any]], width: int = 100) -> str:
    """The report of `dual_data.audit.audit` as plain tables, each with as many splits as fit into `width`."""
    blocks = [_block("split", chunk) for chunk in _chunks(report["splits"], width)]
    pairs = report["pairs"]
    measures = {name: {key: value for key, value in pair.items() if key != "untold"} for name, pair in pairs.items()}
    blocks += [_block("pair", chunk) for chunk in _chunks(measures, width)]
    notes = _notes(pairs)
    return "\n\n".join([*blocks, "\n".join(notes)] if notes else blocks)


def _notes(pairs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Why pairs lack a measurement, one line for each measurement and reason."""
    lacking: dict[tuple[str, str], list[str]] = {}
    for name, pair in pairs.items():
        for measure, reason in pair["untold"].items():
            lacking.setdefault((measure, reason), []).append(" and ".join(_heading(name)))
    return [
        f"no {measure} for {names[0]}{f' and {len(names) - 1} more of the pairs' if names[1:] else ''}, as {reason}"
        for (measure, reason), names in lacking.items()
    ]


def _chunks(columns: Mapping[str, Mapping[str, Any]], width: int) -> list[dict[str, Mapping[str, Any]]]:
    chunks: list[dict[str, Mapping[str, Any]]] = []
    room = 0
    for name, measures in columns.items():
        needed = 2 + max(len(text) for text in (*_heading(name), *map(shown, measures.values())))
        if needed > room:
            chunks.append({})
            room = width - max(map(len, measures))
        chunks[-1][name] = measures
        room -= needed
    return chunks


def _heading(name: str) -> list[str]:
    return visible(name).split("|")


def _block(kind: str, columns: Mapping[str, Mapping[str, Any]]) -> str:
    head = [["", *line] for line in zip_longest(*map(_heading, columns), fillvalue="")]
    head[0][0] = kind
    body = [[key, *(shown(measures[key]) for measures in columns.values())] for key in next(iter(columns.values()))]
    first, *others = (max(map(len, column)) for column in zip(*head, *body, strict=True))
    rule = ["-" * width for width in (first, *others)]
    text = [
        "  ".join([name.ljust(first), *(cell.rjust(width) for cell, width in zip(cells, others, strict=True))])
        for name, *cells in (*head, rule, *body)
    ]
    return "\n".join(line.rstrip() for line in text)


def shown(value: object) -> str:
    """A measurement as text; a dash where there is none."""
    match value:
        case None:
            return "-"
        case float():
            return f"{value:.3f}"
        case dict():
            return " / ".join(f"{number:,.10g}" for number in value.values())
        case list():
            return " / ".join(map(shown, value))
    text = visible(str(value))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
