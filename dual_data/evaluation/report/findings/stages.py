"""Does a training stage first help retention, and is forgetting smoother after it?"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial

from dual_data.evaluation.report.analysis.contrast import Contrast
from dual_data.evaluation.report.analysis.curves import compare_jumps, compare_retention
from dual_data.evaluation.report.analysis.runs import Collection, Group
from dual_data.evaluation.report.findings.sentences import (
    About,
    Compared,
    Names,
    about_of,
    all_runs,
    by_how_much,
    holm_corrected,
    keeps,
    mean_difference,
    not_at_equal_forgetting,
    over_datasets,
    retention_sentence,
)
from dual_data.evaluation.report.numbers import points, sign
from dual_data.evaluation.settings import PRETRAINED
from dual_data.text.display import count

_AFTER, _PRETRAINED = "unlearning after this stage", "unlearning the pretrained model"
_SFT = "sft"
_CONTROLS = {
    _SFT: {
        "sft_format": "which learned the form of the answers on other subjects",
        "sft_long": "which learned the same facts for longer",
        "sft_new": "which learned facts that were new",
        "sft_retain": "which learned all but the facts to forget",
    },
    "sft_long": {"sft_new": "which learned new facts for as long"},
}
"""By the stage that they are controls of: `sft_new` has to train for longer than `sft` to learn its facts."""


def stage_answer(collection: Collection) -> tuple[list[str], list[Compared]]:
    """Does a training stage first help retention? Sentences and comparisons."""
    stages, uncorrected = _compare_with(PRETRAINED, collection, compare_retention)
    if not stages:
        missing = "a stage beside pretrained"
        if any(group.key.stage != PRETRAINED for group in collection.groups):
            missing = "one method both after a stage and on the pretrained model"
        return [f"There are no results of {missing}, so nothing is said about a training stage first."], []
    compared = holm_corrected(uncorrected)
    sides = dict.fromkeys(stages, ("", _AFTER, _PRETRAINED))
    sentences = _retention_sentences(sides, compared, "after the stage and on the pretrained model")
    for stage in dict.fromkeys(comparison.about.what for comparison in compared):
        of_stage = [comparison for comparison in compared if comparison.about.what == stage]
        sentences += over_datasets(collection, stage, of_stage, partial(keeps, _AFTER, _PRETRAINED))
    return sentences, compared


def control_answer(collection: Collection) -> tuple[list[str], dict[str, list[Compared]]]:
    """How much of what the stage `sft` does do its controls too? Sentences, and comparisons by the stage controlled.

    A control is compared with the other stage itself: two gains over the pretrained model, of which one is shown and
    the other is not, may still be equal.
    """
    sentences, compared = list[str](), dict[str, list[Compared]]()
    for trained, controls in _CONTROLS.items():
        stages, uncorrected = _compare_with(trained, collection, compare_retention, among=controls)
        compared[trained] = holm_corrected(uncorrected)
        sides = {
            about: (f", {controls[about.what]}", f"unlearning after {about.what}", f"unlearning after {trained}")
            for about in stages
        }
        sentences += _retention_sentences(sides, compared[trained], f"after the control and after {trained}")
    if not sentences and any(group.key.stage == _SFT for group in collection.groups):
        sentences.append(f"There are no results of a control of {_SFT}, so nothing is said about what in it matters.")
    return sentences, compared


def _retention_sentences(
    sides: Mapping[About, tuple[str, str, str]], compared: Sequence[Compared], both: str
) -> list[str]:
    """What is kept after every stage, and where that cannot be compared, which `both` describes.

    `sides` has by dataset and stage what explains the stage, and the two ways of unlearning.
    """
    sentences, lacking = list[str](), list[str]()
    for about, (meaning, first, second) in sides.items():
        name = ", ".join(about)
        if of_stage := about_of(compared, about):
            sentences.append(retention_sentence(f"{name}{meaning}", first, second, of_stage))
        else:
            lacking.append(name)
    return [*sentences, not_at_equal_forgetting(lacking, both)] if lacking else sentences


def smoothness_answer(collection: Collection) -> tuple[list[str], list[Compared]]:
    """Is forgetting smoother over learning rates after a training stage? Sentences and comparisons, untested."""
    stages, compared = _compare_with(PRETRAINED, collection, compare_jumps)
    sentences = []
    for about in stages:
        jumps = about_of(compared, about)
        if not jumps:
            continue
        mean = mean_difference(jumps)
        smaller = sum(sign(comparison.contrast.difference.value) < 0 for comparison in jumps)
        sentences.append(
            f"{', '.join(about)}: the largest jump is on average {by_how_much(mean, points, 'larger', 'smaller')} than "
            f"on the pretrained model. It is smaller in {smaller or 'none'} of {count(len(jumps), 'comparison')}."
        )
    return sentences, compared


def _compare_with(
    second: str,
    collection: Collection,
    compare: Callable[[Group, Group], Contrast | None],
    among: Container[str] | None = None,
) -> tuple[list[About], list[Compared]]:
    """Compare every group after a stage, or one `among` these, with the same group of the stage `second`.

    Returns the (dataset, stage) pairs that have both, and the comparisons that were possible.
    """
    by_key, names = {group.key: group for group in collection.groups}, Names.of(collection)
    stages: dict[About, None] = {}
    compared = []
    for key, group in by_key.items():
        other = by_key.get(key._replace(stage=second))
        if key.stage == second or other is None or (among is not None and key.stage not in among):
            continue
        about = About(names.data(key), key.stage)
        stages.setdefault(about)
        if contrast := compare(group, other):
            label = f"{names.place(key)}, {key.set}, {key.method}"
            compared.append(Compared(about, label, contrast, all_runs(group, other)))
    return list(stages), compared
