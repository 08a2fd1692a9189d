"""Mean scores of a group at every learning rate and before unlearning, exact and in bootstrap draws.

Statistics of whole curves are computed from them.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from dual_data.bootstrap import additive_sums, draw_counts, seed_weights
from dual_data.evaluation.report.analysis.frontier import Point
from dual_data.evaluation.report.analysis.runs import Group, Run, clusters, stack
from dual_data.statistics import Floats

Weights = Sequence[Floats]
"""How often each subject is drawn, [replicates, subjects] of either set."""


class Sums(NamedTuple):
    """Sums of ROUGE-L recall over the items of each subject of one set."""

    levels: list[Floats]
    """By level, [seeds, subjects]."""
    names: tuple[Hashable, ...]
    """The subjects."""
    sizes: Floats
    """Items of each subject."""

    def means(self, weights: Floats, seeds: Sequence[Floats]) -> Floats:
        """The means of every level, [replicates, levels], from weights of subjects and, by level, of seeds."""
        items = weights @ self.sizes
        columns = [
            ((level_seeds @ table) * weights).sum(1) / (level_seeds.sum(1) * items)
            for table, level_seeds in zip(self.levels, seeds, strict=True)
        ]
        clipped: Floats = np.clip(np.stack(columns, axis=1), 0, 1)  # weights of seeds can be negative
        return clipped


class Levels(NamedTuple):
    """The scores by level: learning rates in ascending order, then before unlearning."""

    sides: tuple[Sums, Sums]
    """Of forget and of retain_eval."""
    paired: bool
    """Whether all levels have the same seeds, and several models before unlearning: the k-th model of every level then
    started from the k-th of these, and shares what its seed did."""

    def points(self) -> list[Point]:
        """The exact means; the lr of a point is the index of its level."""
        return self.draws_with_fixed_seeds(self._each_subject())[0]

    def weights(self, replicates: int) -> Weights:
        """Draws of subjects, the same for every level and seed."""
        return [draw_counts(side.names, replicates) for side in self.sides]

    def draws(self, weights: Weights, random: np.random.Generator, degrees: float | None = None) -> list[list[Point]]:
        """The means in every draw; `degrees` as in `seed_weights`.

        Seeds are drawn for each level separately, unless they are paired. Each level has a generator of its own, that
        before unlearning the first: all methods that start from a model draw the same of it, whatever the degrees of
        freedom.
        """
        *rates, before = self.sides[0].levels
        before_weights, *rate_weights = (
            seed_weights(len(level), level_random, len(weights[0]), degrees)
            for level, level_random in zip((before, *rates), random.spawn(1 + len(rates)), strict=True)
        )
        return self._means(
            weights, [before_weights] * (1 + len(rates)) if self.paired else [*rate_weights, before_weights]
        )

    def draws_with_fixed_seeds(self, weights: Weights) -> list[list[Point]]:
        """The means in every draw of subjects, with the seeds fixed."""
        return self._means(weights, self._each_seed())

    def without_each_seed(self) -> list[list[list[Point]]]:
        """For each level with several seeds, or for all levels of paired seeds, the means without each in turn."""
        subjects, seeds = self._each_subject(), self._each_seed()
        if self.paired:
            return [[self._means(subjects, [weights] * len(seeds))[0] for weights in _without_each(seeds[0])]]
        return [
            [self._means(subjects, [*seeds[:index], weights, *seeds[index + 1 :]])[0] for weights in _without_each(own)]
            for index, own in enumerate(seeds)
            if own.size > 1
        ]

    def _each_subject(self) -> Weights:
        return [np.ones((1, len(side.names))) for side in self.sides]

    def _each_seed(self) -> list[Floats]:
        return [np.ones((1, len(level))) for level in self.sides[0].levels]

    def _means(self, weights: Weights, seeds: Sequence[Floats]) -> list[list[Point]]:
        forget, retain = (side.means(drawn, seeds).tolist() for side, drawn in zip(self.sides, weights, strict=True))
        return [
            [Point(float(level), *pair) for level, pair in enumerate(zip(*row, strict=True))]
            for row in zip(forget, retain, strict=True)
        ]


def levels_of(group: Group) -> Levels | None:
    """The levels of a group; None without a measured run or without one before unlearning."""
    if not group.before or not group.lrs:
        return None
    levels = [*map(group.at, group.lrs), group.before]
    seeds = {tuple(run.seed for run in runs) for runs in levels}
    sides = _sums(levels, "forget"), _sums(levels, "retain_eval")
    return Levels(sides, paired=len(group.before) > 1 and len(seeds) == 1)


def _without_each(seeds: Floats) -> Floats:
    """The weights [1, seeds] of one level without each seed in turn."""
    without: Floats = (1 - np.eye(seeds.size))[:, None]
    return without


def _sums(levels: Sequence[Sequence[Run]], name: str) -> Sums:
    subjects = clusters(levels[0], name)
    tables = [additive_sums(stack(runs, name, "rougeL_recall"), subjects) for runs in levels]
    return Sums([table.sums.T for table in tables], tables[0].names, tables[0].sizes)
