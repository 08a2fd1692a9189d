"""Does what was forgotten stay so under fine-tuning, and if not, is that so of popular facts as of rare ones?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from dual_data.bootstrap import ANY, Interval
from dual_data.evaluation.report.analysis.contrast import Contrast, mean_contrast
from dual_data.evaluation.report.analysis.recovery import Recovery
from dual_data.evaluation.report.analysis.relearned import Relearned, tuning_of
from dual_data.evaluation.report.analysis.runs import Collection, Key, Run
from dual_data.evaluation.report.findings.sentences import (
    LEVEL,
    About,
    Compared,
    Names,
    holm_corrected,
    is_above_zero,
    recovery_sentence,
    untested_all,
)
from dual_data.evaluation.report.numbers import shown
from dual_data.text.display import count

_LEAST_LOST = 10
"""Least number of facts that either set lost where the shares of them that come back are compared."""


def relearning_answer(collection: Collection, tuned: Sequence[Relearned]) -> tuple[list[str], list[Compared]]:
    """Does fine-tuning bring back what was forgotten, and more of rare facts than of popular ones?

    One or two sentences for each kind of facts that models were tuned on, and the comparisons of popular facts with
    rare ones.
    """
    compared = _popular_and_rare(collection, tuned)
    sentences = list[str]()
    for tuned_on, sentence in _recovered_sentences(collection, tuned).items():
        sentences.append(sentence)
        if of_kind := [comparison for comparison in compared if comparison.about.what == tuned_on]:
            sentences.append(recovery_sentence(f"Tuned on {tuned_on}", of_kind))
    return sentences, compared


class _Curve(NamedTuple):
    """What tuning brings back in a cell."""

    area: Interval
    reaches_half: bool
    """Whether half of the loss is back at some step."""
    last_step: int
    is_of_one_seed: bool
    where: str


def _recovered_sentences(collection: Collection, tuned: Sequence[Relearned]) -> dict[str, str]:
    """For how many curves tuning brings something back, by what models were tuned on."""
    names, tunings = Names.of(collection), _tunings(tuned)
    by_kind: dict[str, list[_Curve]] = {}
    for curves in tuned:
        if recovered := curves.recovery:
            key, attack = curves.cell.group.key, curves.attack
            where = f"{key.method} ({', '.join((names.place(key), key.set, *tunings[attack.key]))})"
            reaches_half = math.isfinite(recovered.steps_to(0.5).value)
            last_step = int(recovered.steps[-1])
            curve = _Curve(recovered.area.interval, reaches_half, last_step, len(attack.runs) < 2, where)
            by_kind.setdefault(curves.tuned_on, []).append(curve)
    return {tuned_on: f"Tuned on {tuned_on}: {_recovered(of_kind)}." for tuned_on, of_kind in by_kind.items()}


def _recovered(curves: Sequence[_Curve]) -> str:
    """How many of some curves bring something back, and the clearest of them."""
    untested = sum(curve.is_of_one_seed for curve in curves)
    if untested == len(curves):
        text = untested_all(untested, "curve")
        clear = [curve for curve in curves if curve.area.low > 0]
    else:
        clear = [curve for curve in curves if is_above_zero(curve.area, is_of_one_seed=curve.is_of_one_seed)]
        note = f"; {untested} of one seed, not tested" if untested else ""
        text = (
            f"in {len(clear) or 'none'} of {count(len(curves), 'curve')}, some of what was lost is shown to come back "
            f"(interval above zero and p below {LEVEL:.0%}, not corrected for the number of curves{note})"
        )
        if clear:
            # Of these alone: where little was lost, noise at one of the steps often reaches half of it.
            halves = sum(curve.reaches_half for curve in clear)
            text += f"; in {halves or 'none'} of these, half of it is back at some step up to "
            text += f"{max(curve.last_step for curve in clear)}"
    if clear:
        clearest = max(clear, key=lambda curve: (curve.area.low, curve.area.value))
        text += f". The clearest case is {clearest.where}: {shown(clearest.area)} of the loss, on average over the "
        text += "logarithm of the steps"
    return text


def _tunings(tuned: Sequence[Relearned]) -> dict[str, tuple[str, ...]]:
    """What names the tuning of a curve, by its options; nothing where all have the same."""
    texts = {curves.attack.key: tuning_of(curves.attack) for curves in tuned}
    return {options: (text,) if len(texts) > 1 else () for options, text in texts.items()}


def _popular_and_rare(collection: Collection, tuned: Sequence[Relearned]) -> list[Compared]:
    """The share of what was lost that comes back, of popular facts and of rare ones at the same learning rate.

    Without the control's losses, and beside it with them. The p-value is the larger of the two corrected ones.
    """
    names, tunings = Names.of(collection), _tunings(tuned)
    sides: dict[tuple[Key, str, float, str], tuple[tuple[Recovery, Sequence[str]], tuple[Run, ...]]] = {}
    """By place and set, what models were tuned on, their learning rate and the options of the attack."""
    for curves in tuned:
        if curves.recovery is not None and curves.recovery.lost >= _LEAST_LOST:
            runs = curves.attack.runs
            tuning = curves.tuned_on, runs[0].lr, curves.attack.key
            sides[curves.cell.group.key, *tuning] = (curves.recovery, curves.subjects), runs
    compared, with_losses = [], []
    for (key, tuned_on, lr, options), (popular, runs) in sides.items():
        if key.rare and (of_rare := sides.get((key.rare, tuned_on, lr, options))):
            rare, rare_runs = of_rare
            where = f"{names.place(key)}, {key.method} at {lr:g}, tuned on {tuned_on}"
            contrast, beside = compare_recovery(popular, rare, key.data)
            label = ", ".join((where, *tunings[options]))
            entry = Compared(About(names.data(key), tuned_on), label, contrast, (*runs, *rare_runs), beside=beside)
            compared.append(entry)
            with_losses.append(entry._replace(contrast=beside))
    pairs = zip(holm_corrected(compared), holm_corrected(with_losses), strict=True)
    return [entry._replace(p_value=in_both(entry, other)) for entry, other in pairs]


def compare_recovery(
    first: tuple[Recovery, Sequence[str]], second: tuple[Recovery, Sequence[str]], data: str
) -> tuple[Contrast, Contrast]:
    """The share recovered of the first facts minus that of the second, with their subjects, in models of a dataset.

    Without the control's losses and with them.
    """
    sides = first, second
    without = mean_contrast([(recovered.area.by_fact, names) for recovered, names in sides], data, scale=ANY)
    with_losses = [(recovered.area_with_losses.by_fact, names) for recovered, names in sides]
    return without, mean_contrast(with_losses, data, scale=ANY)


def in_both(first: Compared, second: Compared) -> float | None:
    """The p-value of a difference that both comparisons show (an intersection-union test); None where not tested."""
    if first.p_value is None or second.p_value is None:
        return None
    same_direction = first.contrast.difference.value * second.contrast.difference.value > 0
    return max(first.p_value, second.p_value) if same_direction else 1.0
