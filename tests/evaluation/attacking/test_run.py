"""Attacks on the chosen cells of a grid that really ran, and the commands around them."""

from __future__ import annotations

import json
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dual_data.cli import main
from dual_data.errors import DualDataError, UsageError
from dual_data.evaluation.attacking import cell as attacks_on_cell
from dual_data.evaluation.attacking import forecast as attack_forecast
from dual_data.evaluation.attacking import run as attack_run
from dual_data.evaluation.attacking.cell import sample, unrelated
from dual_data.evaluation.attacking.run import attack
from dual_data.evaluation.attacking.targets import AttackOptions, Target, targets
from dual_data.evaluation.attacks.lm_eval_tasks import TaskScores
from dual_data.evaluation.attacks.quantisation import quantised
from dual_data.evaluation.attacks.relearning import STEPS, Curve, relearn
from dual_data.evaluation.device.sharding import CAN_SHARD
from dual_data.evaluation.grid import grid_run
from dual_data.evaluation.grid.cells import Cell, Grid, cells_of, identity_of, resolve_grid
from dual_data.evaluation.measuring import open_engine as engine
from dual_data.evaluation.models.loading import Loaded
from dual_data.evaluation.report.write import write_report
from dual_data.evaluation.results import read_results
from dual_data.evaluation.rows.encoding import encode
from dual_data.evaluation.settings import ModelSettings, load_settings
from dual_data.evaluation.training.lora import Adapters
from tests.evaluation.questions import cities, other_cities, write_rows

GRID = """
[models.tiny]
spec = "tiny-llama"
dtype = "float32"

[data.cities]
folder = "."
retain_train = { path = "retain.jsonl", end = 0.5 }
retain_eval = { path = "retain.jsonl", start = 0.5 }
[data.cities.forget]
rare = "forget.jsonl"
[data.cities.measured]
neighbor_relation = "neighbours.jsonl"

[presets.small]
epochs = 2
methods.GradDiff = {}
lrs = [1e-3, 1e-2]
max_new_tokens = 4
lora = { rank = 4, alpha = 8.0 }

[grids.one]
models = ["tiny"]
data = "cities"
preset = "small"
"""


def _project(folder: Path, *, adapters: bool, more: Sequence[str] = (), grid: str = GRID) -> list[str]:
    """Write a project and run its one grid; the command-line options that name the grid."""
    (folder / "pipeline").mkdir()
    (folder / "pipeline" / "__init__.py").write_text("PIPELINE = ()\n")
    (folder / "pipeline" / "evaluation.toml").write_text(grid)
    items = cities()
    write_rows(folder / "forget.jsonl", items[:4])
    write_rows(folder / "retain.jsonl", other_cities())
    write_rows(folder / "neighbours.jsonl", [item._replace(question=f"Say: {item.question}") for item in items[4:]])
    options = ["--grid", "one", "--project", str(folder), "--device", "cpu"]
    save_adapters = ["--save-adapters"] if adapters else []
    with pytest.raises(SystemExit) as exit_info:
        main(["eval", "run", *options, *save_adapters, *more])
    assert exit_info.value.code == 0
    return options


def _run(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert isinstance(exit_info.value.code, int)
    return exit_info.value.code


def _attack_files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.glob("attacks/*/*.json")}


def _expect_whole(by_attack: dict[str, Any]) -> None:
    """What the file of each attack must hold."""
    tuned = {curve["tuned_on"] for curve in by_attack["relearning"]["relearning"]}
    assert tuned == {"forget facts", "retain facts", "other facts of the relations"}
    for curve in by_attack["relearning"]["relearning"]:
        assert [point["step"] for point in curve["points"]] == [0, 1, 2, 4, 8, 16, 32, 64]
        assert (len(curve["control"]), len(curve["points"][0]["probabilities"])) == (8, len(curve["subjects"]))
    rounded = by_attack["quantisation"]["quantisation"]
    assert set(rounded) == {"int8", "int4"}
    assert all(set(scores["items"]) == {"forget", "retain_eval", "base_rounded"} for scores in rounded.values())
    assert by_attack["relearning"]["options"]["lr"] == 1e-4
    assert all("torch" in content["provenance"]["packages"] for content in by_attack.values())


def test_run_attack_report_score_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = _project(tmp_path, adapters=True)
    folder = tmp_path / "artifacts" / "evaluation" / "one"
    command = ["eval", "attack", *options]
    assert _run(command) == 0
    assert "2 attacks on 1 cell\n" in capsys.readouterr().out
    files = _attack_files(folder)
    by_attack = {path.name.partition("-")[0]: json.loads(content) for path, content in files.items()}
    assert sorted(by_attack) == ["quantisation", "relearning"]
    _expect_whole(by_attack)
    # An attack is not repeated; results with other options are added to it.
    threads = torch.get_num_threads()
    assert _run([*command, "--threads", str(threads + 1)]) == 0
    assert torch.get_num_threads() == threads + 1
    torch.set_num_threads(threads)
    assert "0 attacks on 0 cells" in capsys.readouterr().out
    assert _run([*command, "--lr", "1e-3"]) == 0
    assert "1 attack on 1 cell\n" in capsys.readouterr().out
    assert _attack_files(folder).items() > files.items()
    assert len(_attack_files(folder)) == 3

    assert _run(["eval", "report", str(folder), "--title", "Small"]) == 0
    assert {"lr 0.0001, 64 steps", "lr 0.001, 64 steps"} <= set((folder / "report.md").read_text().split(" | "))
    header, _, before, after, *_ = capsys.readouterr().out.splitlines()
    assert header.split()[:4] == ["stage", "set", "method", "lr"]
    assert before.split()[2] == "before"
    assert after.split()[2] == "GradDiff"

    assert _run(["eval", "run", *options, "--dry-run"]) == 0
    assert "3 cells, 0 to do" in capsys.readouterr().out
    on_two_devices = [*options[:-1], "cpu,cpu", "--out", str(tmp_path / "both")]
    assert _run(["eval", "run", *on_two_devices, *(["--shard"] if CAN_SHARD else [])]) == 0
    assert (
        "3 done, 0 stopped, 0 failed, 0 left to another process; 0 of 3 cells already had results"
        in capsys.readouterr().out
    )

    assert _run(["eval", "score", str(folder), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    results = dict(read_results(folder))
    items = sum(len(rows) for result in results.values() for rows in result["items"].values())
    assert (report["items"], report["max_abs_difference"]) == (items, 0)
    assert _run(["eval", "score", str(folder)]) == 0
    assert f"{items} items, largest absolute difference 0" in capsys.readouterr().out

    first, second, *_ = results
    assert _run(["eval", "compare", str(first), str(second), "--json"]) == 0
    assert {row["set"] for row in json.loads(capsys.readouterr().out)["rows"]} >= {"forget", "neighbor_relation"}
    assert _run(["eval", "compare", str(first), str(second)]) == 0
    assert "p (Holm)" in capsys.readouterr().out


def test_adapters_that_were_not_kept_are_asked_for_and_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = _project(tmp_path, adapters=False)
    capsys.readouterr()
    assert _run(["eval", "attack", *options]) == 1
    error = capsys.readouterr().err
    assert "1 of 1 cells to attack have no adapter" in error
    assert "--save-adapters" in error
    assert _run(["eval", "run", *options, "--save-adapters", "--dry-run"]) == 0
    assert "3 cells, 2 to do" in capsys.readouterr().out
    assert _run(["eval", "run", *options, "--save-adapters"]) == 0
    assert "2 done, 0 stopped, 0 failed, 0 left to another process; 1 of 3 cells" in capsys.readouterr().out
    assert _run(["eval", "run", *options, "--save-adapters"]) == 0
    assert "0 left to another process; 3 of 3 cells already had results" in capsys.readouterr().out
    assert len(targets(*_opened(tmp_path), AttackOptions())) == 1
    assert _run(["eval", "report", str(tmp_path)]) == 2
    assert "no results; run `dual-data eval run` first" in capsys.readouterr().err


def test_attacks_take_the_narrowing_of_the_run_and_say_where_it_is_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = _project(tmp_path, adapters=True, more=["--limit", "3"])
    capsys.readouterr()
    assert _run(["eval", "attack", *options]) == 2
    error = capsys.readouterr().err
    assert "in 1 group of results, the chosen result is not a cell of " in error
    assert "give those that `dual-data eval run` had, such as --limit" in error
    assert "run the grid again if its methods, rows or settings were edited since" in error
    file = tmp_path / "pipeline" / "evaluation.toml"
    file.write_text(GRID.replace("epochs = 2", "epochs = 2\nfull = true"))
    assert _run(["eval", "attack", *options, "--limit", "3"]) == 2
    assert "trains all weights and keeps no adapters" in capsys.readouterr().err


def test_cells_of_a_further_preset_are_compared_and_attacked_with_the_base_of_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = _project(tmp_path, adapters=True)
    file = tmp_path / "pipeline" / "evaluation.toml"
    file.write_text(GRID.replace("small", "other").replace("epochs = 2", "epochs = 1"))
    assert _run(["eval", "run", *options, "--save-adapters"]) == 0
    assert "2 done, 0 stopped, 0 failed, 0 left to another process; 1 of 3 cells" in capsys.readouterr().out
    grid, cells = _opened(tmp_path)
    (target,) = targets(grid, cells, AttackOptions())
    assert target.cell in cells
    assert _run(["eval", "report", str(grid.folder)]) == 0
    header, _, *rows = (line.split() for line in capsys.readouterr().out.splitlines() if line)
    assert header[:2] == ["preset", "stage"]
    assert [(row[0], row[3]) for row in rows[:4]] == [
        ("other", "before"), ("other", "GradDiff"), ("small", "before"), ("small", "GradDiff"),
    ]  # fmt: skip
    assert "no result before unlearning" not in (grid.folder / "report.md").read_text()


def test_a_bare_word_that_is_no_known_model_is_said_before_the_hub_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = _project(tmp_path, adapters=False)

    def identify(spec: str, **_: object) -> None:
        raise UsageError(f"asked for {spec}")

    monkeypatch.setattr("dual_data.evaluation.grid.cells.identify", identify)
    for name, explained in (("nope", True), ("owner/name", False), ("tiny", False), ("tiny-qwen", False)):
        capsys.readouterr()
        assert _run(["eval", "run", *options, "--model", name]) == 2
        first, *_ = capsys.readouterr().err.splitlines()
        assert first.startswith(f"{name}: not a model in ") is explained
        assert ("(tiny) and not a folder here: looking for it on the Hub" in first) is explained


def _opened(folder: Path) -> tuple[Grid, list[Cell]]:
    settings = load_settings(folder / "pipeline" / "evaluation.toml")
    grid = resolve_grid(settings, "one", folder, folder / "artifacts" / "evaluation" / "one")
    return grid, cells_of(grid)


def test_an_attack_that_fails_ends_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _project(tmp_path, adapters=True)
    grid, cells = _opened(tmp_path)
    options = AttackOptions(steps=(1,))
    (target,) = targets(grid, cells, options)
    lost = target._replace(cell=target.cell._replace(model="lost"))
    broken = grid._replace(models={**grid.models, "lost": ModelSettings(spec="/no/such/model")})

    def refuse(*_: object) -> None:
        raise DualDataError("no")

    with monkeypatch.context() as patch:
        patch.setattr(attacks_on_cell, "quantised", refuse)
        outcome = attack(broken, [lost, target], options, project=tmp_path)
    assert [path.name.partition("-")[0] for path in outcome.written] == ["relearning"]
    lost_cell, failed = outcome.failed
    assert "relearning, quantisation: /no/such/model" in lost_cell
    assert failed == f"{target.cell.label}: quantisation: no"
    (remaining,) = targets(grid, cells, options)
    assert remaining.todo == ("quantisation",)
    assert attack(grid, [remaining], options, project=tmp_path).failed == []
    assert targets(grid, cells, options) == []


def test_tasks_are_kept_with_their_items_after_and_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _project(tmp_path, adapters=True)
    grid, cells = _opened(tmp_path)
    attack_options = AttackOptions(steps=(1,), tasks=("t",), shots=5)
    (target,) = targets(grid, cells, attack_options)
    after, before = (TaskScores({"t/acc": acc}, {"t": [{"doc_id": 0, "acc": acc}]}) for acc in (0.0, 1.0))
    scores, calls = iter((after, before)), list[Any]()

    def lm_eval_scores(*_: object, **options: object) -> TaskScores:
        calls.append(options)
        return next(scores)

    monkeypatch.setattr(attack_run, "check_tasks", lambda *_: None)
    monkeypatch.setattr(attacks_on_cell, "lm_eval_scores", lm_eval_scores)
    monkeypatch.setattr(attack_run, "provenance", lambda *_: {})  # it would ask for the version of lm-eval
    (path,) = attack(grid, [target._replace(todo=("tasks",))], attack_options, project=tmp_path).written
    content = json.loads(path.read_bytes())
    assert (content["tasks"], content["tasks_items"]) == after
    assert (content["tasks_before"], content["tasks_items_before"]) == before
    assert calls == [{"folder": None, "shots": 5, "rows": 16}] * 2
    assert content["options"]["shots"] == 5


def test_the_model_that_two_cells_start_from_is_attacked_once_and_with_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_methods = GRID.replace("lrs = [1e-3, 1e-2]", "methods.NPO = {}\nlrs = [1e-3]")
    two_sets = two_methods.replace('rare = "forget.jsonl"', 'rare = "forget.jsonl"\npopular = "neighbours.jsonl"')
    _project(tmp_path, adapters=True, grid=f"{two_sets}seeds = [0, 1]\n")
    grid, cells = _opened(tmp_path)
    options = AttackOptions(steps=(1,), tasks=("t",))
    chosen = targets(grid, cells, options)
    attacked = list[tuple[str, bool]]()

    def relearned(loaded: Loaded, adapters: Adapters, cell: int | None, *arguments: Any, **more: Any) -> Curve:
        attacked.append(("relearning", cell is None))
        return relearn(loaded, adapters, cell, *arguments, **more)

    def rounded(loaded: Loaded, bits: int, adapters: Adapters, cell: int | None, *stage: Any) -> Any:
        attacked.append(("quantisation", cell is None))
        return quantised(loaded, bits, adapters, cell, *stage)

    def lm_eval_scores(loaded: Loaded, *_: object, **__: object) -> TaskScores:
        with torch.no_grad():
            output = float(loaded.model(torch.arange(9)[None]).logits.abs().sum())
        attacked.append(("tasks", output == base_output))
        return TaskScores({"t/acc": output}, {})

    monkeypatch.setattr(attacks_on_cell, "relearn", relearned)
    monkeypatch.setattr(attacks_on_cell, "quantised", rounded)
    monkeypatch.setattr(attacks_on_cell, "lm_eval_scores", lm_eval_scores)
    monkeypatch.setattr(attack_run, "check_tasks", lambda *_: None)
    monkeypatch.setattr(attack_run, "provenance", lambda *_: {})  # it would ask for the version of lm-eval
    base = grid_run.load_model(grid.models["tiny"], "cpu")
    with torch.no_grad():
        base_output = float(base.model(torch.arange(9)[None]).logits.abs().sum())
    attack(grid, chosen, options, project=tmp_path)
    # Relearning is tuned on three sets of rows, for the popular facts on two, as their neighbours are the same facts;
    # rounding is to two numbers of bits; the task is run with the first seed.
    assert Counter(attacked) == {
        ("relearning", False): 4 * 3 + 4 * 2,
        ("relearning", True): 2 * 3 + 2 * 2,
        ("quantisation", False): 8 * 2,
        ("quantisation", True): 2 * 2,
        ("tasks", False): 4,
        ("tasks", True): 1,
    }
    together = _attack_files(grid.folder)
    assert len(together) == 8 * 2 + 4
    for path in together:
        path.unlink()
    for target in chosen:
        attack(grid, [target], options, project=tmp_path)
    assert _attack_files(grid.folder) == together


def test_what_attacks_will_take_is_told_before_a_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    two_methods = GRID.replace("lrs = [1e-3, 1e-2]", "methods.NPO = {}\nlrs = [1e-3]")
    options = _project(tmp_path, adapters=True, grid=two_methods)
    grid, cells = _opened(tmp_path)
    monkeypatch.setattr(attack_run, "load_model", lambda *_: pytest.fail("loaded"))
    capsys.readouterr()
    assert _run(["eval", "attack", *options, "--dry-run"]) == 0
    first, second, _, summary = capsys.readouterr().out.splitlines()
    chosen = targets(grid, cells, AttackOptions())
    for line, target in zip((first, second), chosen, strict=True):
        assert line == f"{target.cell.id}  {target.cell.label}: relearning, quantisation"
    # Three sets to tune on and two numbers of bits, each for both cells and, once, for the model they start from.
    assert summary == (
        "2 cells to attack: 9 curves of relearning, each of 64 steps, and 6 models with rounded weights; "
        "less than a minute on cpu (by the cells that are done)"
    )
    monkeypatch.setattr(attack_forecast, "rate", lambda *_: (1.0, "one a second"))
    monkeypatch.setattr(attack_forecast, "duration", lambda seconds: f"<{seconds:.0f}>")

    def operations(todo: list[Target], steps: tuple[int, ...] = STEPS) -> int:
        text = attack_forecast.forecast(grid, cells, todo, AttackOptions(steps=steps))
        assert ("tasks come on top" in text) == any("tasks" in target.todo for target in todo)
        return int(text.partition("<")[2].partition(">")[0])

    one, other = ([target] for target in chosen)
    assert operations(one) == operations(other)
    assert operations(one) < operations(chosen) < 2 * operations(one)
    tuning = operations([one[0]._replace(todo=("relearning",))])
    assert operations([one[0]._replace(todo=("relearning", "tasks"))]) == tuning
    # Scored 9 times and 4 times: only the training of the other 32 steps and the 5 scorings are less.
    shorter = operations([one[0]._replace(todo=("relearning",))], (1, 2, 32))
    assert tuning / 2.5 < shorter < tuning / 1.8
    rounding = operations([one[0]._replace(todo=("quantisation",))])
    assert tuning + rounding == operations(one)
    identity = identity_of(grid.models["tiny"])
    sets = grid.sets["pretrained"]
    asked = encode(identity.tokenizer, [*sets.forget["rare"] * 2, *sets.retain_eval], "chat")
    tokens = sum(len(row.prompt_ids) + len(row.answer_ids) + len(row.end_ids) + 4 for row in asked)
    assert rounding == 2 * identity.parameters * 2 * tokens


def test_files_that_reading_leaves_in_a_folder_of_tasks_make_no_other_attack(tmp_path: Path) -> None:
    (tmp_path / "task.yaml").write_text("task: t\n")
    (tmp_path / "words.py").write_text("def text(doc):\n    return doc\n")
    options = AttackOptions(tasks=("t",), task_folder=tmp_path)
    before = options.relevant_to("tasks")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "words.cpython-311.pyc").write_bytes(b"compiled")
    (tmp_path / ".DS_Store").write_bytes(b"icons")
    assert options.relevant_to("tasks") == before
    (tmp_path / "words.py").write_text("def text(doc):\n    return str(doc)\n")
    assert options.relevant_to("tasks") != before


def test_tasks_that_lm_eval_lacks_are_refused_before_a_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _project(tmp_path, adapters=True)
    grid, cells = _opened(tmp_path)
    attack_options = AttackOptions(tasks=("nosuch",), task_folder=tmp_path / "nowhere")
    monkeypatch.setattr(attack_run, "load_model", lambda *_: pytest.fail("loaded"))
    chosen = targets(grid, cells, attack_options)
    with pytest.raises(DualDataError, match=r"lm-eval is not installed|nowhere: no such folder of task definitions"):
        attack(grid, chosen, attack_options, project=tmp_path)


def test_a_model_is_tried_before_an_adapter_is_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _project(tmp_path, adapters=True)
    grid, cells = _opened(tmp_path)
    (target,) = targets(grid, cells, AttackOptions())
    hooked: list[bool] = []

    def why_not_fast(loaded: Loaded) -> str:
        hooked.append(any(module._forward_hooks for module in loaded.model.modules()))
        return ""

    monkeypatch.setattr(engine, "_NO_CACHE", {})  # earlier tests have tried its class
    monkeypatch.setattr(engine, "why_not_fast", why_not_fast)
    attack(grid, [target._replace(todo=("quantisation",))], AttackOptions(), project=tmp_path)
    assert hooked == [False]


def test_two_models_are_never_held_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    second = '[models.second]\nspec = "tiny-qwen"\ndtype = "float32"\n'
    _project(tmp_path, adapters=True, grid=second + GRID.replace('["tiny"]', '["tiny", "second"]'))
    grid, cells = _opened(tmp_path)
    options = AttackOptions(steps=(1,))
    loaded_before, alive = list[weakref.ref[Any]](), list[int]()

    def load_model(settings: ModelSettings, device: str) -> Loaded:
        alive.append(sum(model() is not None for model in loaded_before))
        loaded = grid_run.load_model(settings, device)
        loaded_before.append(weakref.ref(loaded.model))
        return loaded

    monkeypatch.setattr(attack_run, "load_model", load_model)
    assert len(attack(grid, targets(grid, cells, options), options, project=tmp_path).written) == 4
    assert alive == [0, 0]


@pytest.mark.parametrize("how", ["merge", "stack"])
def test_what_is_rounded_is_all_there_is_of_the_model_and_of_its_control(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    stage = f'[stages.sft]\ntrain = ["forget"]\napply = "{how}"\nlr = 1e-2\nlora = {{ targets = ["q_proj"] }}\n\n'
    on_head = GRID.replace("alpha = 8.0", 'alpha = 8.0, targets = ["v_proj", "lm_head"]')
    _project(tmp_path, adapters=True, grid=stage + on_head + 'stages = ["sft"]\n')
    grid, cells = _opened(tmp_path)
    (target,) = targets(grid, cells, AttackOptions())
    rounded = list[set[str]]()

    @contextmanager
    def watched(loaded: Loaded, *arguments: Any) -> Iterator[None]:
        linear = {name: layer for name, layer in loaded.model.named_modules() if isinstance(layer, nn.Linear)}
        before = {name: layer.weight for name, layer in linear.items()}
        with quantised(loaded, *arguments), torch.no_grad():
            for layer in linear.values():  # an adapter left on the layer would add to its weights
                assert torch.equal(layer(torch.eye(layer.in_features)[None])[0].T, layer.weight)
            rounded.append({name for name, layer in linear.items() if layer.weight is not before[name]})
            yield

    monkeypatch.setattr(attacks_on_cell, "quantised", watched)
    assert attack(grid, [target._replace(todo=("quantisation",))], AttackOptions(), project=tmp_path).failed == []
    first, *others = rounded
    assert "lm_head" in first
    assert others == [first] * 3  # 8 and 4 bits, each with its control


def test_attacks_take_all_seeds_and_go_on_with_the_attack_in_flight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _project(tmp_path, adapters=True, grid=f"{GRID}seeds = [0, 1, 2]\n")
    grid, cells = _opened(tmp_path)
    options = AttackOptions(steps=(1,))
    assert [len(targets(grid, cells, options._replace(seeds=seeds))) for seeds in (0, 1, 2, 9)] == [3, 1, 2, 3]
    chosen = targets(grid, cells, options._replace(seeds=2))
    assert [target.cell.seed for target in chosen] == [0, 1]
    assert [target.todo for target in chosen] == [("relearning", "quantisation")] * 2
    # The tasks, which measure the cost of unlearning, run on the first seed only.
    tasks = targets(grid, cells, options._replace(tasks=("t",)))
    assert [target.todo for target in tasks] == [("relearning", "quantisation", "tasks")] + [
        target.todo for target in chosen
    ]

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(attacks_on_cell, "quantised", stop)
        with pytest.raises(KeyboardInterrupt):
            attack(grid, chosen, options, project=tmp_path)
    before = _attack_files(grid.folder)
    assert [path.name.partition("-")[0] for path in before] == ["relearning"]
    remaining = targets(grid, cells, options._replace(seeds=2))
    assert [target.todo for target in remaining] == [("quantisation",), ("relearning", "quantisation")]
    assert len(attack(grid, remaining, options, project=tmp_path).written) == 3
    assert len(list(grid.folder.glob("attacks/*/*.json"))) == 4
    assert before.items() <= _attack_files(grid.folder).items()
    text = write_report([grid.folder], tmp_path / "report").markdown.read_text()
    lines = [line for line in text.splitlines() if "lr 0.0001, 1 steps" in line and line.startswith("| cities")]
    assert len(lines) == 3
    assert all("seed 0" in line and "seed 1" in line and "seed 2" not in line for line in lines)


def test_seeds_without_an_adapter_are_left_out_where_another_has_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = _project(tmp_path, adapters=True, more=["--seed", "1"], grid=f"{GRID}seeds = [0, 1]\n")
    assert _run(["eval", "run", *options]) == 0
    grid, cells = _opened(tmp_path)
    messages: list[str] = []
    (target,) = targets(grid, cells, AttackOptions(), say=messages.append)
    assert (target.cell.seed, target.todo) == (1, ("relearning", "quantisation"))
    assert messages == [f"{grid.folder}: 1 further seeds have no adapter and are left out; --save-adapters keeps them"]


def test_relearning_that_diverged_is_said_and_reported(tmp_path: Path) -> None:
    _project(tmp_path, adapters=True, grid=f"{GRID}seeds = [0, 1, 2, 3]\n")
    grid, cells = _opened(tmp_path)
    options, messages = AttackOptions(lr=1e20), list[str]()
    chosen = [target._replace(todo=("relearning",)) for target in targets(grid, cells, options)]
    written = attack(grid, chosen, options, project=tmp_path, say=messages.append).written
    for content in (json.loads(path.read_bytes()) for path in written):
        label = next(target.cell.label for target in chosen if target.cell.id == content["cell"])
        assert {f"{label}: relearning {note}" for note in content["notes"]} <= set(messages)
        assert {f"{label}: relearning on {curve['tuned_on']}, 64 steps" for curve in content["relearning"]} <= set(
            messages
        )
        for curve in content["relearning"]:
            for points in (curve["points"], curve["control"]):
                assert [point["step"] for point in points] == [0, *STEPS]
    assert any("on forget facts: tuning of the unlearned model ended early" in line for line in messages)
    assert "lr 1e+20, 64 steps" in write_report([grid.folder], tmp_path / "report").markdown.read_text()


def test_relearning_of_one_subject_is_said_and_not_a_crash(tmp_path: Path) -> None:
    _project(tmp_path, adapters=True)
    grid, cells = _opened(tmp_path)
    (target,) = targets(grid, cells, AttackOptions())
    sets = grid.sets["pretrained"]
    one_fact = grid._replace(sets={"pretrained": sets._replace(forget={"rare": sets.forget["rare"][:1]})})
    summary = attack_forecast.forecast(one_fact, cells, [target], AttackOptions())
    assert summary.startswith("1 cell to attack: 0 curves of relearning, each of 64 steps, and 4 models with rounded")
    outcome = attack(one_fact, [target._replace(todo=("relearning",))], AttackOptions(), project=tmp_path)
    assert outcome.written == []
    assert "facts of at least two subjects" in outcome.failed[0]


def test_unrelated_facts_share_a_relation_and_no_subject() -> None:
    items = cities()
    other = items[1]._replace(relation="P36")
    assert unrelated({"a": [items[0], items[1], other]}, items[:1]) == [items[1]]


def test_what_relearning_tunes_on_does_not_depend_on_the_order_of_the_file() -> None:
    items = cities()
    rows = sample(items, 4)
    assert len({item.id for item in rows}) == 4
    assert rows == sample(items[::-1], 4) != items[:4]
    assert sample([*items, *items], 99) == sample(items, len(items))  # each fact once
    # Two files may give the same ids to different facts.
    others = [item._replace(question=f"{item.question} Tell me.") for item in items]
    assert sample([*items, *others], 99) == sample([*others, *items], 99)
    assert len(sample([*items, *others], 99)) == 2 * len(items)
