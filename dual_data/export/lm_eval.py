"""Tasks for lm-evaluation-harness: one for each split, which reads the release itself.

    lm_eval --model hf --model_args pretrained=MODEL --include_path DIR --tasks dual_matched_city_forget_rare_5

Tags name many tasks at once: one tag for each configuration (dual_matched) and for each kind of split
(dual_matched_retain_eval). Those of a dataset called mine begin with dual_mine. The prompt is the protocol's system
prompt and the question: as messages with --apply_chat_template, which the protocol requires; without it the harness
puts nothing between the two.
"""

from __future__ import annotations

import glob
from importlib.resources import files
from typing import Any

import polars as pl

from dual_data.export.splits import address, path_of, prefix
from dual_data.prompts import SYSTEM_PROMPT
from dual_data.released import Place, Release, read_table
from dual_data.split_names import parse

NEW_TOKENS = 64
METRICS = ("rougeL_recall", "rouge1_recall", "rougeL_f1", "accepted")
SHARED = "_dual_default_yaml"
"""Name without a task's suffix, so that lm-evaluation-harness includes the file but does not list it as a task."""


def lm_eval_files(release: Release, place: Place) -> dict[str, str]:
    """Texts by path. A task's metadata hold the chance level of its split if it was measured.

    Raises InputError for a folder that `datasets` cannot load.
    """
    import yaml

    chance = _chance(release, place)
    texts = {
        SHARED: _shared(),
        "dual_metrics.py": files("dual_data.export").joinpath("dual_metrics.py").read_text(encoding="utf-8"),
    }
    for config in release.recipes():
        for split, file in release.configs[config].items():
            task = _task(f"{prefix(release)}_{config}", split, file.path, place)
            task["metadata"] = {
                "version": 1.0,
                "content": file.content,
                "rows": file.rows,
                **({"chance_rougeL_recall": chance[config, split]} if (config, split) in chance else {}),
            }
            texts[f"{config}/{task['task']}.yaml"] = yaml.safe_dump(task, sort_keys=False, allow_unicode=True)
    return texts


def _task(tag: str, split: str, path: str, place: Place) -> dict[str, Any]:
    """A task that loads its split's file alone, not the hundreds of files of its configuration."""
    if place.folder is None:
        options: dict[str, Any] = {**address(place), "data_files": {"test": path}}
        dataset = options.pop("path")
    else:
        # datasets would take [, * and ? in the path for a pattern.
        file = f"{glob.escape(path_of(place.folder))}/{path}"
        dataset, options = "parquet", {"data_files": {"test": file}}
    name = parse(split)
    return {
        "include": f"../{SHARED}",
        "task": f"{tag}_{split}",
        "tag": [tag, f"{tag}_{name.kind}"] if name else [tag],
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
    # A YAML tag of the harness, which the library cannot write.
    function = "process_results: !function dual_metrics.process_results\n"
    return yaml.safe_dump(settings, sort_keys=False, width=1_000) + function


def _chance(release: Release, place: Place) -> dict[tuple[str, str], float]:
    file = release.whole("baselines")
    if file is None:
        return {}
    table = read_table(place, file).select("recipe", "split", pl.col("chance").round(6))
    return {(recipe, split): chance for recipe, split, chance in table.iter_rows()}
