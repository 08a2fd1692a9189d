"""Runs open-unlearning's own loaders on exported configuration.

    python open_unlearning_loader.py CHECKOUT CONFIGS CONFIG/SPLIT CONFIG/FAMILY REFUSALS

Prints one JSON object: rows of every dataset that its training, fine-tuning and evaluation would read, and the other
settings of the experiments. Runs in a Python with open-unlearning's dependencies; imports nothing of dual-data.
"""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

FILES = {"unlearn": "unlearn.yaml", "finetune": "train.yaml", "eval": "eval.yaml"}
TEMPLATE = {
    "apply_chat_template": False,
    "user_start_tag": "Q: ",
    "user_end_tag": "\n",
    "asst_start_tag": "A: ",
    "asst_end_tag": "\n",
}


def tokenizer() -> Any:
    """A tokenizer without any words in its vocabulary, which is enough to encode."""
    tokenizers, transformers = import_module("tokenizers"), import_module("transformers")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<unk>": 0, "</s>": 1}, unk_token="<unk>"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="</s>", unk_token="<unk>", pad_token="</s>"
    )


def main(checkout: Path, configs: str, split: str, family: str, refusals: str) -> dict[str, Any]:
    """Compose each kind of experiment with Hydra, and load all datasets and metrics that it names."""
    sys.path.insert(0, str(checkout / "src"))
    hydra, data, evals = import_module("hydra"), import_module("data"), import_module("evals")
    words = {"tokenizer": tokenizer(), "template_args": TEMPLATE}
    result: dict[str, Any] = {}

    def compose(kind: str, *overrides: str) -> Any:
        name = family if kind == "finetune" else split
        arguments = [
            f"experiment={kind}/dual/{name}",
            f"hydra.searchpath=[file://{configs}]",
            "task_name=try",
            *overrides,
        ]
        with hydra.initialize_config_dir(config_dir=str(checkout / "configs"), version_base=None):
            composed = hydra.compose(config_name=FILES[kind], overrides=arguments)
        composed.paths.output_dir = "unused"
        return composed

    for kind in FILES:
        composed = compose(kind)
        result[f"{kind}:system_prompt"] = composed.model.template_args.system_prompt
        result[f"{kind}:max_new_tokens"] = [
            metric.generation_args.max_new_tokens
            for metric in composed.eval.dual.metrics.values()
            if metric.handler == "rouge"
        ]
        if kind != "eval":
            rows = data.get_data(composed.data, mode="unlearn" if kind == "unlearn" else "train", **words)["train"]
            result[kind] = {"rows": len(rows), "kind": type(rows).__name__, "item": sorted(rows[0])}
        result[f"{kind}:metrics"] = list(evals.get_evaluators(composed.eval)["dual"].metrics)
        for metric, settings in composed.eval.dual.metrics.items():
            rows = data.get_datasets(settings.datasets, **words)
            result[f"{kind}:{metric}"] = [len(rows), rows.predict_with_generate]
    dpo = compose(
        "unlearn",
        "trainer=DPO",
        "data/datasets@data.forget=DUAL_QA_forget_idk",
        f"data.forget.DUAL_QA_forget_idk.args.idk_path={refusals}",
    )
    rows = data.get_data(dpo.data, mode="unlearn", **words)["train"]
    result["dpo"] = {"handler": dpo.trainer.handler, "rows": len(rows), "item": sorted(rows[0]["forget"])}
    return result


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), *sys.argv[2:6])))
