"""Mean scores of a group at every learning rate and before unlearning, exact and in bootstrap draws.

Statistics of whole curves are computed from them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dual_data.evaluation.report.collect import Group, Run, clusters, stack
from dual_data.evaluation.report.frontier import Point
from dual_data.evaluation.statistics import Floats, draw_counts, seed_weights


class Weights(NamedTuple):
    """How often each subject is drawn, [replicates, subjects]."""

    forget: Floats
    retain: Floats


class Levels(NamedTuple):
    """Sums of ROUGE-L recall by level: learning rates in ascending order, then before unlearning."""

    forget: list[Floats]
    """By level, [seeds, subjects]."""
    retain: list[Floats]
    """The same for retain_eval."""
    forget_names: tuple[str, ...]
    """The subjects."""
    retain_names: tuple[str, ...]
    forget_sizes: Floats
    """Items of each subject."""
    retain_sizes: Floats

    def points(self) -> list[Point]:
        """The exact means; the lr of a point is the index of its level."""
        return self.draws_with_fixed_seeds(self._each_subject())[0]

    def weights(self, random: np.random.Generator, replicates: int) -> Weights:
        """Draws of subjects, the same for every level and seed."""
        return Weights(
            draw_counts(len(self.forget_names), random, replicates),
            draw_counts(len(self.retain_names), random, replicates),
        )

    def draws(self, weights: Weights, random: np.random.Generator) -> list[list[Point]]:
        """The means in every draw; seeds are drawn for each level separately.

        Those before unlearning are drawn first, so that all methods that start from a model draw the same of it.
        """
        *rates, before = self.forget
        before_weights, *rate_weights = (
            seed_weights(len(level), random, len(weights.forget)) for level in (before, *rates)
        )
        return self._means(weights, [*rate_weights, before_weights])

    def draws_with_fixed_seeds(self, weights: Weights) -> list[list[Point]]:
        """The means in every draw of subjects, with the seeds fixed."""
        return self._means(weights, [np.ones((1, len(level))) for level in self.forget])

    def without_each_seed(self) -> list[list[list[Point]]]:
        """For each level with several seeds, the means without each of its seeds in turn."""
        levels = []
        for index, count in enumerate(map(len, self.forget)):
            if count > 1:
                seeds = [np.ones((1, len(level))) for level in self.forget]
                leave_one_out = (1 - np.eye(count))[:, None]
                subjects = self._each_subject()
                levels.append(
                    [
                        self._means(subjects, [*seeds[:index], weights, *seeds[index + 1 :]])[0]
                        for weights in leave_one_out
                    ]
                )
        return levels

    def _each_subject(self) -> Weights:
        return Weights(np.ones((1, len(self.forget_names))), np.ones((1, len(self.retain_names))))

    def _means(self, weights: Weights, seeds: Sequence[Floats]) -> list[list[Point]]:
        def means(tables: Sequence[Floats], subject_weights: Floats, sizes: Floats) -> Floats:
            items = subject_weights @ sizes
            columns = [
                ((level_seeds @ table) * subject_weights).sum(1) / (level_seeds.sum(1) * items)
                for table, level_seeds in zip(tables, seeds, strict=True)
            ]
            clipped: Floats = np.clip(np.stack(columns, axis=1), 0, 1)  # weights of seeds can be negative
            return clipped

        forget = means(self.forget, weights.forget, self.forget_sizes).tolist()
        retain = means(self.retain, weights.retain, self.retain_sizes).tolist()
        return [
            [Point(float(level), *pair) for level, pair in enumerate(zip(*row, strict=True))]
            for row in zip(forget, retain, strict=True)
        ]


def levels_of(group: Group) -> Levels | None:
    """The levels of a group; None without a measured run or without one before unlearning."""
    if not group.before or not group.lrs:
        return None
    runs = [group.at(lr) for lr in group.lrs] + [list(group.before)]
    forget, retain = clusters(runs[0], "forget"), clusters(runs[0], "retain_eval")
    return Levels(
        [_sums(level, "forget", forget) for level in runs],
        [_sums(level, "retain_eval", retain) for level in runs],
        tuple(dict.fromkeys(forget)),
        tuple(dict.fromkeys(retain)),
        _sizes(forget),
        _sizes(retain),
    )


def _sums(runs: Sequence[Run], name: str, subjects: Sequence[str]) -> Floats:
    table = stack(runs, name, "rougeL_recall")
    columns = {subject: column for column, subject in enumerate(dict.fromkeys(subjects))}
    sums = np.zeros((len(table), len(columns)))
    np.add.at(sums.T, [columns[subject] for subject in subjects], table.T)
    return sums


def _sizes(subjects: Sequence[str]) -> Floats:
    return np.array(list(Counter(subjects).values()), dtype=float)
