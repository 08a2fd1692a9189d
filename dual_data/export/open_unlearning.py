"""Configuration for open-unlearning: datasets, metrics and experiments on the splits of a release.

    python src/train.py --config-name=unlearn.yaml experiment=unlearn/dual/matched/city_forget_rare_5 \\
        'hydra.searchpath=[file://DIR]' trainer=NPO task_name=try

The files lie as in its own `configs/` folder, so that DIR may also be that folder. One experiment a forget split
(unlearn, eval), one a topic (finetune). Its own optimisation settings stand; the presets of the reference evaluation,
which train adapters, are not expressed in them.
"""

from __future__ import annotations

from typing import Any

from dual_data.export.splits import Family, address, families
from dual_data.released import Place, Release

MODEL = "Llama-3.1-8B-Instruct"
"""Name of a model file that open-unlearning has."""
MAX_LENGTH = 512
ROLES = ("forget", "retain", "retain_eval")
GLOBAL = "# @package _global_\n"


def open_unlearning_files(release: Release, place: Place) -> dict[str, str]:
    """Texts by path below a folder of configurations."""
    found = families(release)
    files = {f"data/datasets/{_dataset(role)}.yaml": _yaml(_source(role, place)) for role in (*ROLES, "full")}
    metrics = {f"{role}_Q_A_{name}": (role, name) for role in ROLES for name in ("ROUGE", "Prob")}
    files |= {f"eval/dual_metrics/{metric}.yaml": _metric(metric, *which) for metric, which in metrics.items()}
    files["eval/dual.yaml"] = _evaluator(list(metrics))
    for family in found:
        for split in family.forget:
            files[f"experiment/unlearn/dual/{family.config}/{split}.yaml"] = _unlearn(family, split)
            files[f"experiment/eval/dual/{family.config}/{split}.yaml"] = _evaluate(family, split)
        files[f"experiment/finetune/dual/{family.config}/{family.name}.yaml"] = _finetune(family)
    return files


def _dataset(role: str) -> str:
    return f"DUAL_QA_{role}"


def _source(role: str, place: Place) -> dict[str, Any]:
    """A dataset whose configuration and split the experiments fill in."""
    arguments = {
        "hf_args": {**address(place), "name": "???", "split": "???"},
        "question_key": "question",
        "answer_key": "answer",
        "max_length": MAX_LENGTH,
    }
    return {_dataset(role): {"handler": "QADataset", "args": arguments}}


def _metric(metric: str, role: str, name: str) -> str:
    generates = name == "ROUGE"
    dataset = _dataset(role)
    defaults = [
        {"../../data/datasets@datasets": dataset},
        {"../../collator@collators": "DataCollatorForSupervisedDatasetwithIndex"},
    ]
    arguments: dict[str, Any] = {"hf_args": {"name": "${eval.dual.config}", "split": f"${{eval.dual.{role}_split}}"}}
    body: dict[str, Any] = {
        "defaults": [*defaults, {"../../generation@generation_args": "default"}] if generates else defaults,
        "handler": "rouge" if generates else "probability",
        **({"rouge_type": "rougeL_recall"} if generates else {}),
        "batch_size": "${eval.dual.batch_size}",
        "datasets": {dataset: {"args": arguments}},
    }
    if generates:
        arguments["predict_with_generate"] = True
        body["collators"] = {"DataCollatorForSupervisedDataset": {"args": {"padding_side": "left"}}}
    return f"# @package eval.dual.metrics.{metric}\n{_yaml(body)}"


def _evaluator(metrics: list[str]) -> str:
    body = {
        "defaults": [{"dual_metrics": metrics}],
        # Generic despite its name: it runs whatever metrics it is given, and writes TOFU_EVAL.json.
        "handler": "TOFUEvaluator",
        "output_dir": "${paths.output_dir}",
        "metrics": {},
        "overwrite": False,
        "config": "???",
        **{f"{role}_split": "???" for role in ROLES},
        "batch_size": 32,
    }
    return f"# @package eval.dual\n{_yaml(body)}"


def _evaluation(family: Family, split: str) -> dict[str, Any]:
    splits = {"forget": split, "retain": family.retain, "retain_eval": family.retain_eval}
    return {"dual": {"config": family.config, **{f"{role}_split": splits[role] for role in ROLES}, "overwrite": True}}


def _rows(role: str, config: str, split: str) -> dict[str, Any]:
    return {_dataset(role): {"args": {"hf_args": {"name": config, "split": split}}}}


def _unlearn(family: Family, split: str) -> str:
    body = {
        "defaults": [
            {"override /model": MODEL},
            {"override /data": "unlearn"},
            {"override /data/datasets@data.forget": _dataset("forget")},
            {"override /data/datasets@data.retain": _dataset("retain")},
            {"override /eval": "dual"},
        ],
        "data": {
            "anchor": "forget",
            "forget": _rows("forget", family.config, split),
            "retain": _rows("retain", family.config, family.retain),
        },
        "eval": _evaluation(family, split),
        "task_name": "???",
    }
    return GLOBAL + _yaml(body)


def _evaluate(family: Family, split: str) -> str:
    body = {
        "defaults": [{"override /model": MODEL}, {"override /eval": "dual"}],
        "eval": _evaluation(family, split),
        "task_name": "???",
    }
    return GLOBAL + _yaml(body)


def _finetune(family: Family) -> str:
    body = {
        "defaults": [
            {"override /model": MODEL},
            {"override /trainer": "finetune"},
            {"override /data/datasets@data.train": _dataset("full")},
            {"override /eval": "dual"},
        ],
        "mode": "finetune",
        "data": {"train": _rows("full", family.config, "+".join(family.full))},
        "eval": _evaluation(family, family.full[0]),
        "task_name": "???",
    }
    return GLOBAL + _yaml(body)


def _yaml(body: dict[str, Any]) -> str:
    import yaml

    return str(yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=1_000))
