"""The files of an unlearned adapter for publication: the adapter in peft's format, the cell's result, and a card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dual_data.errors import InputError
from dual_data.evaluation.results import ADAPTER_FILES, Result, adapter_path, read_result, stages_folder
from dual_data.text.markdown import code, number, table, text

STAGE = "stage_adapter"
"""Folder of the training stage's adapter, which is applied to the base before the unlearned one."""

_SHOWN = {"rougeL_recall": "ROUGE-L recall", "contains_answer": "answers held", "probability": "probability"}
"""Scores in the card, each with its heading."""


def adapter_files(result: Path) -> dict[str, bytes | Path]:
    """Files by path in a model repository, for the result cells/ID.json of a grid that saved its adapters.

    result.json is the result without its items and those of the panel. Raises InputError where the result has no
    adapter.
    """
    cell_result = read_result(result)
    folder = result.resolve().parent.parent
    adapter = adapter_path(folder, result.stem)
    if cell_result["provenance"]["identity"].get("lora", {}) is None:
        raise InputError(f"{result}: this cell trained all weights, so it has no adapter to publish")
    if not adapter.is_dir():
        raise InputError(
            f"{result}: no adapter was kept for this cell; run the grid with --save-adapters (a cell before unlearning "
            "has none)"
        )
    files: dict[str, bytes | Path] = {name: adapter / name for name in ADAPTER_FILES}
    if stage := cell_result["provenance"].get("stage"):
        stage_adapter = stages_folder(folder) / stage
        if not all((stage_adapter / name).is_file() for name in ADAPTER_FILES):
            raise InputError(
                f"{stage_adapter}: the adapter of the training stage is gone; remove {adapter} and run the grid again "
                "with --save-adapters, which makes both again"
            )
        files |= {f"{STAGE}/{name}": stage_adapter / name for name in ADAPTER_FILES}
    summary = {key: value for key, value in cell_result.items() if key not in ("items", "panel_items")}
    files["result.json"] = (json.dumps(summary, ensure_ascii=False, indent=1) + "\n").encode()
    files["README.md"] = card(cell_result).encode()
    return files


def card(result: Result) -> str:
    """The model card: what was unlearned from what and how, what was measured, and how to load it."""
    cell, model = result["cell"], result["provenance"]["model"]
    hours = result["run"].get("gpu_hours")
    has_stage = bool(result["provenance"].get("stage"))
    is_stacked = has_stage and result["provenance"]["identity"]["stage"]["recipe"]["apply"] == "stack"
    rows = [
        [text(name), *(number(scores.get(score)) for score in _SHOWN)] for name, scores in result["summary"].items()
    ]
    head = ["library_name: peft", "tags: [unlearning, dual-data]"]
    if model.get("revision"):
        head.insert(0, f"base_model: {model['spec']}")
    lines = [
        "---",
        *head,
        "---",
        "",
        f"# {text(cell['method'])} on {text(cell['set'])} facts of {text(cell['data'])}",
        "",
        f"A LoRA adapter that unlearns: {text(cell['method'])} at learning rate {cell['lr']:g}, seed "
        f"{cell['seed']}, preset {code(cell['preset'])}, prompt profile {code(cell['profile'])}, on "
        f"{code(model['spec'])} "
        + (f"after the training stage {code(cell['stage'])}." if has_stage else "as it was published."),
        "",
        *([f"The cell {result['status']}: {text(result['reason'])}.", ""] if result["reason"] else []),
        table(("set", *_SHOWN.values()), rows),
        "",
        *_panel(result.get("panel")),
        *([f"{hours:.4f} GPU hours."] if hours else []),  # a CPU's are none
        "`result.json` has every setting, version and mean.",
        "",
        "```python",
        *_loading(model),
    ]
    if is_stacked:  # the stage is not merged into the base, so both adapters stay on it
        lines += [
            f'model = PeftModel.from_pretrained(model, REPO, subfolder="{STAGE}", adapter_name="stage")',
            'model.load_adapter(REPO, "unlearned")',
            'model.base_model.set_adapter(["stage", "unlearned"])',
        ]
    else:
        if has_stage:
            lines.append(f'model = PeftModel.from_pretrained(model, REPO, subfolder="{STAGE}").merge_and_unload()')
        lines.append("model = PeftModel.from_pretrained(model, REPO)")
    return "\n".join([*lines, "```", ""])


def _loading(model: Mapping[str, Any]) -> list[str]:
    """Code that loads the base model that was measured: its revision, in its dtype."""
    if not model.get("revision"):
        # A local folder or file, a GGUF file, or the small model of a package: transformers cannot find these by name.
        return [
            "from dual_data.evaluation.models.loading import load",
            "from peft import PeftModel",
            "",
            f"# weights {model['weights']}",
            # In ASCII, JSON writes a letter such as an emoji as two, which Python would not join.
            f"model = load({json.dumps(model['spec'], ensure_ascii=False)}, {json.dumps(model['dtype'])}).model",
        ]
    return [
        "import torch",
        "from peft import PeftModel",
        "from transformers import AutoModelForCausalLM",
        "",
        f'model = AutoModelForCausalLM.from_pretrained("{model["spec"]}", revision="{model["revision"]}", '
        f"dtype=torch.{model['dtype']})",
    ]


def _panel(summary: Mapping[str, Any] | None) -> list[str]:
    """Accuracy on the utility panel, where it was measured."""
    if summary is None or summary["accuracy"] is None:
        return []
    accuracy = f"{summary['accuracy']:.1%} of {summary['questions']:,} right, guessing gives {summary['guessing']:.1%}"
    return [f"Utility panel {code(summary['name'])}: {accuracy}.", ""]
