"""The benchmark itself, on a small model: it runs, both sides agree, and its tables and plot can be made."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest

from benchmarks.evaluation import ours, plot, subject
from benchmarks.evaluation.__main__ import main
from benchmarks.evaluation.table import markdown
from dual_data.evaluation.grid import RunOptions
from dual_data.evaluation.tiny import tiny_tokenizer

RUN = ["--device", "cpu", "--made-up", "--limit", "6", "--new-tokens", "3", "--rows", "8", "--cells-at-once", "2"]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {**subject.SHAPES["llama-1m"], "vocab_size": 512, "num_hidden_layers": 2}
    monkeypatch.setattr(subject, "SHAPES", {"llama-1m": small})
    monkeypatch.setattr(subject, "tokenizer_of", tiny_tokenizer)
    monkeypatch.setattr("benchmarks.evaluation.parts.tokenizer_of", tiny_tokenizer)
    monkeypatch.setattr("benchmarks.evaluation.parts.SHAPES", {"llama-1m": small})


@pytest.fixture
def _transformers_of_two_minds() -> None:
    # transformers and peft announce changes of their own in what the plain loop calls.
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=UserWarning)


@pytest.mark.usefixtures("_transformers_of_two_minds")
def test_both_sides_do_the_same_and_the_tables_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, "--out", str(tmp_path), "--parts", "ceilings,cells,parity", "--as-shipped"]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    for found in results["parity"].values():
        assert found["loss_first"] < 1e-4
        assert found["loss_tenth"] < 1e-4
        assert found["log_p_worst"] < 1e-4
        assert found["same_generations"] == found["generations"] == 12
    assert set(results["cells"]["NPO"]) == {"ours, eager", "plain", "plain as shipped"}
    table = (tmp_path / "results.md").read_text()
    assert table == markdown(results)
    assert "same greedy text" in table
    assert table.strip() in capsys.readouterr().out


def test_a_grid_runs_as_it_does_from_the_command_line(tmp_path: Path) -> None:
    forget, retain, source = subject.made_up(8, 4)
    work = subject.Work(forget[:4], retain, source, epochs=1, new_tokens=2, distractors=1)
    found = ours.run_grid(
        subject.checkpoint("llama-1m", "float32", "cpu", tmp_path),
        work,
        forget[4:],
        device="cpu",
        dtype="float32",
        scratch=tmp_path / "grid",
        options=RunOptions(cells_at_once=2, rows=8),
        stages=("pretrained",),
        methods=("GradAscent",),
        lrs=(1e-5, 1e-4),
    )
    assert (found.cells, found.failed, found.stages) == (4, 0, 0)
    assert len(list((tmp_path / "grid" / "results" / "cells").glob("*.json"))) == 4 + 2  # and a base of each set
    assert grid_table(found.cells) == "| grid of 4 cells | s | processor s | times slower |"


def grid_table(cells: int) -> str:
    clock = {"total": 1.0, "cpu_total": 1.0}
    setting = {"model": "", "device": "", "dtype": "", "epochs": 1, "batch": 1, "new_tokens": 1, "command": ""}
    rows = {"forget": 1, "retain": 1, "source": ""}
    results = {"setting": setting | {"rows": rows}, "grid": {"cells": cells, "ours": clock}}
    return next(line for line in markdown(results).splitlines() if line.startswith("| grid"))


@pytest.mark.usefixtures("_transformers_of_two_minds")
def test_what_was_run_in_part_is_scaled_up_and_says_so(tmp_path: Path) -> None:
    partly = ["--limit", "40", "--methods", "GradAscent", "--plain-steps", "1", "--plain-requests", "20"]
    main([*RUN, *partly, "--out", str(tmp_path), "--parts", "cells"])
    plain = json.loads((tmp_path / "results.json").read_text())["cells"]["GradAscent"]["plain"]
    assert plain["scaled"] == {"train": 4.0, "generate": 4.0, "metrics": 4.0}
    assert "scaled up: train, generate, metrics" in (tmp_path / "results.md").read_text()


def test_growth_is_measured_and_drawn(tmp_path: Path) -> None:
    main([*RUN, "--out", str(tmp_path), "--parts", "growth,profile"])
    target = tmp_path / "growth.svg"
    assert plot.main([str(tmp_path / "results.json"), "--out", str(target)]) == 0
    assert "<svg" in target.read_text()
    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results["growth"]["cells"]) == {"1", "2", "4", "8"}
    assert results["profile"]["train"]["top"]


def test_an_unknown_part_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*RUN, "--out", str(tmp_path), "--parts", "speed"])
    assert "unknown part speed" in capsys.readouterr().err


@pytest.mark.usefixtures("_transformers_of_two_minds")
def test_counts_add_up_to_a_cell(tmp_path: Path) -> None:
    main([*RUN, "--out", str(tmp_path), "--parts", "counts", "--methods", "GradAscent", "--limit", "12"])
    found = json.loads((tmp_path / "results.json").read_text())["counts"]
    cell = found["modelled"]["GradAscent"]
    measured = found["prompts and answers"]["seconds"] + 2 * found["decoding step"]["seconds"]
    batches = 3  # 24 questions, 8 at once
    steps = 2
    assert cell["seconds"] == pytest.approx(steps * found["GradAscent step of 1"]["seconds"] + batches * measured)
    assert cell["over_floor"] > 1
    assert "modelled, not measured" in (tmp_path / "results.md").read_text()
