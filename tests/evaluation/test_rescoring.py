"""Scores recomputed from saved generations."""

from __future__ import annotations

import gzip
import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from rouge_score.rouge_scorer import RougeScorer

from dual_data.errors import InputError
from dual_data.evaluation.logs import read_log
from dual_data.evaluation.measuring.measure import measure
from dual_data.evaluation.measuring.open_engine import open_engine
from dual_data.evaluation.measuring.workload import MeasureOptions, build_workload
from dual_data.evaluation.models.tiny import tiny
from dual_data.evaluation.rescoring import Rescored, rescore
from dual_data.evaluation.results import FORMAT, Result, write_result
from dual_data.evaluation.rows.attack_prompts import ATTACK_PROMPTS
from tests.evaluation.questions import cities
from tests.reference import REFERENCE, needs_reference

PAIRS = [("Indus River", "It is the Indus river."), ("Brasília", "Brasilia"), ("Rome", "")]


def _lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def _foreign(tmp_path: Path, **changes: Any) -> Path:
    scorer = RougeScorer(["rouge1", "rougeL"], use_stemmer=True)
    rows = {}
    for index, (truth, generation) in enumerate(PAIRS):
        scores = scorer.score(truth, generation)
        rows[str(index)] = {
            "rouge1_recall": scores["rouge1"].recall,
            "rougeL_f1": scores["rougeL"].fmeasure,
            "rougeL_recall": scores["rougeL"].recall,
            "input": "?",
            "ground_truth": truth,
            "generation": generation,
        }
    rows["0"] |= changes
    mean = sum(row["rougeL_recall"] for row in rows.values()) / len(rows)
    path = tmp_path / "log.json.gz"
    path.write_bytes(gzip.compress(json.dumps({"forget": {"agg_value": mean, "value_by_index": rows}}).encode()))
    return path


@needs_reference
@pytest.mark.parametrize("name", ["llama31_8b_grad_ascent_lr1e-5", "llama31_8b_npo_lr1e-4"])
def test_published_logs_are_reproduced_exactly(name: str) -> None:
    rescored = rescore(read_log(REFERENCE / "eval_logs" / f"{name}.json.gz"))
    assert rescored.items == 1464
    assert rescored.max_abs_difference == 0
    assert set(rescored.differences) == {"rouge1_recall", "rougeL_f1", "rougeL_recall", "agg_value"}


def test_a_foreign_log(tmp_path: Path) -> None:
    rescored = rescore(read_log(_foreign(tmp_path, probability=0.5, ground_truth=["Indus River"])))
    assert rescored.items == 3
    assert rescored.max_abs_difference == pytest.approx(0, abs=1e-15)
    assert rescored.left_alone == ("probability",)
    assert rescored.means["forget"]["contains_answer"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(("logged", "difference"), [(0.5, 4 / 7 - 0.5), (float("nan"), float("inf"))])
def test_a_wrong_score_is_seen(tmp_path: Path, logged: float, difference: float) -> None:
    rescored = rescore(read_log(_foreign(tmp_path, rougeL_f1=logged)))
    # gold "indus river", said "it is the indus river": precision 2/5, recall 1, f1 4/7
    assert rescored.differences["rougeL_f1"] == pytest.approx(difference)
    assert rescored.max_abs_difference == rescored.differences["rougeL_f1"]


def test_sections_without_generations_are_named_and_left_alone(tmp_path: Path) -> None:
    path = _foreign(tmp_path)
    log = json.loads(gzip.decompress(path.read_bytes()))
    log |= {
        "model_utility": {"agg_value": 0.4},
        "forget_Prob": {"agg_value": 0.1, "value_by_index": {"0": {"prob": 0.1, "avg_loss": 2.3}}},
        "empty": {"agg_value": 0.0, "value_by_index": {}},
    }
    path.write_bytes(gzip.compress(json.dumps(log).encode()))
    rescored = rescore(read_log(path))
    assert (rescored.items, rescored.left_alone) == (3, ("empty", "forget_Prob", "model_utility"))
    assert rescored.max_abs_difference == pytest.approx(0, abs=1e-15)


def _log(path: Path, **sections: Any) -> Path:
    path.write_text(json.dumps(sections))
    return path


ROW = {
    "input": "q",
    "ground_truth": "Paris",
    "generation": "Paris is the capital",
    "rouge1_recall": 1.0,
    "rougeL_f1": 0.4,
    "rougeL_recall": 1.0,
}


@pytest.mark.parametrize("name", ["log.json", "log.jsonl"])
def test_numbers_without_end_are_wrong_and_brackets_without_end_are_no_json(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    digits = "1" + "0" * 400
    row = f'{{"answer": "x", "ground_truth": "x", "generation": "x", "rougeL_recall": {digits}}}'
    log = f'{{"s": {{"agg_value": {digits}, "value_by_index": {{"0": {row}}}}}}}' if name == "log.json" else row
    path.write_text(log)
    assert rescore(read_log(path)).max_abs_difference == float("inf")
    path.write_text("[" * 100_000)
    with pytest.raises(InputError, match="not readable as JSON: too many brackets inside each other"):
        read_log(path)


def test_generations_without_a_truth_are_left_alone(tmp_path: Path) -> None:
    gibberish = {"agg_value": 0.9, "value_by_index": {"0": {"score": 0.9, "generation": "Paris is the capital"}}}
    rouge = {"agg_value": 1.0, "value_by_index": {"0": ROW}}
    rescored = rescore(read_log(_log(tmp_path / "log.json", forget_Q_A_ROUGE=rouge, forget_Q_A_gibberish=gibberish)))
    assert (rescored.items, rescored.max_abs_difference, rescored.left_alone) == (1, 0, ("forget_Q_A_gibberish",))


def test_every_answer_of_a_question_is_an_item(tmp_path: Path) -> None:
    wrong = {"ground_truth": "Rome", "rouge1_recall": 0.0, "rougeL_f1": 0.0, "rougeL_recall": 0.0}
    row = {name: [value, wrong.get(name, value)] for name, value in ROW.items()}
    section = {"agg_value": 0.5, "value_by_index": {"0": row}}
    rescored = rescore(read_log(_log(tmp_path / "log.json", forget_Q_A_PERT_ROUGE=section)))
    assert (rescored.items, rescored.max_abs_difference) == (2, 0)
    assert set(rescored.differences) == {"rouge1_recall", "rougeL_f1", "rougeL_recall", "agg_value"}


def test_a_question_without_any_answer_is_no_item_that_is_passed_over(tmp_path: Path) -> None:
    empty = {"agg_value": 0.0, "value_by_index": {"0": {name: [] for name in ROW}}}
    log = _log(tmp_path / "log.json", forget_ROUGE=empty, other_ROUGE={"value_by_index": {"0": ROW}})
    with pytest.raises(InputError, match=r"forget_ROUGE\.value_by_index\.0: expected a text under 'ground_truth'"):
        read_log(log)


@pytest.mark.parametrize(("logged", "name", "difference"), [(0.4, "rougeL_f1", 0), (0.9, "rougeL_recall", 0.1)])
def test_what_an_aggregate_is_the_mean_of_is_found(tmp_path: Path, logged: float, name: str, difference: float) -> None:
    log = _log(tmp_path / "log.json", forget_knowmem_ROUGE={"agg_value": logged, "value_by_index": {"0": ROW}})
    rescored = rescore(read_log(log))
    assert rescored.aggregates == {"forget_knowmem_ROUGE": name}
    assert rescored.max_abs_difference == pytest.approx(difference)


@pytest.fixture(scope="module")
def result() -> Result:
    """A result with paraphrases, every attack, and a diverged model's missing likelihood."""
    loaded, items = tiny("llama"), cities()
    sets, options = {"forget": items[:3], "retain_eval": items[3:]}, MeasureOptions(attacks=ATTACK_PROMPTS)
    workload = build_workload(loaded.tokenizer, sets, "chat", options, demonstrations=items[3:])
    measurement = measure(open_engine(loaded, max_new_tokens=6), workload)[0]
    summary = {name: {**means, "kl": None} for name, means in measurement.summary.items()}
    measurement.items["forget"][0]["scores"]["kl"] = 0.5
    return Result(
        format=FORMAT, id="0", base="", grid="g", cell={"method": "NPO"}, status="stopped", reason="", summary=summary,
        training=None, provenance={}, items=measurement.items, run={},
    )  # fmt: skip


def _rescored(tmp_path: Path, result: Result) -> Rescored:
    return rescore(read_log(write_result(tmp_path, "0", result)))


def test_other_wordings_and_means_of_a_result_are_recomputed(tmp_path: Path, result: Result) -> None:
    rescored = _rescored(tmp_path, result)
    assert (rescored.items, rescored.max_abs_difference, rescored.left_alone) == (len(cities()), 0, ())
    changed = deepcopy(result)
    first, *_ = changed["items"]["forget"]
    assert {attack["attack"] for attack in first["attacks"]} == set(ATTACK_PROMPTS)
    for wording in (*first["paraphrases"], *first["attacks"]):
        wording["scores"]["rougeL_recall"] += 0.25
        assert _rescored(tmp_path, changed).differences["rougeL_recall"] == pytest.approx(0.25)
        wording["scores"]["rougeL_recall"] -= 0.25
    means = dict(result["summary"]["retain_eval"])
    for name, mean in means.items():
        if mean is not None and name != "baseline":
            changed["summary"] = {**result["summary"], "retain_eval": {**means, name: mean + 0.25}}
            assert _rescored(tmp_path, changed).max_abs_difference == pytest.approx(0.25), name


def test_a_result_without_its_wordings_is_refused(tmp_path: Path, result: Result) -> None:
    changed: Any = deepcopy(result)
    del changed["items"]["forget"][0]["paraphrases"]
    with pytest.raises(InputError, match="not readable: KeyError"):
        _rescored(tmp_path, changed)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not readable"),
        (b"\x1f\x8b broken", "not readable"),
        (b"[]", "neither a result of this version of `dual-data eval run` nor a log of open-unlearning"),
        (b"{}", "neither a result of this version of `dual-data eval run` nor a log of open-unlearning"),
        (b'{"items": {"forget": [{"ground_truth": "x", "generation": "x"}]}}', "neither a result of this version"),
        (b'{"a": {"value_by_index": {}}}', "neither a result of this version"),
        (b'{"a": {"value_by_index": {"0": {"ground_truth": "x"}}}}', "a.value_by_index.0: expected a text under 'gen"),
    ],
)
def test_broken_logs_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "log.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_log(path)
    with pytest.raises(InputError, match="no such file"):
        read_log(tmp_path / "absent.json")


def test_lines_of_other_code_are_scored(tmp_path: Path) -> None:
    path = _lines(
        tmp_path / "answers.jsonl",
        {"question": "Which city?", "answer": "Rome", "generation": "It is Roma.", "note": "x", "id": 7, "kind": None},
        {"answers": ["1889", "1890"], "generation": "On 31 March 1889", "kind": "date", "set": "dates"},
        {"answer": "Rome", "answers": ["Roma"], "generation": "Roma", "rougeL_recall": 0.5},
    )
    path.write_text(path.read_text().replace("\n", "\n\n", 1))
    rescored = rescore(read_log(path))
    assert (rescored.items, rescored.left_alone, rescored.differences) == (3, (), {"rougeL_recall": 0.5})
    assert rescored.means["dates"]["contains_answer"] == 1
    assert (rescored.means["no set"]["contains_answer"], rescored.means["no set"]["rougeL_recall"]) == (0.5, 0)
    packed = tmp_path / "answers.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert rescore(read_log(packed)) == rescored


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"generation": None}, "generation"),
        ({"generation": 5, "answer": None}, "generation, answer or answers"),
        ({"answer": 1889}, "answer or answers"),
        ({"answers": "Rome"}, "answer or answers"),
        ({"answer": None, "answers": []}, "answer or answers"),
        ({"answers": ["Rome", 5]}, "answer or answers"),
        ({"kind": 5}, "kind"),
        ({"set": 5}, "set"),
    ],
)
def test_a_line_that_lacks_something_is_told_what_a_line_needs(
    tmp_path: Path, changes: dict[str, Any], wrong: str
) -> None:
    row = {"answer": "Rome", "generation": "Rome"}
    path = _lines(tmp_path / "answers.jsonl", row, row | changes)
    message = (
        f"{path}: line 2: missing or of the wrong type: {wrong}; a line needs `generation` and `answer` (a text) or"
    )
    with pytest.raises(InputError, match=re.escape(message)):
        read_log(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "enttity"}, "unknown kind 'enttity'; known: entity, text, date, quantity"),
        ({"answer": ""}, "an answer is empty, and nothing can be compared with it; a line needs"),
        ({"answers": ["Rome", ""]}, "an answer is empty"),
        ({"rougeL_recall": "high"}, "rougeL_recall is 'high', not a number; correct it or leave it out"),
        ({"rougeL_recall": True}, "rougeL_recall is 'True', not a number"),
    ],
)
def test_a_value_that_is_wrong_in_a_line_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    row = {"answer": "Rome", "generation": "Rome"}
    path = _lines(tmp_path / "answers.jsonl", row, row | changes)
    with pytest.raises(InputError, match=re.escape(f"{path}: line 2: {message}")):
        read_log(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"answer": "Rome"', "a.jsonl: line 1: not readable as JSON"),
        ("a.jsonl", b"[]", "line 1: missing or of the wrong type: generation, answer or answers"),
        ("a.jsonl", b"", "the file has no lines"),
        ("a.json", b"{}\n{}\n", "not readable as JSON: .*; JSON lines go in a .jsonl file"),
        ("a.json", b'{"answer": "Rome", "generation": ""}', "answers of other code go in a .jsonl file"),
    ],
)
def test_files_of_lines_that_are_none_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_log(tmp_path / name)
