"""The output of `eval score` and `eval compare`: results are named by their cell, not by their hash alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from dual_data.evaluation.results import cell_path, json_files, read_json
from dual_data.ids import digest
from tests.cli.command import dual_data
from tests.evaluation.report.made_up import write_cell


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The model before unlearning, and three seeds of one method."""
    write_cell(tmp_path, forget=1.0, retain=0.9)
    for seed in (0, 1, 2):
        write_cell(tmp_path, method="NPO", lr=1e-4, seed=seed, forget=0.3, retain=0.9)
    return tmp_path


def _path(folder: Path, method: str, lr: float, seed: int = 0) -> Path:
    return cell_path(folder, digest(f"m|pretrained|rare|{method}|{lr}|{seed}"))


def _log(path: Path) -> Path:
    row = {"ground_truth": "Rome", "generation": "Rome", "rougeL_recall": 1.0}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"forget": {"agg_value": 1.0, "value_by_index": {"0": row}}}))
    return path


def test_scores_are_named_by_their_cell(folder: Path) -> None:
    log = _log(folder / "logs" / "DUAL_EVAL.json")
    before, npo = _path(folder, "none", 0.0), _path(folder, "NPO", 1e-4, seed=2)
    header, _, *rows = (line.split() for line in dual_data("eval", "score", folder, log).out.splitlines())
    assert header[:10] == ["file", "data", "model", "stage", "set", "method", "lr", "seed", "items", "of"]
    assert [npo.name, "d", "m", "pretrained", "rare", "NPO", "0.0001", "2", "forget"] in [row[:9] for row in rows]
    assert [before.name, "d", "m", "pretrained", "rare", "none", "-", "0", "forget"] in [row[:9] for row in rows]
    assert ["DUAL_EVAL.json", *"-------", "forget", "1", "1.0000"] in [row[:11] for row in rows]
    # Columns with one value are left out, and so are all names if no log has any.
    assert dual_data("eval", "score", folder).out.split()[:6] == header[:1] + header[3:8]
    assert dual_data("eval", "score", log).out.split()[:5] == ["file", "items", "of", "count", "ROUGE-L"]
    files = json.loads(dual_data("eval", "score", npo, log, "--json").out)["files"]
    assert files[str(npo)]["cell"].items() >= {"method": "NPO", "lr": 1e-4, "seed": 2, "set": "rare"}.items()
    assert files[str(log)]["cell"] is None


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    logs = [_log(tmp_path / name / "EVAL.json") for name in "ab"]
    _, _, *rows, _ = dual_data("eval", "score", *logs, _log(tmp_path / "c" / "OTHER.json")).out.splitlines()
    assert [row.split()[0] for row in rows] == ["a/EVAL.json", "b/EVAL.json", "OTHER.json"]


def test_every_result_is_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cell(folder, method="NPO", lr=1e-3, forget=0.3, retain=0.9, status="failed")
    read = list[Path]()

    def record(path: Path, advice: str = "") -> object:
        read.append(path)
        return read_json(path, advice)

    monkeypatch.setattr("dual_data.evaluation.results.read_json", record)
    monkeypatch.setattr("dual_data.evaluation.logs._read", record)
    assert dual_data("eval", "score", folder).out.count("NPO") == 3 * 3
    assert sorted(path for path in read if path.parent.name == "cells") == json_files(folder / "cells")


def test_scores_are_sorted_by_cell_and_a_long_table_is_left_out(folder: Path) -> None:
    lines = dual_data("eval", "score", folder).out.splitlines()
    assert [tuple(line.split()[3:6]) for line in lines[2:-1:3]] == [
        *(("NPO", "0.0001", str(seed)) for seed in (0, 1, 2)),
        ("none", "-", "0"),
    ]
    assert lines[-1].startswith("720 items, largest absolute difference ")
    for lr in (1e-5, 1e-3, 2e-3):
        write_cell(folder, method="NPO", lr=lr, forget=0.3, retain=0.9)
    summary, remark = dual_data("eval", "score", folder).out.splitlines()
    assert summary.startswith("1,260 items, largest absolute difference ")
    assert remark == "21 lines of means by file and set are left out: --all prints them"
    table = dual_data("eval", "score", folder, "--all").out.splitlines()
    assert [line.split()[4] for line in table[2:-1:3]] == ["1e-05", *["0.0001"] * 3, "0.001", "0.002", "-"]
    assert table[-1] == summary
    assert len(json.loads(dual_data("eval", "score", folder, "--json").out)["files"]) == 7


def test_answers_without_scores_are_compared_with_none(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(json.dumps({"question": "Which city?", "answer": "Rome", "generation": "It is Rome."}))
    *_, row, summary = dual_data("eval", "score", path).out.splitlines()
    assert row.split() == ["answers.jsonl", "all", "1", "1.0000", "1.0000", "-"]
    assert summary == "1 item, no stored scores to compare with"


def test_the_largest_difference_of_a_set_is_its_own(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    scores: list[dict[str, float]] = [{"rougeL_recall": 0.5}, {"rougeL_recall": 1.0}, {}]
    rows = [{"answer": "Rome", "generation": "Rome", "set": str(n), **row} for n, row in enumerate(scores)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    _, _, *lines, last = dual_data("eval", "score", path).out.splitlines()
    assert [line.split()[-1] for line in lines] == ["0.5", "0", "-"]
    assert last == "3 items, largest absolute difference 0.5"


def test_lines_without_a_set_are_not_called_all_beside_sets(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    rows = [{"answer": "Rome", "generation": generation} for generation in ("Rome", "Oslo")]
    path.write_text("".join(json.dumps(row | more) + "\n" for row in rows for more in ({}, {"set": "rare"}, {})))
    _, _, *lines, _ = dual_data("eval", "score", path).out.splitlines()
    assert {" ".join(line.split()[1:4]) for line in lines} == {"no set 4", "rare 2 0.5000"}
    (file,) = json.loads(dual_data("eval", "score", path, "--json").out)["files"].values()
    assert file["counts"] == {"no set": 4, "rare": 2}


def test_the_scores_of_every_line_are_in_the_json(folder: Path) -> None:
    path = folder / "answers.jsonl"
    rows = [{"answer": "Rome", "generation": "Oslo"}, {"answers": ["Oslo", "Rome"], "generation": "Rome."}]
    path.write_text("\n\n".join(map(json.dumps, rows)))
    result = _path(folder, "NPO", 1e-4)
    files = json.loads(dual_data("eval", "score", path, result, "--json").out)["files"]
    names = ("line", "rougeL_recall", "rougeL_recall_best", "contains_answer")
    assert [[line[name] for name in names] for line in files[str(path)]["lines"]] == [[1, 0, 0, 0], [3, 0, 1, 1]]
    assert "lines" not in files[str(result)]


def test_answers_in_other_scripts_are_told_and_scored_in_any(tmp_path: Path) -> None:
    answers = tmp_path / "answers.jsonl"
    rows = [{"answer": "日本", "generation": "日本"}, {"answer": "Oslo", "generation": "Oslo"}]
    answers.write_text("".join(json.dumps(row) + "\n" for row in rows))
    header, _, row, _, remark = dual_data("eval", "score", answers).out.splitlines()
    assert "in any script" in header
    assert row.split() == ["answers.jsonl", "all", "2", "0.5000", "1.0000", "1.0000", "-"]
    assert remark.startswith("1 item whose answer has no letter")


def test_scores_that_need_the_model_are_counted(tmp_path: Path) -> None:
    log = _log(tmp_path / "logs" / "DUAL_EVAL.json")
    log.write_text(json.dumps(json.loads(log.read_text()) | {"model_utility": {"agg_value": 0.4}}))
    assert (
        dual_data("eval", "score", log).out.splitlines()[-1]
        == "1 score not recomputed, for want of the model: --json has the names"
    )


def test_a_folder_of_logs_is_said_to_be_none_of_results(folder: Path) -> None:
    log = _log(folder / "logs" / "DUAL_EVAL.json")
    outcome = dual_data("eval", "score", log.parent)
    assert outcome.code == 2
    message = " ".join(outcome.err.split())
    assert f"{log.parent}: holds no results: a folder to score must be one that `dual-data eval run` wrote" in message
    assert message.endswith("name logs of open-unlearning file by file")


def test_a_comparison_says_what_its_sides_are(folder: Path) -> None:
    npo, before = _path(folder, "NPO", 1e-4), _path(folder, "none", 0.0)
    sides = [f"{folder}:method={method}" for method in ("NPO", "none")]
    first, second, *_ = dual_data("eval", "compare", *sides).out.splitlines()
    assert first == "A: d, m, pretrained, rare, NPO, lr 0.0001, seeds 0, 1, 2"
    assert second == "B: d, m, pretrained, rare, before unlearning, seed 0"
    comparison = json.loads(dual_data("eval", "compare", npo, before, "--json").out)
    assert comparison["A"].items() >= {"method": "NPO", "lr": 1e-4, "seeds": [0]}.items()
    assert comparison["B"]["method"] == "none"
    changed = folder / "other" / "cells" / npo.name
    changed.parent.mkdir(parents=True)
    shutil.copytree(folder / "runs", folder / "other" / "runs")
    changed.write_text(npo.read_text().replace('"preset":"p"', '"preset":"q"'))
    first, second, *_ = dual_data("eval", "compare", npo, changed).out.splitlines()
    assert (first, second) == tuple(
        f"{side}: d, m, pretrained, rare, {preset}, NPO, lr 0.0001, seed 0" for side, preset in ("Ap", "Bq")
    )


def test_p_values_of_one_seed_are_said_to_compare_two_models(folder: Path) -> None:
    npo, before = _path(folder, "NPO", 1e-4), _path(folder, "none", 0.0)
    note = "One seed on each side: intervals and p-values compare these two models and say nothing of their methods"
    assert dual_data("eval", "compare", npo, before).out.splitlines()[-1] == note
    assert note not in dual_data("eval", "compare", f"{folder}:method=NPO", before).out


def test_a_comparison_says_which_models_stopped_early(folder: Path) -> None:
    npo, before = _path(folder, "NPO", 1e-4), _path(folder, "none", 0.0)
    result = json.loads(npo.read_text())
    npo.write_text(json.dumps(result | {"status": "stopped", "reason": "loss not finite at step 3"}))
    first, stopped, second, *_ = dual_data("eval", "compare", npo, before).out.splitlines()
    assert (first[:2], stopped, second[:2]) == (
        "A:", "   training stopped early (seed 0: loss not finite at step 3)", "B:",
    )  # fmt: skip
    comparison = json.loads(dual_data("eval", "compare", npo, before, "--json").out)
    assert comparison["A"]["stopped"] == {"0": "loss not finite at step 3"}
    assert comparison["B"]["stopped"] == {}


def test_a_comparison_names_the_settings_that_its_headings_do_not_tell(folder: Path) -> None:
    npo = _path(folder, "NPO", 1e-4)
    sides = [npo, folder / "other" / "cells" / npo.name]
    shutil.copytree(folder / "runs", folder / "other" / "runs")
    sides[1].parent.mkdir()
    for side, beta in zip(sides, (0.1, 0.5), strict=True):
        result = json.loads(npo.read_text())
        result["provenance"]["identity"] |= {"options": {"beta": beta, "gamma": 1.0}, "method": "NPO"}
        side.write_text(json.dumps(result))
    first, second, differing, *_ = dual_data("eval", "compare", *sides).out.splitlines()
    assert first.removeprefix("A") == second.removeprefix("B")
    assert differing == "They differ in options.beta (0.1 and 0.5)"
    assert json.loads(dual_data("eval", "compare", *sides, "--json").out)["differing"] == {"options.beta": [0.1, 0.5]}
    assert "They differ" not in dual_data("eval", "compare", npo, npo).out
    assert "They differ" not in dual_data("eval", "compare", npo, _path(folder, "none", 0.0)).out


def test_no_difference_has_no_sign(folder: Path) -> None:
    npo = _path(folder, "NPO", 1e-4)
    result = json.loads(npo.read_text())
    for row in result["items"]["forget"]:
        row["scores"]["probability"] += 1e-12
    changed = npo.with_name("other.json")
    changed.write_text(json.dumps(result))
    text = dual_data("eval", "compare", npo, changed).out
    row = next(line for line in text.splitlines() if line.startswith("forget") and " probability " in line)
    assert "0.0000  [0.0000, 0.0000]" in row
    assert "-0.0000" not in text
    assert "+0.0000" not in text
    assert "  -0." in dual_data("eval", "compare", npo, _path(folder, "none", 0.0)).out


def test_a_small_p_value_is_not_zero(folder: Path) -> None:
    text = dual_data(
        "eval", "compare", *(_path(folder, method, lr) for method, lr in (("NPO", 1e-4), ("none", 0.0)))
    ).out
    lines = text.splitlines()
    assert [line[-8:] for line in lines if line.startswith("forget ")] == ["< 0.0001"] * 5
    assert [line[-8:] for line in lines if line.startswith("retain_eval ")] == ["  1.0000"] * 5


@pytest.mark.parametrize(
    ("scale", "shown"),
    [(1.0, ["0.8000", "0.7200", "+0.0800"]), (1e-3, ["0.000800", "0.000720", "+0.0000800"]), (0.0, ["0.0000"] * 3)],
)
def test_small_scores_and_their_difference_have_three_digits(folder: Path, scale: float, shown: list[str]) -> None:
    before = _path(folder, "none", 0.0)
    result = json.loads(before.read_text())
    paths = []
    for name, probability in (("one", 0.8), ("other", 0.72)):
        for row in result["items"]["forget"]:
            row["scores"]["probability"] = probability * scale
        paths.append(before.with_name(f"{name}.json"))
        paths[-1].write_text(json.dumps(result))
    text = dual_data("eval", "compare", *paths).out
    row = next(line for line in text.splitlines() if line.startswith("forget") and " probability " in line)
    assert row.split()[4:9] == [*shown, f"[{shown[2]},", f"{shown[2]}]"]
