"""Configuration for open-unlearning: datasets, metrics and experiments on the splits of a release.

    python src/train.py --config-name=unlearn.yaml experiment=unlearn/dual/matched/city_forget_rare_5 \\
        'hydra.searchpath=[file://DIR]' trainer=NPO task_name=try

The files are laid out as in open-unlearning's own `configs/` folder, so that DIR may also be that folder. There is one
experiment for each forget split (unlearn, eval) and one for each topic (finetune). For a dataset called mine, names
have dual_mine in place of dual, but its settings stay below eval.dual. Prompts hold the protocol's system prompt, and
answers end after its 64 tokens; a model whose template refuses a system turn (Gemma) needs
`model.template_args.system_prompt=null`. open-unlearning's own optimisation settings apply, not the presets of the
reference evaluation, which train adapters.

Its DPO prefers refusals, which `python setup_data.py --idk` fetches; to use others, name a file with one on each line
as `data.forget.DUAL_QA_forget_idk.args.idk_path`:

    ... trainer=DPO data/datasets@data.forget=DUAL_QA_forget_idk task_name=try
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dual_data.export.lm_eval import NEW_TOKENS
from dual_data.export.splits import Family, address, families, prefix
from dual_data.prompts import SYSTEM_PROMPT
from dual_data.released import Place, Release

MODEL = "Llama-3.1-8B-Instruct"
"""Name of a model configuration of open-unlearning."""
MAX_LENGTH = 512
ROLES = ("forget", "retain", "retain_eval")
IDK = "forget_idk"
"""Role of the forget rows with a refusal beside each answer."""


def open_unlearning_files(
    release: Release, place: Place, say: Callable[[str], None] = lambda _: None
) -> dict[str, str]:
    """Texts by path below a folder of configurations. `say` gets a line for each topic without experiments."""
    own = prefix(release)
    files = {
        f"data/datasets/{_dataset(own, role)}.yaml": _yaml(_source(own, role, place)) for role in (*ROLES, "full", IDK)
    }
    metrics = {f"{role}_Q_A_{name}": (role, name) for role in ROLES for name in ("ROUGE", "Prob")}
    files |= {f"eval/{own}_metrics/{metric}.yaml": _metric(own, metric, *which) for metric, which in metrics.items()}
    files[f"eval/{own}.yaml"] = _evaluator(own, list(metrics))
    for family in families(release):
        if not family.retain:
            left = ", ".join(family.forget)
            say(f"no experiments on {left} of {family.config}: no split of {family.name} to retain beside them")
            continue
        for split in family.forget:
            files[f"experiment/unlearn/{own}/{family.config}/{split}.yaml"] = _unlearn(own, family, split)
            files[f"experiment/eval/{own}/{family.config}/{split}.yaml"] = _experiment(own, family, split, [])
        files[f"experiment/finetune/{own}/{family.config}/{family.name}.yaml"] = _finetune(own, family)
    return files


def _dataset(own: str, role: str) -> str:
    return f"{own.upper()}_QA_{role}"


def _source(own: str, role: str, place: Place) -> dict[str, Any]:
    """A dataset of the split that the experiment names; for fine-tuning the experiment sets the splits itself."""
    split = "???" if role == "full" else f"${{eval.dual.{role.removesuffix('_idk')}_split}}"
    arguments = {
        "hf_args": {**address(place), "name": "${eval.dual.config}", "split": split},
        "question_key": "question",
        "answer_key": "answer",
        "max_length": MAX_LENGTH,
    }
    if role != IDK:
        return {_dataset(own, role): {"handler": "QADataset", "args": arguments}}
    arguments["idk_path"] = "./data/idk.jsonl"
    return {_dataset(own, role): {"handler": "QAwithIdkDataset", "args": arguments}}


def _metric(own: str, metric: str, role: str, name: str) -> str:
    defaults = [
        {"../../data/datasets@datasets": _dataset(own, role)},
        {"../../collator@collators": "DataCollatorForSupervisedDatasetwithIndex"},
    ]
    body: dict[str, Any] = {"defaults": defaults, "handler": "probability", "batch_size": "${eval.dual.batch_size}"}
    if name == "ROUGE":
        body |= {
            "defaults": [*defaults, {"../../generation@generation_args": "default"}],
            "handler": "rouge",
            "rouge_type": "rougeL_recall",
            "datasets": {_dataset(own, role): {"args": {"predict_with_generate": True}}},
            "collators": {"DataCollatorForSupervisedDataset": {"args": {"padding_side": "left"}}},
            "generation_args": {"max_new_tokens": NEW_TOKENS},
        }
    return f"# @package eval.dual.metrics.{metric}\n{_yaml(body)}"


def _evaluator(own: str, metrics: list[str]) -> str:
    body = {
        "defaults": [{f"{own}_metrics": metrics}],
        # Generic despite its name: it runs any metrics and writes TOFU_EVAL.json.
        "handler": "TOFUEvaluator",
        "output_dir": "${paths.output_dir}",
        "metrics": {},
        "overwrite": False,
        "config": "???",
        **{f"{role}_split": "???" for role in ROLES},
        "batch_size": 32,
    }
    return f"# @package eval.dual\n{_yaml(body)}"


def _unlearn(own: str, family: Family, split: str) -> str:
    roles = [{f"override /data/datasets@data.{role}": _dataset(own, role)} for role in ("forget", "retain")]
    return _experiment(own, family, split, [{"override /data": "unlearn"}, *roles])


def _finetune(own: str, family: Family) -> str:
    dataset = _dataset(own, "full")
    overrides = [{"override /trainer": "finetune"}, {"override /data/datasets@data.train": dataset}]
    train = {dataset: {"args": {"hf_args": {"split": "+".join(family.full)}}}}
    return _experiment(own, family, family.full[0], overrides, mode="finetune", data={"train": train})


def _experiment(own: str, family: Family, split: str, overrides: list[dict[str, str]], **settings: Any) -> str:
    splits = {"forget": split, "retain": family.retain, "retain_eval": family.retain_eval}
    body = {
        "defaults": [{"override /model": MODEL}, *overrides, {"override /eval": own}],
        **settings,
        "model": {"template_args": {"system_prompt": SYSTEM_PROMPT}},
        "eval": {
            "dual": {"config": family.config, **{f"{role}_split": splits[role] for role in ROLES}, "overwrite": True}
        },
        "task_name": "???",
    }
    return f"# @package _global_\n{_yaml(body)}"


def _yaml(body: dict[str, Any]) -> str:
    import yaml

    return str(yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=1_000))
