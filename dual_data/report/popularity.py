"""Rare against popular: the distribution of popularity in every pair of forget splits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from dual_data.released import popularity_of
from dual_data.report.figures import INK, POPULAR, RARE, SOFT, Figure, shortened, whole_ticks
from dual_data.report.read import Built
from dual_data.report.tables import BetweenCounts, Section, paragraph, shown, table
from dual_data.split_names import parse
from dual_data.text.markup import Html

_BINS = 32
_DRAWN: Mapping[str, tuple[str, int]] = {"rare": (RARE, 1), "popular": (POPULAR, -1)}
"""Of each side, the colour of its histograms, and whether they stand above the line (1) or below it."""
_QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


class Pair(NamedTuple):
    """The rare and the popular forget split of one topic."""

    recipe: str
    family: str
    percent: int
    rare: pl.DataFrame
    popular: pl.DataFrame


def pairs(recipe: str, examples: pl.DataFrame) -> list[Pair]:
    """The largest pair of each family, the one with most rows first."""
    splits = examples.partition_by("split", as_dict=True)
    families: dict[str, dict[int, dict[str, pl.DataFrame]]] = {}
    for (name,), rows in splits.items():
        if (split_name := parse(str(name))) and split_name.percent is not None:
            families.setdefault(split_name.topic, {}).setdefault(split_name.percent, {})[split_name.side] = rows
    result = []
    for family, sizes in families.items():
        whole = [percent for percent, sides in sizes.items() if len(sides) == 2]
        if whole:
            percent = max(whole)
            result.append(Pair(recipe, family, percent, sizes[percent]["rare"], sizes[percent]["popular"]))
    return sorted(result, key=lambda pair: (-pair.rare.height, pair.family))


def section(built: Built) -> Section:
    """A figure and a table for each recipe."""
    parts: list[Html | Figure] = []
    for recipe, examples in built.recipes().items():
        if not (recipe_pairs := pairs(recipe, examples)):
            continue
        column = "pop_sum" if recipe == "paper" else "popularity"
        meaning = popularity_of(recipe, built.manifests) or "popularity"
        parts += [_ridges(recipe, recipe_pairs, column, meaning), _numbers(recipe, recipe_pairs, column, meaning)]
        if recipe != "paper" and (touching := _touching(recipe_pairs, column)):
            parts.append(
                paragraph(
                    "Rare and popular are the lowest and the highest third of each relation in its topic: over several "
                    "relations, a rare fact may be as popular as a popular one of another relation or more so, as in "
                    f"{'; '.join(touching)}."
                )
            )
    if not parts:
        parts.append(
            paragraph("No recipe has a rare and a popular split of one topic, so there is nothing to compare.")
        )
    return Section("popularity", "Popularity of rare and popular", tuple(parts))


def _values(rows: pl.DataFrame, column: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    return rows[column].drop_nulls().cast(pl.Float64).to_numpy()


def _numbers(recipe: str, pairs: Sequence[Pair], column: str, meaning: str) -> Html:
    rows = []
    for pair in pairs:
        for side, frame in (("rare", pair.rare), ("popular", pair.popular)):
            values = _values(frame, column)
            # The median is that of the figure and of the audit: the mean of the two in the middle.
            quantiles = _quantiles(values, _QUANTILES) if values.size else [None] * len(_QUANTILES)
            rows.append((f"{pair.family}, {pair.percent} %", side, frame.height, *quantiles))
    header = ("topic and size", "side", "rows", "smallest", "lower quartile", "median", "upper quartile", "largest")
    return table(f"Recipe {recipe}: {meaning}", header, rows)


def _touching(pairs: Sequence[Pair], column: str) -> list[str]:
    """The pairs whose largest popularity of the rare side is not below the smallest of the popular side."""
    sides = [(pair, _values(pair.rare, column), _values(pair.popular, column)) for pair in pairs]
    return [
        f"{pair.family}, {pair.percent} %"
        for pair, rare, popular in sides
        if rare.size and popular.size and rare.max() >= popular.min()
    ]


def _quantiles(values: np.ndarray[Any, np.dtype[np.float64]], shares: Sequence[float]) -> list[float]:
    quantiles: list[float] = np.quantile(values, shares).tolist()
    return [*map(BetweenCounts, quantiles)] if (values == np.round(values)).all() else quantiles


def _ridges(recipe: str, pairs: Sequence[Pair], column: str, meaning: str) -> Figure:
    values = {(pair.family, side): _values(getattr(pair, side), column) for pair in pairs for side in _DRAWN}
    everything = np.concatenate(list(values.values()))
    logarithmic = not everything.size or (everything.min() >= 0 and everything.max() > 20)

    def place(numbers: Any) -> Any:
        return np.log10(1 + numbers) if logarithmic else numbers

    def draw(canvas: Any) -> None:
        axes = canvas.subplots()
        span = place(everything)
        low, high = (float(span.min()), float(span.max())) if everything.size else (0.0, 1.0)
        edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
        for row, pair in enumerate(pairs):
            axes.axhline(row, color=SOFT, linewidth=0.6)
            for side, (colour, upwards) in _DRAWN.items():
                sample = values[pair.family, side]
                if not sample.size:
                    continue
                shares = np.histogram(place(sample), edges)[0] / sample.size
                outline = row - upwards * 0.42 * shares / max(shares.max(), 1e-12)
                label = side if row == 0 else None
                axes.stairs(outline, edges, baseline=row, fill=True, color=colour, alpha=0.75, label=label)
                middle = float(place(np.median(sample)))
                axes.plot([middle, middle], [row, row - upwards * 0.46], color=INK, linewidth=1.4)
        axes.set_yticks(range(len(pairs)), [f"{shortened(pair.family, 26)}  {pair.percent} %" for pair in pairs])
        axes.set_ylim(len(pairs) - 0.45, -0.55)
        axes.grid(visible=False, axis="y")
        if logarithmic:
            counts = (0.0, 1.0, 3.0, 10.0, 30.0, *(float(10**power) for power in range(2, int(high) + 2)))
            ticks = {place(count): f"{count:,.0f}" for count in counts if place(count) <= high + 1e-9}
            axes.set_xticks([*ticks], [*ticks.values()])
        elif (everything == np.round(everything)).all():
            whole_ticks(axes.xaxis)
        axes.set_xlabel(re.sub(r" \(.+\)", "", meaning))  # what it counts is in the caption, for which there is room
        canvas.legend(loc="outside upper right", ncols=2)

    medians_by_pair = []
    for pair in pairs[:8]:
        samples = ((side, values[pair.family, side]) for side in _DRAWN)
        medians = [f"{shown(*_quantiles(sample, [0.5]))} {side}" for side, sample in samples if sample.size]
        medians_by_pair.append(f"{pair.family}: median {', '.join(medians) or 'unknown'}")
    caption = (
        f"Recipe {recipe}: {meaning} in the rare (above the line) and the popular split (below it) of each topic. "
        "Vertical strokes are medians; each histogram is scaled to its own height"
        f"{'; the axis is logarithmic' if logarithmic else ''}."
    )
    described = f"Histograms of the recipe {recipe}. {'; '.join(medians_by_pair)}."
    return Figure(f"popularity-{recipe}", caption, described, (7.2, 1.1 + 0.62 * len(pairs)), draw)
