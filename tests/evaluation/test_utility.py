"""The utility panel."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch

from dual_data.errors import InputError, MissingExtra
from dual_data.evaluation.lora import Adapters, LoraSpec
from dual_data.evaluation.stream import Engine
from dual_data.evaluation.tiny import tiny
from dual_data.evaluation.utility import Choice, Panel, lm_eval_scores, panel_utility, read_panel
from tests.evaluation.training import disturb
from tests.services import require

HARNESS = os.environ.get("DUAL_DATA_LM_EVAL_PYTHON") or (
    sys.executable if importlib.util.find_spec("lm_eval") is not None else ""
)


def test_the_shipped_panel_is_balanced() -> None:
    panel = read_panel()
    assert len(panel.choices) == 88
    assert len(panel.texts) == 8
    assert set(Counter(choice.answer for choice in panel.choices).values()) == {22}
    assert all(len(set(choice.options)) == 4 for choice in panel.choices)
    assert len({choice.question for choice in panel.choices}) == 88


def test_scores_by_hand() -> None:
    loaded = tiny("llama")
    panel = Panel(
        (
            Choice("a", "What is it?", ("Paris", "a city in Japan", "x"), 0),
            Choice("b", "And now?", ("France", "Germany"), 1, context="Question: One?\nAnswer: Two\n\n"),
        ),
        ("Paris is a city.",),
    )
    found = panel_utility(Engine(loaded, rows=4), panel)[0]
    assert (found.panel, found.choices, found.texts) == ("shipped", 2, 1)

    def log_p(prompt: str, answer: list[int]) -> float:
        ids = [*loaded.tokenizer(prompt)["input_ids"], *answer]
        rows = loaded.model(torch.tensor([ids])).logits[0].log_softmax(-1)
        first = len(ids) - len(answer) - 1
        return math.fsum(rows[first + t, token].item() for t, token in enumerate(answer))

    right, by_length = [], []
    for choice in panel.choices:
        prompt = f"{choice.context}Question: {choice.question}\nAnswer:"
        sums = [log_p(prompt, loaded.tokenizer(f" {option}")["input_ids"]) for option in choice.options]
        rates = [value / len(option) for value, option in zip(sums, choice.options, strict=True)]
        right.append(sums.index(max(sums)) == choice.answer)
        by_length.append(rates.index(max(rates)) == choice.answer)
    assert found.accuracy.value == sum(right) / 2
    assert found.accuracy_by_length.value == sum(by_length) / 2
    assert found.by_kind == {"a": float(right[0]), "b": float(right[1])}
    ids = loaded.tokenizer(panel.texts[0])["input_ids"]
    rows = loaded.model(torch.tensor([ids])).logits[0].log_softmax(-1)
    expected = -math.fsum(rows[t, ids[t + 1]].item() for t in range(len(ids) - 1)) / (len(ids) - 1)
    assert found.text_nll is not None
    assert found.text_nll[:3] == pytest.approx((expected,) * 3, abs=1e-5)  # one text, so no spread
    assert found.nlls == (found.text_nll.value,)
    assert [index == choice.answer for index, choice in zip(found.given, panel.choices, strict=True)] == right


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1: expected kind"),
        ('{"kind": "a", "question": "?"}', "line 1: expected kind"),
        ('{"kind": "a", "question": "?", "options": ["x", "y"], "answer": 2}', "index of one of the options"),
        ('{"kind": "a", "question": "?", "options": ["x", ""], "answer": 0}', "none empty"),
        ('{"kind": "text", "text": "Words."}', "holds no question"),
    ],
)
def test_broken_panels_are_refused(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "panel.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(InputError, match=message):
        read_panel(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_panel(tmp_path / "absent.jsonl")


@pytest.mark.skipif(importlib.util.find_spec("lm_eval") is not None, reason="lm-eval is installed")
def test_lm_eval_is_named_where_it_is_missing() -> None:
    with pytest.raises(MissingExtra, match="lm-eval is not installed"):
        lm_eval_scores(tiny("llama"), ["hellaswag"])


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
from lm_eval.models.huggingface import HFLM
from dual_data.evaluation import lm_eval_model
from dual_data.evaluation.lora import Adapters, LoraSpec
from dual_data.evaluation.tiny import tiny
from dual_data.evaluation.utility import lm_eval_scores
from tests.evaluation.training import disturb
loaded = tiny("llama")
def scores(shots):
    return lm_eval_scores(loaded, ["our_panel"], folder=Path(sys.argv[1]), shots=shots)
found = [scores(0)]
disturb(Adapters(loaded.model, LoraSpec(4, 8.0)))
found += [scores(0), scores(3)]
lm_eval_model.PrefixCachingLM = lambda loaded, rows: HFLM(
    pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=rows
)
found += [scores(0), scores(3)]
print(json.dumps([one._asdict() for one in found]))
"""


def test_lm_eval_says_of_the_panel_what_we_and_its_own_model_say(tmp_path: Path) -> None:
    require(bool(HARNESS), "lm-eval is not installed (DUAL_DATA_LM_EVAL_PYTHON: a Python that has it)")
    panel = read_panel()
    rows = [{"question": one.question, "options": one.options, "answer": one.answer} for one in panel.choices]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "our_panel.yaml").write_text(TASK.format(rows=tmp_path / "rows.jsonl"))
    done = subprocess.run(
        [HARNESS, "-c", SCRIPT, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ
        | {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout.splitlines()[-1])
    loaded = tiny("llama")
    adapters = Adapters(loaded.model, LoraSpec(4, 8.0))
    ours = [panel_utility(Engine(loaded), panel)[0]]
    disturb(adapters)
    ours.append(panel_utility(Engine(loaded, adapters), panel)[0])
    for theirs, found in zip(said[:2], ours, strict=True):
        scores, items = theirs["scores"], theirs["items"]["our_panel"]
        assert scores["our_panel/acc"] == pytest.approx(found.accuracy.value)
        assert scores["our_panel/acc_norm"] == pytest.approx(found.accuracy_by_length.value)
        assert [one["doc_id"] for one in items] == list(range(len(panel.choices)))
        right = [index == choice.answer for index, choice in zip(found.given, panel.choices, strict=True)]
        assert [one["acc"] for one in items] == right
    assert said[0] != said[1] != said[2]
    assert said[1:3] == said[3:]  # of lm-eval's own model, without worked examples and with
