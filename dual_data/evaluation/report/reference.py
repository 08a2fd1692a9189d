"""The retrained reference: the model whose stage learned the same but for the facts to forget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dual_data.evaluation.report.collect import Collection, Group, Key


def retrained(collection: Collection, group: Group) -> Key | None:
    """Where the retrained reference of a group is measured, before any unlearning; None where there is none.

    It is of the same model, data and set, in a stage whose recipe differs in nothing but that the forget facts are not
    trained on: sft_retain for sft. A stage that did not teach the facts has none, and neither has one that taught other
    answers: the model that never saw them would have to be pretrained anew, or answers to other questions.
    """
    learned = group.before[0].recipe if group.before else None
    if learned is None or "forget" not in learned["train"]:
        return None
    wanted = _without_forget(learned)
    for key, runs in collection.bases.items():
        recipe = runs[0].recipe
        same = key._replace(stage=group.key.stage, method=group.key.method) == group.key
        if same and recipe is not None and "forget" not in recipe["train"] and _without_forget(recipe) == wanted:
            return key
    return None


def _without_forget(recipe: Mapping[str, Any]) -> dict[str, Any]:
    return {**recipe, "train": sorted(name for name in recipe["train"] if name != "forget")}
