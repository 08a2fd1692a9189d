"""Tasks for lm-evaluation-harness: one a split, read from the release itself.

    lm_eval --model hf --model_args pretrained=MODEL --include_path DIR --tasks dual_matched_city_forget_rare_5

A tag a configuration (dual_matched) and one a kind of split (dual_matched_retain_eval) name many at once. The prompt is
the protocol's system prompt and the question, as messages with --apply_chat_template, which the protocol wants; without
it the harness puts nothing between the two.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import polars as pl

from dual_data.export.splits import address
from dual_data.released import WHOLE, Place, Release, read_table
from dual_data.split_names import parse

SYSTEM_PROMPT = "You are terse and fact-only QA assistant. Reply to the question clearly with few-words correct answer."
"""The protocol's, word for word as published."""
NEW_TOKENS = 64
METRICS = ("rougeL_recall", "rouge1_recall", "rougeL_f1", "accepted")
SHARED = "_dual_default_yaml"
"""Without the suffix of a task: lm-evaluation-harness includes it and does not list it."""


def lm_eval_files(release: Release, place: Place) -> dict[str, str]:
    """Texts by path. The metadata of a task hold the chance level of its split, where it was measured."""
    import yaml

    chance = _chance(release, place)
    written = {
        SHARED: _shared(),
        "dual_metrics.py": files("dual_data.export").joinpath("dual_metrics.py").read_text(encoding="utf-8"),
    }
    for config in release.recipes():
        for split, file in release.configs[config].items():
            task = _task(config, split, file.path, place)
            task["metadata"] = {
                "version": 1.0,
                "content": file.content,
                "rows": file.rows,
                **({"chance_rougeL_recall": chance[config, split]} if (config, split) in chance else {}),
            }
            written[f"{config}/{task['task']}.yaml"] = yaml.safe_dump(task, sort_keys=False, allow_unicode=True)
    return written


def _task(config: str, split: str, path: str, place: Place) -> dict[str, Any]:
    """One file of the release is all that a task loads; a configuration has hundreds."""
    found = address(place)
    dataset = found.pop("path")
    options: dict[str, Any] = {**found, "data_files": {"test": path}}
    if place.folder is not None:
        dataset, options = "parquet", {"data_files": {"test": f"{dataset}/{path}"}}
    return {
        "include": f"../{SHARED}",
        "task": f"dual_{config}_{split}",
        "tag": [f"dual_{config}", *(f"dual_{config}_{name.kind}" for name in [parse(split)] if name)],
        "dataset_path": dataset,
        "dataset_kwargs": options,
    }


def _shared() -> str:
    import yaml

    settings: dict[str, Any] = {
        "test_split": "test",
        "output_type": "generate_until",
        "description": SYSTEM_PROMPT,
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"do_sample": False, "max_gen_toks": NEW_TOKENS, "until": ["\n"]},
        "metric_list": [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in METRICS],
    }
    # The harness's own tag, which a YAML library does not write.
    function = "process_results: !function dual_metrics.process_results\n"
    return yaml.safe_dump(settings, sort_keys=False, width=1_000) + function


def _chance(release: Release, place: Place) -> dict[tuple[str, str], float]:
    file = release.configs.get("baselines", {}).get(WHOLE)
    if file is None:
        return {}
    table = read_table(place, file).select("recipe", "split", pl.col("chance").round(6))
    return {(recipe, split): chance for recipe, split, chance in table.iter_rows()}
