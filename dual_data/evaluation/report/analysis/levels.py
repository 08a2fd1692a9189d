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


class Weights(NamedTuple):
    """How often each subject is drawn, [replicates, subjects]."""

    forget: Floats
    retain: Floats


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

    forget: Sums
    retain: Sums
    """The same for retain_eval."""
    paired: bool
    """Whether all levels have the same seeds, and several models before unlearning: the k-th model of every level then
    started from the k-th of these, and shares what its seed did."""

    @property
    def sides(self) -> tuple[Sums, Sums]:
        return self.forget, self.retain

    def points(self) -> list[Point]:
        """The exact means; the lr of a point is the index of its level."""
        return self.draws_with_fixed_seeds(self._each_subject())[0]

    def weights(self, replicates: int) -> Weights:
        """Draws of subjects, the same for every level and seed."""
        return Weights(*(draw_counts(side.names, replicates) for side in self.sides))

    def draws(self, weights: Weights, random: np.random.Generator, degrees: float | None = None) -> list[list[Point]]:
        """The means in every draw; `degrees` as in `seed_weights`.

        Seeds are drawn for each level separately, unless they are paired. Each level has a generator of its own, that
        before unlearning the first: all methods that start from a model draw the same of it, whatever the degrees of
        freedom.
        """
        *rates, before = self.forget.levels
        before_weights, *rate_weights = (
            seed_weights(len(level), level_random, len(weights.forget), degrees)
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
        subjects, seeds, levels = self._each_subject(), self._each_seed(), []
        if self.paired:
            without = (1 - np.eye(len(self.forget.levels[0])))[:, None]
            return [[self._means(subjects, [weights] * len(seeds))[0] for weights in without]]
        for index, count in enumerate(map(len, self.forget.levels)):
            if count > 1:
                leave_one_out = (1 - np.eye(count))[:, None]
                levels.append(
                    [
                        self._means(subjects, [*seeds[:index], weights, *seeds[index + 1 :]])[0]
                        for weights in leave_one_out
                    ]
                )
        return levels

    def _each_subject(self) -> Weights:
        return Weights(*(np.ones((1, len(side.names))) for side in self.sides))

    def _each_seed(self) -> list[Floats]:
        return [np.ones((1, len(level))) for level in self.forget.levels]

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
    forget, retain = (_sums(levels, name) for name in ("forget", "retain_eval"))
    return Levels(forget, retain, paired=len(group.before) > 1 and len(seeds) == 1)


def _sums(levels: Sequence[Sequence[Run]], name: str) -> Sums:
    subjects = clusters(levels[0], name)
    tables = [additive_sums(stack(runs, name, "rougeL_recall"), subjects) for runs in levels]
    return Sums([table.sums.T for table in tables], tables[0].names, tables[0].sizes)
