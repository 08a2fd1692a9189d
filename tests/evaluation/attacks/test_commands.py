"""The commands around attacks: run, attack, report, score and compare."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from dual_data.errors import UsageError
from dual_data.evaluation.attack_results import ROUNDED_SCORES
from dual_data.evaluation.attacks.targets import AttackOptions, targets
from dual_data.evaluation.models.shard import CAN_SHARD
from dual_data.evaluation.results import cell_path, read_result, read_results
from tests.cli.command import Outcome, dual_data
from tests.evaluation.attacks.attacked_grid import GRID, attack_files, opened, write_project


def _succeed(*arguments: str | Path) -> Outcome:
    outcome = dual_data("eval", *arguments)
    assert outcome.code == 0, outcome.err
    return outcome


def _expect_whole(by_attack: dict[str, Any]) -> None:
    """What the file of each attack must hold."""
    tuned = {curve["tuned_on"] for curve in by_attack["relearning"]["relearning"]}
    assert tuned == {"forget facts", "retain facts", "other facts of the relations"}
    for curve in by_attack["relearning"]["relearning"]:
        assert [point["step"] for point in curve["points"]] == [0, 1, 2, 4, 8, 16, 32, 64]
        assert (len(curve["control"]), len(curve["points"][0]["probabilities"])) == (8, len(curve["subjects"]))
    rounded = by_attack["quantisation"]["quantisation"]
    assert set(rounded) == {"int8", "int4", "nf4"}
    assert all(set(scores["items"]) == {"forget", "retain_eval", "base_rounded"} for scores in rounded.values())
    rows = [row for scores in rounded.values() for rows in scores["items"].values() for row in rows]
    assert all(row.keys() == {"id", "generation", *ROUNDED_SCORES} for row in rows)
    assert all(row["probability"] == pytest.approx(math.exp(row["mean_log_probability"])) for row in rows)
    assert by_attack["relearning"]["options"]["lr"] == 1e-4
    assert all("torch" in content["provenance"]["packages"] for content in by_attack.values())


def test_run_attack_report_score_compare(tmp_path: Path) -> None:
    options = write_project(tmp_path, adapters=True)
    folder = tmp_path / "artifacts" / "evaluation" / "one"
    assert "2 attacks on 1 cell\n" in _succeed("attack", *options).out
    files = attack_files(folder)
    by_attack = {path.name.partition("-")[0]: json.loads(content) for path, content in files.items()}
    assert sorted(by_attack) == ["quantisation", "relearning"]
    _expect_whole(by_attack)
    # Rounding to 8 bits moves the likelihood of the unlearned model's answers a little, and to 4 bits by more.
    attacked = read_result(cell_path(folder, by_attack["quantisation"]["cell"]))
    unrounded = {row["id"]: row["scores"]["mean_log_probability"] for row in attacked["items"]["forget"]}
    moved = {
        name: max(abs(row["mean_log_probability"] - unrounded[row["id"]]) for row in rounded["items"]["forget"])
        for name, rounded in by_attack["quantisation"]["quantisation"].items()
    }
    assert 0 < moved["int8"] < min(moved["int4"], moved["nf4"]) / 3
    # An attack is not repeated; results with other options are added to it.
    threads = torch.get_num_threads()
    again = _succeed("attack", *options, "--threads", str(threads + 1))
    assert torch.get_num_threads() == threads + 1
    torch.set_num_threads(threads)
    assert "0 attacks on 0 cells" in again.out
    assert "1 attack on 1 cell\n" in _succeed("attack", *options, "--relearn-lr", "1e-3").out
    assert attack_files(folder).items() > files.items()
    assert len(attack_files(folder)) == 3
    # Of the rates of the grid, one was chosen, and `--lr` narrows the grid as in `run`.
    outcomes = [dual_data("eval", "attack", *options, "--lr", rate) for rate in ("1e-3", "1e-2")]
    assert sorted(outcome.code for outcome in outcomes) == [0, 2]
    assert any("0 attacks on 0 cells" in outcome.out for outcome in outcomes)
    assert any("the chosen result is not a cell of one with the options given here" in o.err for o in outcomes)

    header, _, before, after, *_ = _succeed("report", folder, "--title", "Small").out.splitlines()
    assert {"lr 0.0001, 64 steps", "lr 0.001, 64 steps"} <= set((folder / "report.md").read_text().split(" | "))
    assert header.split()[:4] == ["stage", "set", "method", "lr"]
    assert before.split()[2] == "before"
    assert after.split()[2] == "GradDiff"

    assert "3 cells, 0 to do" in _succeed("run", *options, "--dry-run").out
    on_two_devices = [*options[:-1], "cpu,cpu", "--out", str(tmp_path / "both")]
    assert (
        "3 done, 0 stopped, 0 failed, 0 left to another process; 0 of 3 cells already had results"
        in _succeed("run", *on_two_devices, *(["--shard"] if CAN_SHARD else [])).out
    )

    report = json.loads(_succeed("score", folder, "--json").out)
    results = dict(read_results(folder))
    items = sum(len(rows) for result in results.values() for rows in result["items"].values())
    assert (report["items"], report["max_abs_difference"]) == (items, 0)
    assert f"{items} items, largest absolute difference 0" in _succeed("score", folder).out

    first, second, *_ = results
    compared = json.loads(_succeed("compare", first, second, "--json").out)
    assert {row["set"] for row in compared["rows"]} >= {"forget", "neighbor_relation"}
    assert "p (Holm)" in _succeed("compare", first, second).out


def test_adapters_that_were_not_kept_are_asked_for_and_made(tmp_path: Path) -> None:
    options = write_project(tmp_path, adapters=False)
    refused = dual_data("eval", "attack", *options)
    assert refused.code == 1
    assert "1 of 1 cells to attack have no adapter" in refused.err
    assert "--save-adapters" in refused.err
    assert "3 cells, 2 to do" in _succeed("run", *options, "--save-adapters", "--dry-run").out
    made = _succeed("run", *options, "--save-adapters").out
    assert "2 done, 0 stopped, 0 failed, 0 left to another process; 1 of 3 cells" in made
    again = _succeed("run", *options, "--save-adapters").out
    assert "0 left to another process; 3 of 3 cells already had results" in again
    assert len(targets(*opened(tmp_path), AttackOptions())) == 1
    no_results = dual_data("eval", "report", tmp_path)
    assert no_results.code == 2
    assert "no results; run `dual-data eval run` first" in no_results.err


def test_attacks_take_the_narrowing_of_the_run_and_say_where_it_is_another(tmp_path: Path) -> None:
    options = write_project(tmp_path, adapters=True, more=["--limit", "3"])
    refused = dual_data("eval", "attack", *options)
    assert refused.code == 2
    assert "in 1 group of results, the chosen result is not a cell of " in refused.err
    assert "give those that `dual-data eval run` had, such as --limit" in refused.err
    assert "run the grid again if its methods, rows or settings were edited since" in refused.err
    never_run = dual_data("eval", "attack", *options, "--out", str(tmp_path / "nowhere"), "--dry-run")
    assert (never_run.code, "no results" in never_run.err) == (2, True)
    narrowed = [*options, "--limit", "3", "--dry-run"]
    folder = dual_data("eval", "attack", *narrowed, "--task-folder", str(tmp_path))
    assert (folder.code, "--task-folder: holds the definitions of tasks" in folder.err) == (2, True)
    if importlib.util.find_spec("lm_eval"):
        unknown = dual_data("eval", "attack", *narrowed, "--task", "nope")
        assert (unknown.code, "lm-eval has no task nope" in unknown.err) == (2, True)
    file = tmp_path / "pipeline" / "evaluation.toml"
    file.write_text(GRID.replace("epochs = 2", "epochs = 2\nfull = true"))
    full = dual_data("eval", "attack", *options, "--limit", "3")
    assert full.code == 2
    assert "trains all weights and keeps no adapters" in full.err


def test_cells_of_a_further_preset_are_compared_and_attacked_with_the_base_of_the_first(tmp_path: Path) -> None:
    options = write_project(tmp_path, adapters=True)
    file = tmp_path / "pipeline" / "evaluation.toml"
    file.write_text(GRID.replace("small", "other").replace("epochs = 2", "epochs = 1"))
    made = _succeed("run", *options, "--save-adapters").out
    assert "2 done, 0 stopped, 0 failed, 0 left to another process; 1 of 3 cells" in made
    grid, cells = opened(tmp_path)
    (target,) = targets(grid, cells, AttackOptions())
    assert target.cell in cells
    header, _, *rows = (line.split() for line in _succeed("report", grid.folder).out.splitlines() if line)
    assert header[:2] == ["preset", "stage"]
    assert [(row[0], row[3]) for row in rows[:4]] == [
        ("other", "before"), ("other", "GradDiff"), ("small", "before"), ("small", "GradDiff"),
    ]  # fmt: skip
    assert "no result before unlearning" not in (grid.folder / "report.md").read_text()


def test_a_bare_word_that_is_no_known_model_is_said_before_the_hub_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = write_project(tmp_path, adapters=False)

    def identify(spec: str, **_: object) -> None:
        raise UsageError(f"asked for {spec}")

    monkeypatch.setattr("dual_data.evaluation.grid.cells.identify", identify)
    for name, explained in (("nope", True), ("owner/name", False), ("tiny", False), ("tiny-qwen", False)):
        refused = dual_data("eval", "run", *options, "--model", name)
        assert refused.code == 2
        first, *_ = refused.err.splitlines()
        assert first.startswith(f"{name}: not a model in ") is explained
        assert ("(tiny) and not a folder here: looking for it on the Hub" in first) is explained
