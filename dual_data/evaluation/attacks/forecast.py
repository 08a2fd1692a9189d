"""What attacks will take, which can be told before a model is loaded: operations, and from these the time."""

from __future__ import annotations

from collections.abc import Sequence

from dual_data.errors import InputError
from dual_data.evaluation.attack_results import RELEARNED_TOKENS
from dual_data.evaluation.attacks.quantisation import ROUNDERS
from dual_data.evaluation.attacks.relearning import BATCH, relearning_rows
from dual_data.evaluation.attacks.targets import AttackOptions, Target
from dual_data.evaluation.grid.cells import Cell, Grid, unloaded
from dual_data.evaluation.grid.forecast import counted, estimated, rate
from dual_data.evaluation.grid.tokenised import Tokenised
from dual_data.evaluation.rows.data import Item
from dual_data.system.progress import duration
from dual_data.text.display import count


def forecast(grid: Grid, cells: Sequence[Cell], chosen: Sequence[Target], options: AttackOptions) -> str:
    """Number of attacks and an estimate of their time, in a line; the tasks of lm-eval are not known here."""
    tokenised = {name: Tokenised(grid, unloaded(model).tokenizer) for name, model in grid.models.items()}
    curves = roundings = 0
    operations = 0.0
    bases = set[tuple[str, int | str]]()

    def models(cell: Cell, of_base: int | str) -> int:
        """Of a cell: itself and, once for all cells that start from it, the model before unlearning."""
        new = (cell.base, of_base) not in bases
        bases.add((cell.base, of_base))
        return 1 + new

    for target in chosen:
        cell, sets = target.cell, grid.sets[target.cell.stage]
        parameters, tokens = counted(unloaded(grid.models[cell.model])), tokenised[cell.model].tokens
        tuned, held_out = _relearning_rows(grid, cell) if "relearning" in target.todo else ({}, [])
        if tuned:
            number = models(cell, cell.seed)
            curves += number * len(tuned)
            scored = (len(options.steps) + 1) * (tokens(held_out) + RELEARNED_TOKENS * len(held_out))
            trained = max(options.steps) * sum(tokens(rows[:BATCH]) for rows in tuned.values())
            operations += number * parameters * (4.0 * trained + 2.0 * scored * len(tuned))
        if "quantisation" in target.todo:
            number = models(cell, "rounded")
            roundings += number * len(ROUNDERS)
            rows = [*sets.forget[cell.set] * number, *sets.retain_eval]
            measured = tokens(rows) + grid.preset.max_new_tokens * len(rows)
            operations += 2.0 * parameters * len(ROUNDERS) * measured
    speed, basis = rate(grid, estimated(grid, cells, tokenised), options.device)
    attacked = f"{count(len(chosen), 'cell')} to attack{', and the model before unlearning of each' if bases else ''}"
    text = (
        f"{attacked}: {count(curves, 'curve')} of relearning, each of {max(options.steps)} steps, and "
        f"{count(roundings, 'model')} with rounded weights; {duration(operations / speed)} on "
        f"{options.device} ({basis})"
    )
    return text + ("; tasks come on top" if any("tasks" in target.todo for target in chosen) else "")


def _relearning_rows(grid: Grid, cell: Cell) -> tuple[dict[str, list[Item]], list[Item]]:
    try:
        return relearning_rows(grid, cell)
    except InputError:  # of one subject alone: refused when it is run, which ends no other attack
        return {}, []
