"""Greedy decoding on a static cache: rows leave when they end, and on a GPU a step is one graph replay.

A step of a small model is bound by kernel launches, whatever the batch; replaying a captured graph launches once.
Shapes are few (row counts halve as rows end), so that a grid of cells captures each graph once.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dual_data.evaluation.device.sharding import anywhere
from dual_data.evaluation.measuring.static_cache import StaticCache
from dual_data.evaluation.models.loading import head, last_hidden

CHECK_EVERY = 8
"""Steps between two looks at which rows have ended: each look waits for the device."""


class Slots:
    """The state of `rows` rows in the middle of decoding; every tensor stays where it is, so graphs can be replayed."""

    def __init__(self, rows: int, width: int, device: torch.device, cache: StaticCache | None = None) -> None:
        self.cache = cache or StaticCache(rows, width)
        self.ids = torch.zeros(rows, 1, dtype=torch.long, device=device)
        self.positions = torch.zeros(rows, 1, dtype=torch.long, device=device)
        self.columns = torch.zeros(1, dtype=torch.long, device=device)
        self.allowed = torch.zeros(rows, 1, 1, width, dtype=torch.bool, device=device)
        self.chunk = torch.zeros(rows, CHECK_EVERY, dtype=torch.long, device=device)
        self.place = torch.zeros(1, dtype=torch.long, device=device)
        self.graphs: dict[object, torch.cuda.CUDAGraph | None] = {}
        """None where the first step was taken, which warms up."""

    def step(self, model: PreTrainedModel) -> None:
        """Feed the last token of every row, append the next one to `chunk`. Nothing here waits for the device."""
        self.allowed.index_fill_(3, self.columns, True)
        cache = self.cache.at(self.columns, self.cache.width)
        hidden = last_hidden(model, self.ids, self.allowed, self.positions, cache)
        self.ids.copy_(head(model, hidden[:, -1]).argmax(-1, keepdim=True))
        self.chunk.index_copy_(1, self.place, self.ids)
        self.positions.add_(1)
        self.columns.add_(1)
        self.place.add_(1)

    def take_rows(self, other: Slots, rows: Tensor) -> None:
        """Go on with some rows of another state."""
        self.cache.take_rows(other.cache, rows)
        self.ids.copy_(other.ids[rows])
        self.positions.copy_(other.positions[rows])
        self.columns.copy_(other.columns)
        self.allowed.copy_(other.allowed[rows])


class Decoder:
    """Decodes batches of one model and keeps the slots and graphs between them."""

    def __init__(self, model: PreTrainedModel, stop_ids: Sequence[int], *, graphs: bool) -> None:
        self.model, self.graphs = model, graphs
        self.device = next(model.parameters()).device
        self.stops = torch.tensor(sorted(stop_ids), dtype=torch.long, device=self.device)
        self._slots: dict[tuple[int, int], Slots] = {}

    def slots(self, rows: int, width: int, within: StaticCache | None = None) -> Slots:
        """State for that many rows; with graphs the same object again, which they hang on.

        `within` is a cache of more rows whose beginning a new state may take: its rows have been decoded as far as they
        are to be.
        """
        if not self.graphs:
            return Slots(rows, width, self.device)
        if (rows, width) not in self._slots:
            # Batches come sorted by length, so those of another width are over, and they hold a cache each.
            self._slots = {shape: kept for shape, kept in self._slots.items() if shape[1] == width}
            cache = None if within is None else within.beginning(rows)
            self._slots[rows, width] = Slots(rows, width, self.device, cache)
        found = self._slots[rows, width]
        if within is None:  # a batch begins, perhaps where rows of a cell that has become NaN were moved to
            found.cache.clear()
        return found

    def forget(self) -> None:
        """Drop kept slots and graphs, to free memory."""
        self._slots.clear()

    @torch.no_grad()
    def decode(
        self, slots: Slots, first: Tensor, wanted: Sequence[bool], *, cells: int, most: int, key: object = None
    ) -> list[list[int]]:
        """Token ids of every row until a stop token, which is left out, or until `most` tokens.

        `slots` stand where `first` [rows] is to be fed next; rows that are not `wanted` come back empty. Rows are
        grouped by cell, and every cell keeps as many as the one with the most that have not ended. `key` tells
        states of the model apart that need graphs of their own (which adapters are on).
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
            steps = min(CHECK_EVERY, most - done)
            slots.place.zero_()
            for _ in range(steps):
                self._step(slots, key)
            fresh = slots.chunk[:, :steps]
            output[owner, done : done + steps] = fresh
            ended = ended | torch.isin(fresh, self.stops).any(1)
            done += steps
        return _cut(output.tolist(), set(self.stops.tolist()), wanted)

    def _step(self, slots: Slots, key: object) -> None:
        if not self.graphs or key not in slots.graphs:
            slots.step(self.model)
            slots.graphs[key] = None
            return
        graph = slots.graphs[key]
        if graph is None:
            slots.graphs[key] = graph = self._capture(slots)
        graph.replay()

    def _capture(self, slots: Slots) -> torch.cuda.CUDAGraph:
        """Record one step, which is not executed. Steps leave nothing in the pool between them, so graphs share it."""
        others = [graph for kept in self._slots.values() for graph in kept.graphs.values() if graph is not None]
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self.device)
        # Torch does not leave its own stream where the end of a recording is an error.
        with torch.cuda.stream(stream), torch.cuda.graph(graph, pool=others[0].pool() if others else None):
            slots.step(self.model)
        return graph


def _alive(ended: Tensor, halves: bool) -> Tensor | None:
    """Which rows of each cell [cells, rows] go on: [cells, kept], the same count for all; None when all have ended.

    With `halves` the count is the present one or it halved some times, so that there are few shapes.
    """
    most = int((~ended).sum(1).max())
    if most == 0:
        return None
    kept = ended.shape[1]
    if halves:
        while kept % 2 == 0 and most <= kept // 2:
            kept //= 2
    else:
        kept = most
    # A stable sort puts rows that go on first, and fills up with ended ones.
    order = torch.argsort(ended.int(), dim=1, stable=True)[:, :kept]
    return order.sort(1).values


def _cut(rows: list[list[int]], stops: set[int], wanted: Sequence[bool]) -> list[list[int]]:
    found = []
    for row, asked in zip(rows, wanted, strict=True):
        end = next((place for place, token in enumerate(row) if token in stops or token < 0), len(row))
        found.append(row[:end] if asked else [])
    return found
