"""Tasks of lm-eval, held against the panel."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dual_data.errors import MissingExtra
from dual_data.evaluation.attacks.lm_eval_tasks import check_tasks
from dual_data.evaluation.measuring.fast import FastEngine
from dual_data.evaluation.measuring.measure import measure_panel
from dual_data.evaluation.metrics.panel import panel_summary
from dual_data.evaluation.models.tiny import tiny
from dual_data.evaluation.rows.panel import read_panel, tokenise_panel
from dual_data.evaluation.training.lora import Adapters
from dual_data.evaluation.training.optimisation import LoraSpec
from tests.evaluation.training.oracle import disturb
from tests.services import require

HARNESS = os.environ.get("DUAL_DATA_LM_EVAL_PYTHON") or (
    sys.executable if importlib.util.find_spec("lm_eval") is not None else ""
)


def test_lm_eval_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "lm_eval" else found(name))
    with pytest.raises(MissingExtra, match="lm-eval is not installed"):
        check_tasks(["hellaswag"], None)


TASK = """
task: our_panel
dataset_path: json
dataset_kwargs:
  data_files:
    test: {rows}
output_type: multiple_choice
test_split: test
fewshot_split: test
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
doc_to_target: answer
doc_to_choice: options
metric_list:
  - metric: acc
  - metric: acc_norm
"""
SCRIPT = """
import json, sys
from pathlib import Path
from dual_data.errors import DualDataError, UsageError
from lm_eval.models.huggingface import HFLM
from dual_data.evaluation.attacks import lm_eval_model
from dual_data.evaluation.training.optimisation import LoraSpec
from dual_data.evaluation.training.lora import Adapters
from dual_data.evaluation.models.tiny import tiny
from dual_data.evaluation.attacks.lm_eval_tasks import check_tasks, lm_eval_scores
from tests.evaluation.training.oracle import disturb
loaded = tiny("llama")
def scores(shots):
    return lm_eval_scores(loaded, ["our_panel"], folder=Path(sys.argv[1]), shots=shots, rows=32)
results = [scores(0)]
disturb(Adapters(loaded.model, LoraSpec(rank=4, alpha=8.0)))
results += [scores(0), scores(3)]
lm_eval_model.PrefixCachingLM = lambda loaded, rows: HFLM(
    pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=rows
)
results += [scores(0), scores(3)]
for task in ("our_panel", "our_panal"):
    try:
        check_tasks([task], Path(sys.argv[1]))
    except UsageError as error:
        print(error, file=sys.stderr)
Path(sys.argv[1], "rows.jsonl").unlink()
try:
    scores(0)
except DualDataError as error:
    print(error, file=sys.stderr)
print(json.dumps([result._asdict() for result in results]))
"""


def test_lm_eval_says_of_the_panel_what_we_and_its_own_model_say(tmp_path: Path) -> None:
    require(bool(HARNESS), "lm-eval is not installed (DUAL_DATA_LM_EVAL_PYTHON: a Python that has it)")
    panel = read_panel().first(120)
    rows = [
        {"question": choice.question, "options": choice.options, "answer": choice.answer} for choice in panel.choices
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "our_panel.yaml").write_text(TASK.format(rows=tmp_path / "rows.jsonl"))
    process = subprocess.run(
        [HARNESS, "-c", SCRIPT, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ
        | {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert process.returncode == 0, process.stderr[-2000:]
    errors = [line for line in process.stderr.splitlines() if line.startswith(("--task: lm-eval", "lm-eval cannot"))]
    assert len(errors) == 2, process.stderr
    assert errors[0].startswith("--task: lm-eval has no task our_panal; ")
    assert errors[1].startswith("lm-eval cannot run our_panel: ")
    results = json.loads(process.stdout.splitlines()[-1])
    loaded = tiny("llama")
    adapters = Adapters(loaded.model, LoraSpec(rank=4, alpha=8.0))
    requests = tokenise_panel(loaded.tokenizer, panel)
    ours = [measure_panel(FastEngine(loaded, rows=64), requests)[0]]
    disturb(adapters)
    ours.append(measure_panel(FastEngine(loaded, adapters, rows=64), requests)[0])
    for theirs, panel_result in zip(results[:2], ours, strict=True):
        scores, items, means = theirs["scores"], theirs["items"]["our_panel"], panel_summary(panel, panel_result)
        assert {name.removesuffix("_stderr") for name in scores} == {"our_panel/acc", "our_panel/acc_norm"}
        assert scores["our_panel/acc"] == pytest.approx(means["accuracy"])
        assert scores["our_panel/acc_norm"] == pytest.approx(means["accuracy_by_length"])
        assert [document["doc_id"] for document in items] == list(range(len(panel.choices)))
        assert [document["acc"] for document in items] == list(panel_result.right)
    assert results[0] != results[1] != results[2]
    assert results[1:3] == results[3:]  # of lm-eval's own model, without worked examples and with
