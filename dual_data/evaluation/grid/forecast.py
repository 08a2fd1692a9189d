"""What can be told of a grid before it is run: whether its methods work, and what it will take.

That is an estimate: steps, tokens and operations, and from these the time; and the least memory.

The operations are those of the products of tokens with weights. A token takes a multiplication and an addition for each
weight, 2 in all. Backward, the gradient of the layer's input takes as many, and so does that of its weights: training
takes 6 (Kaplan et al. 2020, arXiv 2001.08361, section 2.1), and 4 where the weights are frozen below adapters, whose
own gradients are not computed. Weights of the embedding are looked up, and those of the head meet only the tokens
whose logits are read. Not counted are what adapters themselves and attention take, of which the latter grows with the
square of a row's length. What rows share at their beginning is counted for every row, though training and measuring
compute it once; the layers behind the one at which a method stops are counted, and so are all experts of a mixture.
Of a method that combines the gradients of several losses, with a backward pass for each, only one pass is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dual_data.errors import UsageError
from dual_data.evaluation.device.devices import cells_at_once, even_size
from dual_data.evaluation.grid.cells import Cell, Grid, is_done, unloaded
from dual_data.evaluation.grid.grid_run import RunOptions
from dual_data.evaluation.grid.tokenised import Tokenised
from dual_data.evaluation.measuring.workload import check_workload
from dual_data.evaluation.methods import method_named
from dual_data.evaluation.models.cache import embedding_model
from dual_data.evaluation.models.loading import DTYPES, Unloaded
from dual_data.evaluation.results import BASE, cell_path, measured_cells, read_result, seconds_of
from dual_data.evaluation.rows.data import Item
from dual_data.evaluation.training.full import bytes_per_parameter
from dual_data.evaluation.training.lora import expect_targets
from dual_data.evaluation.training.trial import try_method
from dual_data.statistics import Floats
from dual_data.system.progress import duration

_RATE = {"cpu": 5e10, "cuda": 1e14}
"""Operations per second assumed before any cell is done: of two CPU cores; half of a large GPU's rate in training."""
_SAMPLE = 50
"""Cells, about, whose results are read for the rate."""
_FEWEST = 500_000
"""Parameters that a model counts for at least: what a token costs of a small one, 20 us to measure and 40 to train on,
is not the arithmetic. Ten cells of a model of 31,392 took 20 s of one core: 158,000 training, 758,000 measured tokens.
"""


class CellForecast(NamedTuple):
    """What one cell takes, and whether it is done."""

    cell: Cell
    done: bool
    steps: int
    training_tokens: int
    """Tokens of the rows of all epochs; shared prefixes are computed once, so fewer go through the model."""
    measured_tokens: int
    """Tokens of prompts, scored answers, and generations of maximal length."""
    operations: float
    """By which time is estimated: all parameters count for every token, those of small models for more."""
    flop: float
    """Floating-point operations, as the module counts them."""


class _Sizes(NamedTuple):
    """What the cells of one set go through, each [tokens, tokens whose logits are read]."""

    rows: int
    """Number of forget rows."""
    forget: Floats
    retain: Floats
    """Of all retain rows."""
    retain_row: Floats
    """Their mean; a whole number of tokens."""
    measured: Floats


class Forecast(NamedTuple):
    """What all cells take, and in sum."""

    lines: list[CellForecast]
    summary: str
    """Number of cells, tokens, operations, time and least memory of what is to do."""


def forecast(grid: Grid, cells: Sequence[Cell], options: Sequence[RunOptions], *, shard: bool = False) -> Forecast:
    """Estimate what `cells` take, with options for each device, which share one base if `shard`.

    Loads tokenizers but no weights. Raises UsageError where a model lacks a layer that an adapter of the cells to do is
    for, where a row of theirs is longer than it takes, and where a method fails in a trial, as `_try_methods`;
    DualDataError where they are to be embedded without the package for it.
    """
    first, sharing = options[0], len(options) if shard else 1
    device = first.device
    tokenised = {name: Tokenised(grid, unloaded(model).tokenizer) for name, model in grid.models.items()}
    lines = estimated(grid, cells, tokenised, adapters=first.save_adapters)
    to_do = [line for line in lines if not line.done]
    if to_do and grid.measure.minilm:
        embedding_model(f"grids.{grid.name}.minilm: ")
    _expect_targets(grid, [line.cell for line in to_do])
    for model, stage, name in dict.fromkeys((line.cell.model, line.cell.stage, line.cell.set) for line in to_do):
        room = unloaded(grid.models[model]).room
        check_workload(room, tokenised[model].workload(stage, name), grid.preset.max_new_tokens)
    _try_methods(grid, [line.cell for line in to_do], tokenised)
    operations = sum(line.operations for line in to_do)
    speed, basis = rate(grid, lines, device)
    least, held = least_memory(grid, cells, device, at_once=first.cells_at_once, sharing=sharing)
    busy = max(1, min(len(options), len(to_do)))
    where = device if busy == 1 else f"{busy} devices"
    staged = any(grid.stages[line.cell.stage] is not None for line in to_do)
    text = (
        f"{len(lines)} cells, {len(to_do)} to do: {sum(line.training_tokens for line in to_do):,} training tokens, "
        f"{sum(line.measured_tokens for line in to_do):,} measured tokens, "
        f"{arithmetic(sum(line.flop for line in to_do))} if rows shared no beginnings, "
        f"{duration(operations / speed / busy)} on {where} ({basis}); at least {size(least)} of memory "
        f"a device ({held}; activations add to it)"
        f"{'; training stages come on top, unless they are kept from before' if staged else ''}"
    )
    return Forecast(lines, text)


def _expect_targets(grid: Grid, cells: Iterable[Cell]) -> None:
    """Raise UsageError where adapters of `cells` or of their stages are for a layer that the model lacks."""
    for model, stage, unlearns in dict.fromkeys((cell.model, cell.stage, cell.method != BASE) for cell in cells):
        recipe, known = grid.stages[stage], unloaded(grid.models[model])
        trained = [grid.preset.lora] if unlearns and not grid.preset.full else []
        for lora in (*trained, *([recipe.lora] if recipe is not None else [])):
            expect_targets(lora.targets, known.linear, f"{model}: {known.architecture}")


def _try_methods(grid: Grid, cells: Iterable[Cell], tokenised: Mapping[str, Tokenised]) -> None:
    """Try every method of `cells` on the rows of its first cell, as `try_method`; `tokenised` is by model.

    Raises UsageError with the mistakes of all methods, which would otherwise show in each of their cells, after the
    model before unlearning was measured.
    """
    first_cells: dict[str, Cell] = {}
    for cell in cells:
        if cell.method != BASE:
            first_cells.setdefault(cell.method, cell)
    mistakes = []
    for name, cell in first_cells.items():
        rows = tokenised[cell.model]
        try:
            data = rows.training_rows(cell)
            try_method(method_named(name), grid.preset.methods[name], data, rows.tokenizer, grid.preset)
        except UsageError as error:
            mistakes.append(str(error))
    if mistakes:
        raise UsageError("\n".join(mistakes))


def estimated(
    grid: Grid, cells: Sequence[Cell], tokenised: Mapping[str, Tokenised], *, adapters: bool = False
) -> list[CellForecast]:
    """What each cell takes; with `adapters`, one without its adapter is not done. `tokenised` is by model."""
    sizes: dict[tuple[str, str, str], _Sizes] = {}
    lines = []
    for cell in cells:
        base = (cell.model, cell.stage, cell.set)
        if base not in sizes:
            sizes[base] = _sizes(grid, cell, tokenised[cell.model])
        done = is_done(grid.folder, cell, adapter=adapters)
        lines.append(_cell_forecast(grid, cell, sizes[base], done=done))
    return lines


def _sizes(grid: Grid, cell: Cell, tokenised: Tokenised) -> _Sizes:
    sets = grid.sets[cell.stage]
    forget = sets.forget[cell.set]
    workload = tokenised.workload(cell.stage, cell.set)
    prompts = read = 0
    for request in (*workload.requests, *(workload.panel.requests if workload.panel is not None else ())):
        prompts += len(request.prompt)
        read += sum(len(answer.ids) for answer in request.answers)
        read += grid.preset.max_new_tokens if request.generate else 0

    def trained(items: Sequence[Item]) -> Floats:
        rows = tokenised.encoded(items)
        labels = sum(len(row.answer_ids) + len(row.end_ids) for row in rows)
        return np.array([tokenised.tokens(items), labels], dtype=float)

    retain = trained(sets.retain_train)
    retain_row = retain / len(sets.retain_train)
    retain_row[0] //= 1
    return _Sizes(len(forget), trained(forget), retain, retain_row, np.array([prompts + read, read], dtype=float))


def _cell_forecast(grid: Grid, cell: Cell, sizes: _Sizes, *, done: bool) -> CellForecast:
    known, steps = unloaded(grid.models[cell.model]), 0
    trained, reference = np.zeros(2), np.zeros(2)
    if cell.method != BASE:
        method = method_named(cell.method)
        of_kind = {"forget": sizes.forget, "refusal": sizes.forget, "retain": sizes.retain_row * sizes.rows}
        trained = sum((of_kind[kind] for kind in method.kinds), trained)
        # The reference runs once on all rows of a kind.
        reference = sum(((of_kind | {"retain": sizes.retain})[kind] for kind in method.reference), reference)
        if method.at_layer:
            trained[1] = reference[1] = 0.0
        if grid.preset.forget_kl:
            # Of every token of the forget rows; the reference's logits are computed in each epoch.
            trained[1] += sizes.forget[0]
            reference += sizes.forget[0] * np.array([1.0, 1.0 + grid.preset.epochs])
        trained *= grid.preset.epochs
        steps = -(-sizes.rows // grid.preset.batch) * grid.preset.epochs
    training, measured = int(trained[0]), int(sizes.measured[0])
    # A frozen weight costs two operations per token forward and two backward; a trained one two more.
    each = 6.0 if grid.preset.full else 4.0
    operations = counted(known) * (each * training + 2.0 * measured)
    flop = (each * trained + 2.0 * (reference + sizes.measured)) @ [known.body, known.head]
    return CellForecast(cell, done, steps, training, measured, operations, float(flop))


def counted(known: Unloaded) -> int:
    """The parameters by which the operations on a token are estimated."""
    return max(_FEWEST, known.parameters)


def rate(grid: Grid, lines: Sequence[CellForecast], device: str) -> tuple[float, str]:
    """Operations per second of the cells that are done on a CPU or a GPU, whichever `device` is, else the assumed rate.

    Also says which of the two it is. Of many results a sample is read, since each holds every item.
    """
    gpu = device.startswith("cuda")
    operations = seconds = 0.0
    done = [(line.cell.id, line.operations) for line in lines if line.done] or _done_besides(grid, lines)
    for name, of_cell in done[:: max(1, len(done) // _SAMPLE)]:
        result = read_result(cell_path(grid.folder, name))
        run = result["run"]
        if run and result["provenance"]["device"].startswith("cpu") != gpu:
            seconds += seconds_of(run)
            operations += of_cell
    if seconds > 0:
        return operations / seconds, "by the cells that are done"
    return _RATE["cuda" if gpu else "cpu"], "a guess until a cell is done there"


def _done_besides(grid: Grid, lines: Iterable[CellForecast]) -> list[tuple[str, float]]:
    """Ids and operations of the results in the folder, which other parts of the grid have left there.

    A cell is taken to need as many operations as `lines` of its model do on average, before unlearning or with it.
    """
    alike: dict[tuple[str, bool], list[float]] = {}
    for line in lines:
        alike.setdefault((line.cell.model, line.cell.method == BASE), []).append(line.operations)
    means = {kind: sum(operations) / len(operations) for kind, operations in alike.items()}
    found = (
        (name, means.get((cell["model"], cell["method"] == BASE))) for name, cell in measured_cells(grid.folder).items()
    )
    return [(name, operations) for name, operations in found if operations is not None]


def least_memory(grid: Grid, cells: Sequence[Cell], device: str, *, at_once: int, sharing: int) -> tuple[float, str]:
    """The bytes that a device must have for the largest model of `cells` at least, and what takes them.

    Those of tensors that are there through all of training. Activations, logits and the cache of measuring add to them;
    how much they take depends on layouts and kernels, and rows are divided until they fit.
    """
    together = Counter(cell.sweep for cell in cells if cell.method != BASE)
    lora, most = grid.preset.lora, 0.0
    for model in {cell.model for cell in cells}:
        known, dtype = unloaded(grid.models[model]), DTYPES[grid.models[model].dtype]
        weights, trained = known.parameters, 0
        rates = max((rates for sweep, rates in together.items() if sweep[0] == model), default=0)
        if rates and grid.preset.full:
            weights, trained = 0, known.parameters
        elif rates:
            batch = even_size(rates, (at_once or cells_at_once(device, known.parameters)) * sharing)
            trained = -(-batch // sharing) * lora.rank * sum(known.linear[target] for target in lora.targets)
        most = max(most, weights * dtype.itemsize / sharing + trained * bytes_per_parameter(dtype))
    if not together:
        return most, "weights"
    return most, f"weights, {'' if grid.preset.full else 'adapters, '}gradients and moments"


def size(amount: float) -> str:
    """A number of bytes as it is said in an estimate."""
    return f"{amount / 2**30:.1f} GiB" if amount >= 2**30 / 10 else f"{amount / 2**20:.1f} MiB"


def arithmetic(flop: float) -> str:
    """A number of operations as it is said in an estimate."""
    amount, unit = (flop / 1e15, "PFLOP") if flop >= 1e15 else (flop / 1e12, "TFLOP")
    return f"{amount:,.0f} {unit}" if amount >= 100 else f"{amount:.2g} {unit}"
