"""What a model's cells are trained on and asked, tokenised once for all stages, seeds and methods."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from transformers import PreTrainedTokenizerBase

from dual_data.evaluation.grid.cells import Cell, Grid
from dual_data.evaluation.measuring.workload import Workload, build_workload
from dual_data.evaluation.rows.data import Item
from dual_data.evaluation.rows.encoding import Encoded, TrainingRows, encode
from dual_data.evaluation.rows.panel import TokenisedPanel, tokenise_panel

_Rows = tuple[Item, ...]


class Tokenised:
    """The token ids of a grid for one tokenizer. Results are kept by the rows themselves, which stages may share."""

    def __init__(self, grid: Grid, tokenizer: PreTrainedTokenizerBase) -> None:
        self._grid, self.tokenizer = grid, tokenizer
        self._encoded: dict[_Rows, list[Encoded]] = {}
        self._workloads: dict[tuple[tuple[tuple[str, _Rows], ...], _Rows], Workload] = {}

    def encoded(self, items: Sequence[Item]) -> list[Encoded]:
        """Rows to train on."""
        rows = tuple(items)
        if rows not in self._encoded:
            self._encoded[rows] = encode(self.tokenizer, items, self._grid.profile)
        return self._encoded[rows]

    def tokens(self, items: Sequence[Item]) -> int:
        """Number of tokens of rows: prompts, answers and ends of turns."""
        return sum(len(row.prompt_ids) + len(row.answer_ids) + len(row.end_ids) for row in self.encoded(items))

    def training_rows(self, cell: Cell) -> TrainingRows:
        """All that a cell is trained on."""
        grid = self._grid
        sets = grid.sets[cell.stage]
        forget = sets.forget[cell.set]
        return TrainingRows(
            self.encoded(forget),
            self.encoded(sets.retain_train),
            cell.seed,
            self.encoded(grid.preferred(cell.stage, cell.set, cell.method)),
            forget,
        )

    def workload(self, stage: str, name: str) -> Workload:
        """All that the cells of a stage and a set to forget are asked. Raises InputError as `build_workload`."""
        grid = self._grid
        sets, demonstrations = grid.evaluated(stage, name), grid.sets[stage].retain_train
        key = (tuple((other, tuple(items)) for other, items in sets.items()), tuple(demonstrations))
        if key not in self._workloads:
            self._workloads[key] = build_workload(
                self.tokenizer, sets, grid.profile, grid.measure, demonstrations=demonstrations, panel=self._panel
            )
        return self._workloads[key]

    @cached_property
    def _panel(self) -> TokenisedPanel | None:
        panel = self._grid.panel
        return tokenise_panel(self.tokenizer, panel) if panel is not None else None
