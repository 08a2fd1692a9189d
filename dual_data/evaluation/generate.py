"""Greedy decoding on a static cache: rows leave when they end, and on a GPU a step is one graph replay.

A step of a small model is bound by kernel launches, whatever the batch; replaying a captured graph launches once.
Shapes are few (row counts halve as rows end), so that a grid of cells captures each graph once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dual_data.evaluation.attention import additive, grouped
from dual_data.evaluation.models import cached, head
from dual_data.evaluation.sharding import anywhere
from dual_data.evaluation.static_cache import StaticCache

CHECK_EVERY = 8
"""Steps between two looks at which rows have ended: each look waits for the device."""


class Body(NamedTuple):
    """A model's decoder under given columns, positions and mask."""

    model: PreTrainedModel
    dtype: torch.dtype

    def __call__(self, ids: Tensor, positions: Tensor, allowed: Tensor, cache: StaticCache) -> Tensor:
        """Final hidden states [rows, tokens, width]."""
        with grouped(self.model):
            output = self.model.base_model(
                input_ids=ids,
                attention_mask=additive(allowed, self.dtype),
                position_ids=positions,
                **cached(self.model, cache),
            )
        hidden = output.last_hidden_state
        assert isinstance(hidden, Tensor)
        return hidden


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

    def step(self, body: Body) -> None:
        """Feed the last token of every row, append the next one to `chunk`. Nothing here waits for the device."""
        self.allowed.index_fill_(3, self.columns, True)
        hidden = body(self.ids, self.positions, self.allowed, self.cache.at(self.columns, self.cache.width))
        self.ids.copy_(head(body.model, hidden[:, -1]).argmax(-1, keepdim=True))
        self.chunk.index_copy_(1, self.place, self.ids)
        self.positions.add_(1)
        self.columns.add_(1)
        self.place.add_(1)

    def restart(self, tensors: dict[str, Tensor]) -> None:
        """Set ids, positions, columns and allowed."""
        for name, value in tensors.items():
            getattr(self, name).copy_(value)

    def state(self, rows: Tensor | None = None) -> dict[str, Tensor]:
        """Ids, positions, columns and allowed, of some of the rows."""
        pick = slice(None) if rows is None else rows
        return {
            "ids": self.ids[pick].clone(),
            "positions": self.positions[pick].clone(),
            "columns": self.columns.clone(),
            "allowed": self.allowed[pick].clone(),
        }


class Decoder:
    """Decodes batches of one model and keeps the slots and graphs between them."""

    def __init__(self, model: PreTrainedModel, stop_ids: Sequence[int], *, graphs: bool) -> None:
        parameter = next(model.parameters())
        self.body = Body(model, parameter.dtype)
        self.device = parameter.device
        self.graphs = graphs
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
        return self._slots[rows, width]

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
                slots = self._shrink(slots, picked)
                owner, ended = owner[picked], ended[picked]
            steps = min(CHECK_EVERY, most - done)
            slots.place.zero_()
            for _ in range(steps):
                self._step(slots, key)
            fresh = slots.chunk[:, :steps]
            output[owner, done : done + steps] = fresh
            ended = ended | torch.isin(fresh, self.stops).any(1)
            done += steps
        return _cut(output.tolist(), set(self.stops.tolist()), wanted)

    def _shrink(self, slots: Slots, rows: Tensor) -> Slots:
        smaller = self.slots(len(rows), slots.cache.width, slots.cache)
        smaller.cache.take_rows(slots.cache, rows)
        smaller.restart(slots.state(rows))
        return smaller

    def _step(self, slots: Slots, key: object) -> None:
        if not self.graphs or key not in slots.graphs:
            slots.step(self.body)
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
            slots.step(self.body)
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
