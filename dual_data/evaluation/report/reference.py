"""The retrained reference: the model whose stage learned the same except the facts to forget."""

from __future__ import annotations

from dual_data.evaluation.report.runs import Collection, Group, Key


def retrained(collection: Collection, group: Group) -> Key | None:
    """The key of the retrained reference of a group, measured before any unlearning; None where there is none.

    It has the same model, data and set, and a stage whose recipe differs only in that it does not train on the forget
    facts: sft_retain for sft. There is none for a stage that did not teach the facts (the reference would need a new
    pretraining) or that taught other answers (the reference would have to answer other questions).
    """
    learned = group.before[0].recipe
    if learned is None or "forget" not in learned["train"]:
        return None
    expected = {**learned, "train": sorted(name for name in learned["train"] if name != "forget")}
    for key, runs in collection.bases.items():
        recipe = runs[0].recipe
        same_place = key._replace(stage=group.key.stage, method=group.key.method) == group.key
        if same_place and recipe is not None and {**recipe, "train": sorted(recipe["train"])} == expected:
            return key
    return None
