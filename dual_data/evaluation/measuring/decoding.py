"""Greedy decoding on a static cache: rows are removed when they end, and on a GPU a step is one graph replay.

A step of a small model is bound by kernel launches whatever the batch; replaying a captured graph is one launch. There
are few shapes (row counts halve as rows end), so an engine records few graphs, each once.
"""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dual_data.evaluation.device.memory import is_out_of_memory
from dual_data.evaluation.device.sharding import anywhere
from dual_data.evaluation.measuring.static_cache import StaticCache
from dual_data.evaluation.models.decoder import head, last_hidden
from dual_data.evaluation.training.cuda_graph import recording, why_not_recorded

CHECK_EVERY = 8
"""Steps between two checks of which rows have ended: a device waits for each check, a processor need not."""


class Slots:
    """The decoding state of `rows` rows; every tensor keeps its address, so graphs can be replayed."""

    def __init__(self, rows: int, width: int, device: torch.device, cache: StaticCache | None = None) -> None:
        self.cache = cache or StaticCache(rows, width)
        self.ids = torch.zeros(rows, 1, dtype=torch.long, device=device)
        self.positions = torch.zeros(rows, 1, dtype=torch.long, device=device)
        self.columns = torch.zeros(1, dtype=torch.long, device=device)
        self.allowed = torch.zeros(rows, 1, 1, width, dtype=torch.bool, device=device)
        self.chunk = torch.zeros(rows, CHECK_EVERY, dtype=torch.long, device=device)
        self.chunk_column = torch.zeros(1, dtype=torch.long, device=device)
        self.graphs: dict[object, torch.cuda.CUDAGraph | None] = {}
        """By key of the model's state; None after the first step, which is the warm-up."""

    def step(self, model: PreTrainedModel) -> None:
        """Feed the last token of every row and append the next one to `chunk`. Never waits for the device."""
        self.allowed.index_fill_(3, self.columns, True)
        cache = self.cache.at(self.columns, self.cache.width)
        hidden = last_hidden(model, self.ids, self.allowed, self.positions, cache)
        self.ids.copy_(head(model, hidden[:, -1]).argmax(-1, keepdim=True))
        self.chunk.index_copy_(1, self.chunk_column, self.ids)
        self.positions.add_(1)
        self.columns.add_(1)
        self.chunk_column.add_(1)

    def take_rows(self, other: Slots, rows: Tensor) -> None:
        """Continue with `rows` of another state."""
        self.cache.take_rows(other.cache, rows)
        self.ids.copy_(other.ids[rows])
        self.positions.copy_(other.positions[rows])
        self.columns.copy_(other.columns)
        self.allowed.copy_(other.allowed[rows])


_EAGER: WeakKeyDictionary[PreTrainedModel, str] = WeakKeyDictionary()
"""Models of which a step could not be recorded, and why, so that each is tried only once."""


class Decoder:
    """Decodes batches of one model, and keeps slots and graphs between batches."""

    def __init__(self, model: PreTrainedModel, stop_ids: Sequence[int], *, graphs: bool) -> None:
        self.model = model
        self.graphs = graphs and model not in _EAGER
        self.not_recorded = _EAGER.get(model, "") if graphs else ""
        """Why steps are eager although `graphs` was asked for; empty where they are not."""
        self.device = next(model.parameters()).device
        self.check_every = CHECK_EVERY if graphs or self.device.type != "cpu" else 1
        self.stops = torch.tensor(sorted(stop_ids), dtype=torch.long, device=self.device)
        self._slots: dict[tuple[int, int], Slots] = {}

    def slots(self, rows: int, width: int, larger: StaticCache | None = None) -> Slots:
        """State for `rows` rows; with graphs, which depend on its tensors, the same object for the same shape.

        `larger` is a cache of more rows, no longer needed, whose first rows a new state may reuse as its memory.
        """
        if not self.graphs:
            return Slots(rows, width, self.device)
        if (rows, width) not in self._slots:
            # Batches are sorted by length, so those of other widths are finished; each of them holds a cache.
            self._slots = {shape: slots for shape, slots in self._slots.items() if shape[1] == width}
            cache = None if larger is None else larger.beginning(rows)
            self._slots[rows, width] = Slots(rows, width, self.device, cache)
        slots = self._slots[rows, width]
        if larger is None:  # a new batch; the cache may still have NaN from rows of a diverged cell
            slots.cache.clear()
        return slots

    def clear(self) -> None:
        """Drop all slots and graphs, to free memory."""
        self._slots.clear()

    @torch.no_grad()
    def decode(
        self, slots: Slots, first: Tensor, wanted: Sequence[bool], *, cells: int, most: int, key: object = None
    ) -> list[list[int]]:
        """Token ids of every row up to a stop token, which is left out, or up to `most` tokens.

        `slots` are in the state in which `first` [rows] is fed next; rows that are not `wanted` return no tokens. Rows
        are grouped by cell, and every cell keeps as many rows as the cell with the most unfinished ones. `key` is the
        state of the model (which adapters are on), since each state needs its own graphs.
        """
        rows = len(first)
        output = torch.full((rows, most), -1, dtype=torch.long, device=self.device)
        output[:, 0] = first
        ended = torch.isin(first, self.stops) | ~torch.tensor(list(wanted), device=self.device)
        owner = torch.arange(rows, device=self.device)
        slots.ids.copy_(first[:, None])
        done = 1
        while done < most:
            keep = _alive(ended.view(cells, -1), self.graphs)
            if not anywhere(keep is not None):
                break
            if keep is not None and keep.shape[1] * cells < len(owner):
                picked = (keep + torch.arange(cells, device=self.device)[:, None] * (len(owner) // cells)).flatten()
                smaller = self.slots(len(picked), slots.cache.width, slots.cache)
                smaller.take_rows(slots, picked)
                slots, owner, ended = smaller, owner[picked], ended[picked]
            steps = min(self.check_every, most - done)
            slots.chunk_column.zero_()
            for _ in range(steps):
                self._step(slots, key)
            new_tokens = slots.chunk[:, :steps]
            output[owner, done : done + steps] = new_tokens
            ended = ended | torch.isin(new_tokens, self.stops).any(1)
            done += steps
        return _cut(output.tolist(), set(self.stops.tolist()), wanted)

    def _step(self, slots: Slots, key: object) -> None:
        if not self.graphs or key not in slots.graphs:
            slots.step(self.model)
            slots.graphs[key] = None
            return
        graph = slots.graphs[key]
        if graph is None:
            try:
                slots.graphs[key] = graph = self._capture(slots)
            except RuntimeError as error:
                if is_out_of_memory(error):
                    raise
                _EAGER[self.model] = self.not_recorded = why_not_recorded(error)
                self.graphs = False
                self.clear()
                slots.step(self.model)
                return
        graph.replay()

    def _capture(self, slots: Slots) -> torch.cuda.CUDAGraph:
        """Record one step, without executing it. All graphs share a pool, since steps leave nothing in it."""
        captured = [graph for state in self._slots.values() for graph in state.graphs.values() if graph is not None]
        graph = torch.cuda.CUDAGraph()
        with recording(graph, captured[0].pool() if captured else torch.cuda.graph_pool_handle()):
            slots.step(self.model)
        return graph


def _alive(ended: Tensor, halves: bool) -> Tensor | None:
    """Which rows of each cell [cells, rows] continue: [cells, count], the same count for all; None when all have ended.

    With `halves` the count is the current one, halved zero or more times, so that there are few shapes.
    """
    most = int((~ended).sum(1).max())
    if most == 0:
        return None
    count = ended.shape[1]
    if halves:
        while count % 2 == 0 and most <= count // 2:
            count //= 2
    else:
        count = most
    # The stable sort puts unfinished rows first; ended ones fill up the rest.
    rows = torch.argsort(ended.int(), dim=1, stable=True)[:, :count]
    return rows.sort(1).values


def _cut(rows: list[list[int]], stops: set[int], wanted: Sequence[bool]) -> list[list[int]]:
    texts = []
    for row, is_wanted in zip(rows, wanted, strict=True):
        end = next((index for index, token in enumerate(row) if token in stops or token < 0), len(row))
        texts.append(row[:end] if is_wanted else [])
    return texts
