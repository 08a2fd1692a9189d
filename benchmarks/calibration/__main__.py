"""How often intervals hold the truth and tests err: python -m benchmarks.calibration [--repeat N] [--record]."""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from benchmarks import readme
from dual_data.bootstrap import UNIT, Interval, bootstrap_difference, bootstrap_mean, bootstrap_median
from dual_data.evaluation.metrics.chance import Rule
from dual_data.evaluation.report.analysis.contrast import Contrast, Side, compare_sets, mean_contrast
from dual_data.evaluation.report.analysis.curves import LOST, compare_retention
from dual_data.evaluation.report.analysis.frontier import Point, retain_at
from dual_data.evaluation.report.analysis.recovery import Recovery, recovery
from dual_data.evaluation.report.analysis.runs import Group, Items, Key, Run
from dual_data.evaluation.report.findings.relearning import compare_recovery, in_both
from dual_data.evaluation.report.findings.sentences import LEVEL, About, Compared, holm_corrected, mean_difference
from dual_data.statistics import Floats

HERE = Path(__file__).parent
FACTS = 80
SEEDS = (1, 3, 5)
APART = {"alike": 0.0, "apart": 0.3, "far apart": 1.0}
"""Standard deviation of the seeds, where that of the facts is 1."""
_BOTH = 0.7
"""Standard deviation of what is of one fact in one seed."""
_LR = 1e-4
_CURVE = ((0.85, 0.95), (0.7, 0.92), (0.55, 0.85), (0.3, 0.72), (0.1, 0.5))
"""Scores on forget and retain_eval at five learning rates."""
_BEFORE = (0.93, 0.96)
_METHODS = 7
_KNOWN, _LEFT, _BACK, _HARM = 0.9, 0.4, 0.4, 0.1
"""Shares of the facts known before unlearning, of these left by it, of the lost ones that tuning brings back, and of
all known ones that it costs."""
_phi = np.vectorize(NormalDist().cdf)
Outcomes = dict[str, bool | None]
"""By row of the table, whether an interval held the truth or a test rejected; None where there was none."""
Trial = Callable[[np.random.Generator, int, float], Outcomes]
"""One simulated study, by the number of seeds and how far they are apart."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration", description=__doc__)
    parser.add_argument("--repeat", type=int, default=1000, help="simulated studies; a quarter where these are slow")
    parser.add_argument("--record", action="store_true", help="write results.json and the table of the README")
    options = parser.parse_args(arguments)
    results: dict[str, list[float | None]] = {}
    for name, trial, part in trials():
        for seeds, apart in itertools.product(SEEDS, APART.values()):
            random = np.random.default_rng(0)
            studies = [trial(random, seeds, apart) for _ in range(max(1, options.repeat // part))]
            for row in studies[0]:
                known = [study[row] for study in studies if study[row] is not None]
                share = round(100 * sum(map(bool, known)) / len(known), 1) if known else None
                results.setdefault(f"{name}: {row}", []).append(share)
        print(name, file=sys.stderr, flush=True)
    print(table(results), end="")
    if options.record:
        readme.record(HERE, results, table(results))


def table(results: dict[str, list[float | None]]) -> str:
    """The results in Markdown."""
    columns = [f"{seeds} {'seed' if seeds == 1 else 'seeds'}, {name}" for seeds in SEEDS for name in APART]
    rows = [[row, *("-" if share is None else f"{share:.1f}" for share in shares)] for row, shares in results.items()]
    return readme.table(["%", *columns], rows) + "\n"


def trials() -> list[tuple[str, Trial, int]]:
    """Beginning of the rows, one study of them, and the share of the repetitions that is enough time for it."""
    return [
        ("score, 0 or 1, mean 0.5", partial(_score, True, 0.5), 1),
        ("score, 0 or 1, mean 0.1", partial(_score, True, 0.1), 1),
        ("score, continuous, mean 0.95", partial(_score, False, 0.95), 1),
        ("score, 0 or 1, each seed loses nearly all or nearly none", partial(_score, True, 0.5, jump=True), 1),
        ("median, continuous", _median, 1),
        ("two methods", _paired, 1),
        ("two methods, log-probability", _log_probabilities, 1),
        ("popular and rare", _sets, 1),
        ("sides of unequal spread", _unequal, 1),
        ("relearning of popular and rare", _relearning, 1),
        ("retention", _retention, 4),
        ("retention after a stage", partial(_retention, stage=True), 4),
        (f"{_METHODS} methods, popular and rare", _methods, 4),
    ]


def scores(
    random: np.random.Generator, binary: bool, mean: float, facts: Floats, by_seed: Floats, apart: float
) -> Floats:
    """Scores [seeds, facts]: a normal variable with effects of facts and seeds [seeds, 1], cut at zero or squeezed."""
    center = NormalDist().inv_cdf(mean) * math.sqrt(1 + apart**2 + _BOTH**2 + (not binary))
    latent = center + facts + apart * by_seed + _BOTH * random.normal(size=(len(by_seed), len(facts)))
    return (latent > 0).astype(float) if binary else _phi(latent)


def held(interval: Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


def rejected(interval: Interval) -> bool:
    return interval.p_value is not None and interval.p_value < LEVEL


def _score(
    binary: bool, mean: float, random: np.random.Generator, seeds: int, apart: float, *, jump: bool = False
) -> Outcomes:
    by_seed = random.choice([-2.0, 2.0], (seeds, 1)) if jump else random.normal(size=(seeds, 1))
    table = scores(random, binary, mean, random.normal(size=FACTS), by_seed, apart)
    return {"interval": held(bootstrap_mean(table, range(FACTS), UNIT._replace(share=binary)), mean)}


def _median(random: np.random.Generator, seeds: int, apart: float) -> Outcomes:
    table = scores(random, False, 0.5, random.normal(size=FACTS), random.normal(size=(seeds, 1)), apart)
    return {"interval": held(bootstrap_median(table, range(FACTS)), 0.5)}


def _paired(random: np.random.Generator, seeds: int, apart: float) -> Outcomes:
    facts = random.normal(size=FACTS)
    first, second, better = (
        scores(random, True, mean, facts, random.normal(size=(seeds, 1)), apart) for mean in (0.5, 0.5, 0.7)
    )
    same, other = (bootstrap_difference(side, second, range(FACTS), UNIT) for side in (first, better))
    return {"interval": held(same, 0), "false positives": rejected(same), "power at 0.2": rejected(other)}


def _log_probabilities(random: np.random.Generator, seeds: int, apart: float) -> Outcomes:
    """On a scale without ends, of facts that a seed moves almost alike: all can differ in one direction by chance."""
    facts = random.normal(size=FACTS)
    first, second = (
        facts + apart * random.normal(size=(seeds, 1)) + 0.1 * random.normal(size=(seeds, FACTS)) for _ in range(2)
    )
    difference = bootstrap_difference(first, second, range(FACTS))
    return {"interval": held(difference, 0), "false positives": rejected(difference)}


def _sets(random: np.random.Generator, seeds: int, apart: float) -> Outcomes:
    popular, rare, easier = (
        _group(random, name, [(mean, mean)], random.normal(size=(2, FACTS)), seeds, apart)
        for name, mean in (("popular", 0.5), ("rare", 0.5), ("popular", 0.3))
    )
    same, other = (compare_sets(side, rare, _LR).difference for side in (popular, easier))
    return {"interval": held(same, 0), "false positives": rejected(same), "power at 0.2": rejected(other)}


def _unequal(random: np.random.Generator, seeds: int, apart: float) -> Outcomes:
    """Of one set hardly anything is left, by seeds that are apart; of the other, each seed loses nearly all or none."""
    shifts = random.normal(size=(seeds, 1)), random.choice([-2.0, 2.0], (seeds, 1))
    sides: list[Side] = [
        (scores(random, True, mean, random.normal(size=FACTS), by_seed, spread), [f"{mean} {i}" for i in range(FACTS)])
        for mean, by_seed, spread in zip((0.05, 0.5), shifts, (APART["apart"], apart), strict=True)
    ]
    difference = mean_contrast(sides, "data").difference
    return {"interval": held(difference, 0.05 - 0.5)}


def _relearning(random: np.random.Generator, seeds: int, apart: float) -> Outcomes:
    rare, popular, harmed, less = (
        _recovery(random, name, seeds, apart, *shares)
        for name, shares in (
            ("rare", (_BACK, _HARM)),
            ("popular", (_BACK, _HARM)),
            ("popular", (_BACK, 3 * _HARM)),
            ("popular", (_BACK / 4, _HARM)),
        )
    )
    same, of_harmed, of_less = (compare_recovery(side, rare, "data") for side in (popular, harmed, less))

    def in_both_ways(contrasts: Sequence[Contrast]) -> bool | None:
        without, with_losses = (
            holm_corrected([Compared(About("data"), "", contrast, ())])[0] for contrast in contrasts
        )
        p_value = in_both(without, with_losses)
        return None if p_value is None else p_value < LEVEL

    return {
        "interval, losses left out": held(same[0].difference, 0),
        "interval, losses counted": held(same[1].difference, 0),
        "false positives both ways": in_both_ways(same),
        "popular facts harmed more: false positives, losses left out": rejected(of_harmed[0].difference),
        "popular facts harmed more: false positives, losses counted": rejected(of_harmed[1].difference),
        "popular facts harmed more: false positives both ways": in_both_ways(of_harmed),
        "power at 0.3 both ways": in_both_ways(of_less),
    }


def _recovery(
    random: np.random.Generator, name: str, seeds: int, apart: float, back: float, harm: float
) -> tuple[Recovery, list[str]]:
    """What one step of tuning brings back of a set, and its subjects."""

    def given(share: float) -> NDArray[np.bool_]:
        return scores(random, True, share, random.normal(size=FACTS), random.normal(size=(seeds, 1)), apart) > 0

    known = np.repeat(random.random((1, FACTS)) < _KNOWN, seeds, axis=0)
    left = known & given(_LEFT)
    spared, spared_of_control = random.random((2, seeds, FACTS)) >= harm
    tuned = (left | (known & given(back))) & spared
    names = [f"{name} {fact}" for fact in range(FACTS)]
    tuned, control = (np.stack(steps, axis=1) for steps in ((left, tuned), (known, known & spared_of_control)))
    return recovery((0, 1), tuned, control, known, names), names


def _retention(random: np.random.Generator, seeds: int, apart: float, *, stage: bool = False) -> Outcomes:
    facts = random.normal(size=(2, FACTS))
    better = [(forget, min(0.97, retain + 0.1)) for forget, retain in _CURVE]
    groups = [_group(random, "forget", curve, facts, seeds, apart, stage=stage) for curve in (_CURVE, _CURVE, better)]
    points = [Point(0, forget / _BEFORE[0], retain / _BEFORE[1]) for forget, retain in (*_CURVE, _BEFORE)]
    same, other = (compare_retention(group, groups[1]) for group in (groups[0], groups[2]))
    return {
        "can be read": same is not None,
        "interval of one": same and held(same.first, retain_at(points, 1 - LOST) or 0),
        "interval of the difference": same and held(same.difference, 0),
        "false positives": same and rejected(same.difference),
        "power at 0.1": other and rejected(other.difference),
    }


def _methods(random: np.random.Generator, seeds: int, apart: float) -> Outcomes:
    sides = [(name, random.normal(size=(2, FACTS))) for name in ("popular", "rare")]
    compared = []
    for _ in range(_METHODS):
        groups = [_group(random, name, [(0.5, 0.5)], facts, seeds, apart) for name, facts in sides]
        compared.append(Compared(About("data"), "", compare_sets(groups[0], groups[1], _LR), ()))
    corrected = holm_corrected(compared)
    values = [comparison.p_value for comparison in corrected if comparison.p_value is not None]
    return {
        "interval of the average": held(mean_difference(corrected), 0),
        "any false positive, not corrected": any(rejected(comparison.contrast.difference) for comparison in compared),
        "any false positive, corrected": min(values) < LEVEL if values else None,
    }


def _group(
    random: np.random.Generator,
    name: str,
    curve: Sequence[Sequence[float]],
    facts: Floats,
    seeds: int,
    apart: float,
    *,
    stage: bool = False,
) -> Group:
    """Runs at each point of a curve and before unlearning; `facts` are effects of those of `name` and retain_eval.

    There is one model before unlearning or, after a stage, one a seed, whose effect is then in all that it gives.
    """
    of_stage = random.normal(size=(2, seeds, 1))

    def runs(lr: float, means: Sequence[float], count: int, apart: float) -> list[Run]:
        of_seeds = of_stage if stage else random.normal(size=(2, count, 1))
        tables = [
            scores(random, True, mean, of_set, by_seed, apart)
            for mean, of_set, by_seed in zip(means, facts, of_seeds, strict=True)
        ]
        return [_run(lr, seed, name, *(of_set[seed] for of_set in tables)) for seed in range(count)]

    points = [run for point, means in enumerate(curve) for run in runs(_LR * 2**point, means, seeds, apart)]
    before = runs(0.0, _BEFORE, seeds, apart) if stage else runs(0.0, _BEFORE, 1, 0.0)
    key = Key("data", "model", "stage", name, "method", "preset", "profile")
    return Group(key, tuple(points), tuple(before))


def _run(lr: float, seed: int, name: str, forget: Floats, retain: Floats) -> Run:
    sets = {}
    for key, subject, values in (("forget", name, forget), ("retain_eval", "retain", retain)):
        names = tuple(f"{subject} {fact}" for fact in range(FACTS))
        sets[key] = Items(names, names, (), {"rougeL_recall": values}, False, {}, ())
    rule = Rule("", np.empty(0))
    return Run("", HERE, {}, lr, seed, "", "", sets, (), 0, "", 0, (), None, (), None, rule, None, {})


if __name__ == "__main__":
    main()
