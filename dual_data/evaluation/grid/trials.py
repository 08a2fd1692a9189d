"""Tries the methods of a grid before a model is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dual_data.errors import UsageError
from dual_data.evaluation.grid.cells import Cell, Grid
from dual_data.evaluation.grid.tokenised import Tokenised
from dual_data.evaluation.methods import method_named
from dual_data.evaluation.results import BASE
from dual_data.evaluation.training.trial import try_method


def try_methods(grid: Grid, cells: Iterable[Cell], tokenised: Mapping[str, Tokenised]) -> None:
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
