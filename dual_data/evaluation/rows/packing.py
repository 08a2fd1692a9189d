"""Rows of a training step laid out without padding: what all rows begin with once, then each row's own tokens.

    prefix | row 0 | row 1 | ... | pad        one sequence a bin; a row sees the prefix and itself

Hidden states are those of each row alone, since attention is masked to the row and positions restart behind the prefix;
so are gradients, the prefix being the same function of the weights for all rows. A chat of 41 tokens of which 28 are
template and system prompt costs 13.

The shapes of all steps of a run are equal, so a step can be recorded once and replayed, and everything a step reads is
on the device before the first one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from dual_data.evaluation.rows.data import Encoded

Ids = TypeVar("Ids", list[int], tuple[int, ...])

_ALIGN = 8


class Rows(NamedTuple):
    """One kind of rows of a step (forget, retain, ...) as seen from its labels.

    K cells, R rows a cell, M labels a cell; what is only padding has weight, share and `real` 0.
    """

    spots: Tensor
    """[K, M] where in the cell's hidden states each label is predicted (or stands, see `at_label`)."""
    targets: Tensor
    """[K, M] the labels."""
    real: Tensor
    """[K, M] 1.0 or 0.0"""
    row: Tensor
    """[K, M] which of the R rows a label belongs to."""
    token: Tensor
    """[K, M] number of the label among all labels of the set: where reference figures are kept."""
    weight: Tensor
    """[K, M] sums to 1 over an optimiser step: what makes a sum over labels the mean that was asked for."""
    share: Tensor
    """[K, R] sums to 1 over an optimiser step: the same for figures of whole rows."""
    constants: Mapping[str, Tensor]
    """[K, M] by name: constants of the rows, such as exponents or other labels."""

    def each(self, change: Callable[[Tensor], Tensor]) -> Rows:
        """The same with `change` applied to every tensor."""
        constants = {name: change(values) for name, values in self.constants.items()}
        return Rows(*(change(tensor) for tensor in self[:7]), constants)  # type: ignore[arg-type, call-arg]

    def token_mean(self, values: Tensor) -> Tensor:
        """Mean over labels [K] of values [K, M], as the run normalises; micro-batches add up to it."""
        return (self.weight * values).sum(1)

    def row_mean(self, values: Tensor) -> Tensor:
        """Mean over rows [K] of values [K, R]; micro-batches add up to it."""
        return (self.share * values).sum(1)

    def row_sum(self, values: Tensor) -> Tensor:
        """Sum over the labels of each row [K, R] of values [K, M]."""
        return (self.membership() * values[:, None]).sum(2)

    def lengths(self) -> Tensor:
        """Labels of each row [K, R]; 1 for padding rows, so that it can be divided by."""
        return self.membership().sum(2).clamp(min=1.0)

    def membership(self) -> Tensor:
        """[K, R, M]: 1.0 where label m is one of row r."""
        rows = torch.arange(self.share.shape[1], device=self.row.device)
        return (self.row[:, None] == rows[:, None]).to(self.real.dtype) * self.real[:, None]


class Layout(NamedTuple):
    """The sequences of a step."""

    ids: Tensor
    """[K * bins, S]"""
    positions: Tensor
    """[K * bins, S]"""
    segments: Tensor
    """[K * bins, S] 0 for the prefix, 1 and up for rows, -1 for padding."""
    plain: bool = False
    """One row a sequence, padded on the right: the model's own causal attention is right."""

    def mask(self) -> Tensor | None:
        """[K * bins, 1, S, S] true where a token may look: backwards, at its own row and the prefix."""
        if self.plain:
            return None
        own = self.segments[:, :, None] == self.segments[:, None, :]
        mask = own | (self.segments[:, None, :] == 0)
        causal = torch.ones(mask.shape[1:], dtype=torch.bool, device=mask.device).tril()
        return (mask & causal)[:, None]


class Source(NamedTuple):
    """All rows of one kind that a cell draws from, with the constants of its rows and labels."""

    rows: Sequence[Encoded]
    train_end: bool
    constants: Mapping[str, Sequence[Sequence[float]]] = {}
    """By name, one list a row with one value a label."""
    at_label: bool = False
    """Spots are where the labels stand and not where they are predicted."""
    everywhere: bool = False
    """Every token after the first is a label, the prompt's too."""

    def labels(self, index: int) -> tuple[int, list[int]]:
        """Position of the first label in the row, and the labels."""
        row = self.rows[index]
        answer = [*row.answer_ids, *(row.end_ids if self.train_end else ())]
        if self.everywhere:
            return 1, [*row.prompt_ids[1:], *answer]
        return len(row.prompt_ids), answer

    def tokens(self, index: int) -> list[int]:
        """What of the row goes through the model: the last label is only predicted."""
        start, labels = self.labels(index)
        whole = [*self.rows[index].prompt_ids[:start], *labels]
        return whole if self.at_label else whole[:-1]

    def sizes(self) -> list[int]:
        """How many labels each row has."""
        return [len(self.labels(index)[1]) for index in range(len(self.rows))]

    def starts(self) -> list[int]:
        """Number of the first label of each row among all labels of the source, and at the end how many these are."""
        return list(accumulate(self.sizes(), initial=0))


def shared_prefix(rows: Sequence[Ids]) -> Ids:
    """The longest common beginning that leaves every row at least one token of its own."""
    first, last = min(rows), max(rows)
    limit = min(map(len, rows)) - 1
    size = 0
    while size < limit and first[size] == last[size]:
        size += 1
    return first[:size]


class Micro(NamedTuple):
    """Which rows a cell has in one micro-batch, by kind, and how they count."""

    rows: Mapping[str, Sequence[int]]
    weights: Mapping[str, Sequence[float]]
    """By kind, the weight of one label of each row."""
    shares: Mapping[str, Sequence[float]]
    """By kind, the weight of each whole row."""


class Packed(NamedTuple):
    """All micro-batches of a run: every tensor has the micro-batch in front."""

    layout: Layout
    groups: Mapping[str, Rows]
    tokens: int
    """Tokens that go through the model, padding included."""

    def at(self, step: Tensor) -> tuple[Layout, dict[str, Rows]]:
        """The micro-batch whose number is in `step` [1]; the choice is made on the device."""
        ids, positions, segments = (tensor.index_select(0, step)[0] for tensor in self.layout[:3])
        layout = Layout(ids, positions, segments, self.layout.plain)
        groups = {name: rows.each(lambda tensor: tensor.index_select(0, step)[0]) for name, rows in self.groups.items()}
        return layout, groups


def pack(
    cells: Sequence[Sequence[Micro]],
    sources: Sequence[Mapping[str, Source]],
    *,
    rows_per_bin: int = 32,
    plain: bool = False,
    pad_id: int = 0,
    device: torch.device | str = "cpu",
) -> Packed:
    """Lay out the micro-batches of K cells, [cell][micro-batch], drawing rows from `sources` [cell][kind].

    The plain layout, one row a sequence and nothing shared, is for models whose attention takes no mask of ours.
    """
    every = [source.tokens(index) for by in sources for source in by.values() for index in range(len(source.rows))]
    prefix = [] if plain else shared_prefix(every)
    rows_per_bin = 1 if plain else rows_per_bin
    planned = []
    for micros, by in zip(cells, sources, strict=True):
        starts = {kind: source.starts() for kind, source in by.items()}
        planned.append([_plan(micro, by, starts, rows_per_bin, len(prefix)) for micro in micros])
    flat = [plan for plans in planned for plan in plans]
    bins = max(len(plan.bins) for plan in flat)
    width = _align(max(len(prefix) + sum(map(len, rows)) for plan in flat for rows in plan.bins))
    by_step = list(zip(*planned, strict=True))
    ids, positions, segments = _stack_layout(by_step, prefix, bins=bins, width=width, pad_id=pad_id)
    layout = Layout(ids.to(device), positions.to(device), segments.to(device), plain)
    groups = {kind: _stack_rows(by_step, kind, width).each(lambda tensor: tensor.to(device)) for kind in sources[0]}
    return Packed(layout, groups, ids.numel())


class _Labels(NamedTuple):
    """The labels of one kind in one micro-batch of one cell; a spot is (bin, column)."""

    spots: list[tuple[int, int]]
    targets: list[int]
    row: list[int]
    token: list[int]
    weight: list[float]
    shares: list[float]
    constants: dict[str, list[float]]


class _Plan(NamedTuple):
    bins: list[list[list[int]]]
    """[bin][row] own tokens."""
    kinds: dict[str, _Labels]


def _plan(
    micro: Micro, sources: Mapping[str, Source], starts: Mapping[str, list[int]], rows_per_bin: int, prefix: int
) -> _Plan:
    sizes = [len(source.tokens(index)) for kind, source in sources.items() for index in micro.rows[kind]]
    places = iter(_spread(sizes, rows_per_bin))
    count = -(-len(sizes) // rows_per_bin)
    bins: list[list[list[int]]] = [[] for _ in range(count)]
    found: dict[str, _Labels] = {}
    ends = [prefix] * count
    for kind, source in sources.items():
        labels = _Labels([], [], [], [], [], list(micro.shares[kind]), {name: [] for name in source.constants})
        for number, index in enumerate(micro.rows[kind]):
            own = source.tokens(index)[prefix:]
            first, targets = source.labels(index)
            place = next(places)
            for t, target in enumerate(targets):
                column = first + t - (0 if source.at_label else 1)
                inside = ends[place] + column - prefix if column >= prefix else column
                labels.spots.append((place, inside))
                labels.targets.append(target)
                labels.row.append(number)
                labels.token.append(starts[kind][index] + t)
                labels.weight.append(micro.weights[kind][number])
            for name, values in source.constants.items():
                labels.constants[name].extend(values[index])
            bins[place].append(own)
            ends[place] += len(own)
        found[kind] = labels
    return _Plan(bins, found)


def _spread(sizes: Sequence[int], most: int) -> list[int]:
    """The bin of each row: as few bins as hold `most` rows each, about equally long, for all are padded to the longest.

    The longest row first, to the shortest bin that is not full.
    """
    count = -(-len(sizes) // most)
    lengths, rows, found = [0] * count, [0] * count, [0] * len(sizes)
    for index in sorted(range(len(sizes)), key=lambda index: -sizes[index]):
        place = min((place for place in range(count) if rows[place] < most), key=lambda place: lengths[place])
        found[index] = place
        lengths[place] += sizes[index]
        rows[place] += 1
    return found


def _align(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


def _stack_layout(
    by_step: Sequence[Sequence[_Plan]], prefix: list[int], *, bins: int, width: int, pad_id: int
) -> tuple[Tensor, Tensor, Tensor]:
    shape = (len(by_step), len(by_step[0]) * bins, width)
    ids = torch.full(shape, pad_id)
    positions = torch.zeros(shape, dtype=torch.long)
    segments = torch.full(shape, -1, dtype=torch.int32)
    start = len(prefix)
    for step, plans in enumerate(by_step):
        for k, plan in enumerate(plans):
            for place, rows in enumerate(plan.bins):
                line = k * bins + place
                ids[step, line, :start] = torch.tensor(prefix, dtype=torch.long)
                positions[step, line, :start] = torch.arange(start)
                segments[step, line, :start] = 0
                column = start
                for number, own in enumerate(rows):
                    end = column + len(own)
                    ids[step, line, column:end] = torch.tensor(own)
                    positions[step, line, column:end] = torch.arange(start, start + len(own))
                    segments[step, line, column:end] = number + 1
                    column = end
    return ids, positions, segments


def _stack_rows(by_step: Sequence[Sequence[_Plan]], kind: str, width: int) -> Rows:
    every = [plan.kinds[kind] for plans in by_step for plan in plans]
    labels, rows = _align(max(len(one.targets) for one in every)), max(len(one.shares) for one in every)
    shape = (len(by_step), len(by_step[0]))
    spots, targets, row, token = (torch.zeros(*shape, labels, dtype=torch.long) for _ in range(4))
    real, weight = torch.zeros(*shape, labels), torch.zeros(*shape, labels)
    share = torch.zeros(*shape, rows)
    constants = {name: torch.zeros(*shape, labels) for name in by_step[0][0].kinds[kind].constants}
    for step, plans in enumerate(by_step):
        for k, plan in enumerate(plans):
            found = plan.kinds[kind]
            size = len(found.targets)
            spots[step, k, :size] = torch.tensor([place * width + column for place, column in found.spots])
            targets[step, k, :size] = torch.tensor(found.targets)
            row[step, k, :size] = torch.tensor(found.row)
            token[step, k, :size] = torch.tensor(found.token)
            weight[step, k, :size] = torch.tensor(found.weight)
            real[step, k, :size] = 1.0
            share[step, k, : len(found.shares)] = torch.tensor(found.shares)
            for name, values in found.constants.items():
                constants[name][step, k, :size] = torch.tensor(values)
    return Rows(spots, targets, real, row, token, weight, share, constants)
