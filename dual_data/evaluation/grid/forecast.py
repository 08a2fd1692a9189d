"""What can be told of a grid before it is run: whether its methods work, and what it will take.

That is an estimate: steps, tokens and operations, and from these the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from dual_data.errors import UsageError
from dual_data.evaluation.grid.cells import Cell, Grid, identity_of, is_done
from dual_data.evaluation.grid.tokenised import Tokenised
from dual_data.evaluation.measuring.embedding import embedding_model
from dual_data.evaluation.measuring.workload import check_workload
from dual_data.evaluation.methods import method_named
from dual_data.evaluation.models.loading import DTYPES, Identity
from dual_data.evaluation.results import BASE, cell_path, read_result
from dual_data.evaluation.training.full import bytes_per_parameter
from dual_data.evaluation.training.lora import expect_targets
from dual_data.evaluation.training.trial import try_method

_RATE = {"cpu": 5e10, "cuda": 1e14}
"""Operations per second assumed before any cell is done: of two CPU cores; half of a large GPU's rate in training."""
_SAMPLE = 50
"""Cells, about, whose results are read for the rate."""
_FEWEST = 500_000
"""Parameters that a model counts for at least: what a token costs of a small one, 20 us to measure and 40 to train on,
is not the arithmetic. Ten cells of a model of 31,392 took 20 s of one core: 158,000 training, 758,000 measured tokens.
"""


class Line(NamedTuple):
    """One cell."""

    cell: Cell
    done: bool
    steps: int
    training_tokens: int
    """Tokens of the rows of all epochs; shared prefixes are computed once, so fewer go through the model."""
    measured_tokens: int
    """Tokens of prompts, scored answers, and generations of maximal length."""
    operations: float


class Plan(NamedTuple):
    """All cells and their totals."""

    lines: list[Line]
    summary: str
    """Number of cells, tokens, time and memory of what is to do."""


def forecast(grid: Grid, cells: Sequence[Cell], device: str, *, adapters: bool = False) -> Plan:
    """Estimate what `cells` take; with `adapters`, cells without theirs are to do. Loads tokenizers but no weights.

    Raises UsageError where a model lacks a layer that an adapter of the cells to do is for, where a row of theirs is
    longer than it takes, and where a method of theirs fails in a trial, as `_try_methods`; DualDataError where they are
    to be embedded without the package for it.
    """
    identities = {name: identity_of(settings) for name, settings in grid.models.items()}
    tokenised = {name: Tokenised(grid, identity.tokenizer) for name, identity in identities.items()}
    lines = estimated(grid, cells, identities, tokenised, adapters=adapters)
    to_do = [line for line in lines if not line.done]
    if to_do and grid.measure.minilm:
        embedding_model(f"grids.{grid.name}.minilm: ")
    _expect_targets(grid, [line.cell for line in to_do], identities)
    for model, stage, name in dict.fromkeys((line.cell.model, line.cell.stage, line.cell.set) for line in to_do):
        check_workload(identities[model].room, tokenised[model].workload(stage, name), grid.preset.max_new_tokens)
    _try_methods(grid, [line.cell for line in to_do], tokenised)
    operations = sum(line.operations for line in to_do)
    speed, basis = rate(grid, lines, device)
    most = max((identities[cell.model].parameters * _bytes(grid, cell.model) for cell in cells), default=0)
    size = f"{most / 2**30:.1f}" if most >= 2**30 / 10 else "less than 0.1"
    memory = f"weights{' and optimiser' if grid.preset.full else ''} take {size} GiB"
    text = (
        f"{len(lines)} cells, {len(to_do)} to do: {sum(line.training_tokens for line in to_do):,} training tokens, "
        f"{sum(line.measured_tokens for line in to_do):,} measured tokens, {duration(operations / speed)} on "
        f"{device} ({basis}); {memory}; training stages come on top"
    )
    return Plan(lines, text)


def _expect_targets(grid: Grid, cells: Iterable[Cell], identities: Mapping[str, Identity]) -> None:
    """Raise UsageError where adapters of `cells` or of their stages are for a layer that the model lacks."""
    for model, stage, unlearns in dict.fromkeys((cell.model, cell.stage, cell.method != BASE) for cell in cells):
        recipe, identity = grid.stages[stage], identities[model]
        trained = [grid.preset.lora] if unlearns and not grid.preset.full else []
        for lora in (*trained, *([recipe.lora] if recipe is not None else [])):
            expect_targets(lora.targets, identity.linear, f"{model}: {identity.architecture}")


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
            try_method(
                method_named(name),
                grid.preset.methods[name],
                rows.cell_data(cell),
                rows.tokenizer,
                grid.preset,
                train_end=grid.profile.train_end,
            )
        except UsageError as error:
            mistakes.append(str(error))
    if mistakes:
        raise UsageError("\n".join(mistakes))


def estimated(
    grid: Grid,
    cells: Sequence[Cell],
    identities: Mapping[str, Identity],
    tokenised: Mapping[str, Tokenised],
    *,
    adapters: bool = False,
) -> list[Line]:
    """What each cell takes; with `adapters`, one without its adapter is not done."""
    sizes: dict[tuple[str, str, str], tuple[int, int, int, int]] = {}
    lines = []
    for cell in cells:
        base = (cell.model, cell.stage, cell.set)
        if base not in sizes:
            sizes[base] = _sizes(grid, cell, tokenised[cell.model])
        done = is_done(grid.folder, cell, adapter=adapters)
        lines.append(_line(grid, cell, identities[cell.model], sizes[base], done=done))
    return lines


def _sizes(grid: Grid, cell: Cell, tokenised: Tokenised) -> tuple[int, int, int, int]:
    """(tokens of all forget rows, mean tokens of a retain row, number of forget rows, measured tokens)."""
    sets = grid.sets[cell.stage]
    forget = sets.forget[cell.set]
    workload = tokenised.workload(cell.stage, cell.set)
    measured = sum(
        len(request.prompt)
        + sum(len(answer.ids) for answer in request.answers)
        + (grid.preset.max_new_tokens if request.generate else 0)
        for request in (*workload.requests, *(workload.panel.requests if workload.panel is not None else ()))
    )
    retain = tokenised.tokens(sets.retain_train) // len(sets.retain_train)
    return tokenised.tokens(forget), retain, len(forget), measured


def _line(grid: Grid, cell: Cell, identity: Identity, sizes: tuple[int, int, int, int], *, done: bool) -> Line:
    forget, retain_row, rows, measured = sizes
    steps = training = 0
    if cell.method != BASE:
        kinds = method_named(cell.method).kinds
        epoch = forget * (2 if "refusal" in kinds else 1) + (retain_row * rows if "retain" in kinds else 0)
        training = epoch * grid.preset.epochs
        steps = -(-rows // grid.preset.batch) * grid.preset.epochs
    # A frozen weight costs two operations per token forward and two backward; a trained one two more.
    backward = 6 if grid.preset.full else 4
    operations = counted(identity) * (float(backward) * training + 2.0 * measured)
    return Line(cell, done, steps, training, measured, operations)


def counted(identity: Identity) -> int:
    """The parameters by which the operations on a token are estimated."""
    return max(_FEWEST, identity.parameters)


def rate(grid: Grid, lines: Sequence[Line], device: str) -> tuple[float, str]:
    """Operations per second of the cells that are done on a CPU or a GPU, whichever `device` is, else the assumed rate.

    Also says which of the two it is. Of many results a sample is read, since each holds every item.
    """
    gpu = device.startswith("cuda")
    operations = seconds = 0.0
    done = [line for line in lines if line.done]
    for line in done[:: max(1, len(done) // _SAMPLE)]:
        result = read_result(cell_path(grid.folder, line.cell.id))
        run = result["run"]
        if run and result["provenance"]["device"].startswith("cpu") != gpu:
            seconds += (run["training_seconds"] + run["measuring_seconds"]) / run["cells_at_once"]
            operations += line.operations
    if seconds > 0:
        return operations / seconds, "by the cells that are done"
    return _RATE["cuda" if gpu else "cpu"], "a guess until a cell is done there"


def _bytes(grid: Grid, model: str) -> int:
    dtype = DTYPES[grid.models[model].dtype]
    return bytes_per_parameter(dtype) if grid.preset.full else dtype.itemsize


def duration(seconds: float) -> str:
    """A time as it is said in an estimate."""
    if seconds < 60:
        return "less than a minute"
    return f"about {seconds / 60:.0f} min" if seconds < 7200 else f"about {seconds / 3600:.1f} h"
