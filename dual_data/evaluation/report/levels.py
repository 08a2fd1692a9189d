"""Mean scores of a group at every learning rate and before unlearning, exact and drawn: statistics of whole curves."""

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
    """Sums of ROUGE-L recall of forget and retain_eval by learning rate, rising, and before unlearning at the end."""

    forget: list[Floats]
    """By level, [seeds, subjects]."""
    retain: list[Floats]
    forget_names: tuple[str, ...]
    retain_names: tuple[str, ...]
    forget_sizes: Floats
    retain_sizes: Floats

    def points(self) -> list[Point]:
        """The means; a point's rate is the level's number."""
        return self.held(self._each_subject())[0]

    def weights(self, random: np.random.Generator, replicates: int) -> Weights:
        """Draws of the subjects, which hold for every level and seed."""
        return Weights(
            draw_counts(len(self.forget_names), random, replicates),
            draw_counts(len(self.retain_names), random, replicates),
        )

    def drawn(self, weights: Weights, random: np.random.Generator) -> list[list[Point]]:
        """The means in every draw; the seeds of each level are drawn for themselves."""
        return self._means(weights, [seed_weights(len(level), random, len(weights.forget)) for level in self.forget])

    def held(self, weights: Weights) -> list[list[Point]]:
        """The means in every draw of subjects, of the seeds that there are."""
        return self._means(weights, [np.ones((1, len(level))) for level in self.forget])

    def without_each_seed(self) -> list[list[list[Point]]]:
        """By level of several seeds, the means without each of its seeds in turn."""
        found = []
        for place, count in enumerate(map(len, self.forget)):
            if count > 1:
                seeds = [np.ones((1, len(level))) for level in self.forget]
                without = (1 - np.eye(count))[:, None]
                picked = self._each_subject()
                found.append([self._means(picked, [*seeds[:place], one, *seeds[place + 1 :]])[0] for one in without])
        return found

    def _each_subject(self) -> Weights:
        return Weights(np.ones((1, len(self.forget_names))), np.ones((1, len(self.retain_names))))

    def _means(self, weights: Weights, seeds: Sequence[Floats]) -> list[list[Point]]:
        def means(tables: Sequence[Floats], picked: Floats, sizes: Floats) -> Floats:
            whole = picked @ sizes
            columns = [
                ((drawn @ table) * picked).sum(1) / (drawn.sum(1) * whole)
                for table, drawn in zip(tables, seeds, strict=True)
            ]
            found: Floats = np.clip(np.stack(columns, axis=1), 0, 1)  # what seeds count in a draw can be below zero
            return found

        forget = means(self.forget, weights.forget, self.forget_sizes).tolist()
        retain = means(self.retain, weights.retain, self.retain_sizes).tolist()
        return [
            [Point(float(place), *pair) for place, pair in enumerate(zip(*row, strict=True))]
            for row in zip(forget, retain, strict=True)
        ]


def levels_of(group: Group) -> Levels | None:
    """The levels of a group; None without a measured run, or without one before unlearning."""
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
    places = {subject: place for place, subject in enumerate(dict.fromkeys(subjects))}
    found = np.zeros((len(table), len(places)))
    np.add.at(found.T, [places[subject] for subject in subjects], table.T)
    return found


def _sizes(subjects: Sequence[str]) -> Floats:
    return np.array(list(Counter(subjects).values()), dtype=float)
