"""Does a training stage first help retention, and is forgetting smoother after it?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from dual_data.display import count
from dual_data.evaluation.report.contrast import Contrast, average
from dual_data.evaluation.report.curves import compare_jumps, compare_retention
from dual_data.evaluation.report.findings.sentences import (
    Compared,
    Names,
    about_of,
    all_runs,
    holm_corrected,
    keeps,
    mean_and_counts,
    no_results,
    not_at_equal_forgetting,
    over_datasets,
    points,
    retention_sentence,
    shared_subjects,
    values_with_missing,
)
from dual_data.evaluation.report.runs import Collection, Group
from dual_data.evaluation.settings import PRETRAINED

_AFTER, _PRETRAINED = "unlearning after this stage", "unlearning the pretrained model"


def stage_answer(collection: Collection) -> tuple[list[str], list[Compared]]:
    """Does a training stage first help retention, and what about it helps? Sentences and comparisons."""
    stages, uncorrected = _compare_with_pretrained(collection, compare_retention)
    if not stages:
        missing = "a stage beside pretrained"
        if any(group.key.stage != PRETRAINED for group in collection.groups):
            missing = "one method both after a stage and on the pretrained model"
        yet = values_with_missing(collection, "stage") > {PRETRAINED}
        return [f"{no_results(missing, yet=yet)}, so nothing is said about a training stage first."], []
    compared = holm_corrected(uncorrected)
    sentences = [
        retention_sentence(", ".join(about), _AFTER, _PRETRAINED, of_stage)
        for about in stages
        if (of_stage := about_of(compared, about))
    ]
    if lacking := [", ".join(about) for about in stages if not about_of(compared, about)]:
        sentences.append(not_at_equal_forgetting(lacking, "after the stage and on the pretrained model"))
    sentences += _overall_sentences(collection, compared)
    for data in dict.fromkeys(data for data, _ in stages):
        sentences += _control_sentences(data, compared)
    return sentences, compared


def smoothness_answer(collection: Collection) -> tuple[list[str], list[Compared]]:
    """Is forgetting smoother over learning rates after a training stage? Sentences and comparisons, untested."""
    stages, compared = _compare_with_pretrained(collection, compare_jumps)
    sentences = []
    for about in stages:
        jumps = about_of(compared, about)
        if not jumps:
            continue
        mean = average([comparison.contrast for comparison in jumps])
        smaller = sum(comparison.contrast.difference.value < 0 for comparison in jumps)
        sentences.append(
            f"{', '.join(about)}: the largest jump is on average {points(mean)} "
            f"{'larger' if mean.value > 0 else 'smaller'} than on the pretrained model. It is smaller in {smaller} of "
            f"{count(len(jumps), 'comparison')}."
        )
    return sentences, compared


def _compare_with_pretrained(
    collection: Collection, compare: Callable[[Group, Group], Contrast | None]
) -> tuple[list[tuple[str, str]], list[Compared]]:
    """Compare every group after a stage with the same group of the pretrained model.

    Returns the (dataset, stage) pairs that have both, and the comparisons that were possible.
    """
    by_key, names = {group.key: group for group in collection.groups}, Names.of(collection)
    stages: dict[tuple[str, str], None] = {}
    compared = []
    for key, group in by_key.items():
        pretrained = by_key.get(key._replace(stage=PRETRAINED))
        if key.stage == PRETRAINED or pretrained is None:
            continue
        about = (names.data(key), key.stage)
        stages.setdefault(about)
        if contrast := compare(group, pretrained):
            label = f"{names.place(key)}, {key.set}, {key.method}"
            compared.append(Compared(about, label, contrast, all_runs(group, pretrained)))
    return list(stages), compared


def _overall_sentences(collection: Collection, compared: Sequence[Compared]) -> list[str]:
    """The average over all datasets, for every stage that was compared in several."""
    if not (subjects := shared_subjects(collection, compared)):
        return []
    # Only what was compared: `subjects` lacks those of a pair whose draws were too often undefined.
    ids = {run.id for comparison in compared for run in comparison.runs}
    groups = tuple(group for group in collection.groups if any(run.id in ids for run in group.runs))
    _, drawn_together = _compare_with_pretrained(
        collection._replace(groups=groups), partial(compare_retention, among=subjects)
    )
    sentences = []
    for stage in dict.fromkeys(comparison.about[1] for comparison in drawn_together):
        of_stage = [comparison for comparison in drawn_together if comparison.about[1] == stage]
        if (datasets := len({comparison.about[0] for comparison in of_stage})) > 1:
            mean = average([comparison.contrast for comparison in of_stage])
            sentences.append(f"{over_datasets(datasets, stage, len(of_stage))}, {keeps(_AFTER, _PRETRAINED, mean)}.")
    return sentences


def _control_sentences(data: str, compared: Sequence[Compared]) -> list[str]:
    """What the control stages say about a gain of the stage `sft`; empty where `sft` could not be compared."""
    gained = about_of(compared, (data, "sft"))
    if not gained:
        return []
    mean, better, worse = mean_and_counts(gained)
    if better <= worse or mean.value <= 0:
        return [f"{data}: fine-tuning first (sft) is not shown to keep more of the retain score."]
    texts = {
        "sft_format": "the form of the answers, learned on other subjects",
        "sft_new": "facts that were first learned in that step",
        "sft_retain": "fine-tuning without the facts to forget",
    }
    gains = [
        f"{text} ({stage}) gives {points(mean_and_counts(of_control)[0], '+')}"
        for stage, text in texts.items()
        if (of_control := about_of(compared, (data, stage)))
    ]
    start = (
        f"{data}: fine-tuning first (sft) keeps more of the retain score in {better} of "
        f"{count(len(gained), 'comparison')}, {points(mean, '+')} on average"
    )
    if not gains:
        return [f"{start}; without its controls the grid cannot say why."]
    return [f"{start}. Of its controls, against the same pretrained model, {'; '.join(gains)}."]
