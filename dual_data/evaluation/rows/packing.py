"""The rows of a micro-batch, packed: the prefix that all rows share once, then each row's own tokens.

    prefix | row 0 | row 1 | ... | pad        one sequence per bin; a row sees the prefix and itself

Each row has the hidden states that it would have alone, since attention is masked to the row and positions restart
after the prefix. Gradients are the same too, since the prefix is the same function of the weights for all rows. A chat
of 41 tokens, of which 28 are template and system prompt, costs 13.

All micro-batches of a run have the same shapes, so that a pass can be recorded once and replayed. Everything that they
read is on the device before the first step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from dual_data.evaluation.rows.encoding import Encoded

Ids = TypeVar("Ids", list[int], tuple[int, ...])

_ALIGN = 8
_MOST_TOKENS = 2048
"""Own tokens of a sequence if it has several rows. The mask and, on a CPU, the scores of every head are of all pairs of
its tokens: 32 rows of 400 tokens as one sequence would take 3.8 GB and 30 times as long as padded ones.
"""


class Rows(NamedTuple):
    """The labels of one kind of rows (forget, retain, ...) of a micro-batch.

    K cells, R rows per cell, M labels per cell. Padding has weight, share and `real` 0.
    """

    label_positions: Tensor
    """[K, M] index, in the cell's hidden states, of where each label is predicted (or where it is, see `at_label`)."""
    targets: Tensor
    """[K, M] the labels."""
    real: Tensor
    """[K, M] 1.0 or 0.0"""
    row: Tensor
    """[K, M] which of the R rows each label belongs to."""
    token: Tensor
    """[K, M] index of the label among all labels of the set: where the reference's figures are kept."""
    weight: Tensor
    """[K, M] sums to 1 over an optimiser step: turns a sum over labels into the mean that the run asks for."""
    share: Tensor
    """[K, R] sums to 1 over an optimiser step: the same for values of whole rows."""
    constants: Mapping[str, Tensor]
    """[K, M] by name: constants of the forget rows, such as weights or other labels, that the method makes."""

    def each(self, change: Callable[[Tensor], Tensor]) -> Rows:
        """These rows with `change` applied to every tensor."""
        constants = {name: change(values) for name, values in self.constants.items()}
        return Rows(*(change(tensor) for tensor in self[:7]), constants)  # type: ignore[arg-type, call-arg]

    def token_mean(self, values: Tensor) -> Tensor:
        """Mean over labels [K] of values [K, M], as the run normalises it; the micro-batches of a step sum to it."""
        return (self.weight * values).sum(1)

    def row_mean(self, values: Tensor) -> Tensor:
        """Mean over rows [K] of values [K, R]; the micro-batches of a step sum to it."""
        return (self.share * values).sum(1)

    def row_sum(self, values: Tensor) -> Tensor:
        """Sum over the labels of each row [K, R] of values [K, M]."""
        return (self.membership() * values[:, None]).sum(2)

    def lengths(self) -> Tensor:
        """Number of labels of each row [K, R]; 1 for padding rows, so that one can divide by it."""
        return self.membership().sum(2).clamp(min=1.0)

    def membership(self) -> Tensor:
        """[K, R, M]: 1.0 where label m is one of row r."""
        rows = torch.arange(self.share.shape[1], device=self.row.device)
        return (self.row[:, None] == rows[:, None]).to(self.real.dtype) * self.real[:, None]


class Layout(NamedTuple):
    """The sequences of a micro-batch."""

    ids: Tensor
    """[K * bins, S]"""
    positions: Tensor
    """[K * bins, S]"""
    segments: Tensor
    """[K * bins, S] 0 for the prefix, from 1 up for rows, -1 for padding."""
    plain: bool = False
    """One row per sequence, padded on the right: the model's own causal attention suffices."""

    def mask(self) -> Tensor | None:
        """[K * bins, 1, S, S] true where a token may attend: backwards, to its own row and the prefix."""
        if self.plain:
            return None
        own = self.segments[:, :, None] == self.segments[:, None, :]
        mask = own | (self.segments[:, None, :] == 0)
        causal = torch.ones(mask.shape[1:], dtype=torch.bool, device=mask.device).tril()
        return (mask & causal)[:, None]


class Source(NamedTuple):
    """All rows of one kind that a cell draws from, with the constants of its rows and labels."""

    rows: Sequence[Encoded]
    constants: Mapping[str, Sequence[Sequence[float]]] = {}
    """By name, one list per row with one value per label."""
    at_label: bool = False
    """Whether label positions are where the labels are, not where they are predicted."""
    everywhere: bool = False
    """Whether every token after the first is a label, including the prompt's."""

    def labels(self, index: int) -> tuple[int, list[int]]:
        """Position of the first label in the row, and the labels."""
        row = self.rows[index]
        answer = [*row.answer_ids, *row.end_ids]
        if self.everywhere:
            return 1, [*row.prompt_ids[1:], *answer]
        return len(row.prompt_ids), answer

    def tokens(self, index: int) -> list[int]:
        """The tokens of the row that go through the model: the last label is only predicted."""
        start, labels = self.labels(index)
        ids = [*self.rows[index].prompt_ids[:start], *labels]
        return ids if self.at_label else ids[:-1]

    def sizes(self) -> list[int]:
        """Number of labels of each row."""
        return [len(self.labels(index)[1]) for index in range(len(self.rows))]

    def starts(self) -> list[int]:
        """Index of the first label of each row among all labels of the source, and as the last entry their total."""
        return list(accumulate(self.sizes(), initial=0))


def shared_prefix(rows: Sequence[Ids]) -> Ids:
    """The longest common prefix that leaves every row at least one token of its own."""
    first, last = min(rows), max(rows)
    limit = min(map(len, rows)) - 1
    size = 0
    while size < limit and first[size] == last[size]:
        size += 1
    return first[:size]


class MicroBatch(NamedTuple):
    """The rows of one micro-batch, by kind, and their weights in the step."""

    rows: Mapping[str, Sequence[int]]
    weights: Mapping[str, Sequence[float]]
    """By kind, the weight of one label of each row."""
    share: float
    """The weight of each whole row."""


class Packed(NamedTuple):
    """All micro-batches of a run: the first dimension of every tensor is the micro-batch."""

    layout: Layout
    groups: Mapping[str, Rows]

    def at(self, number: Tensor) -> tuple[Layout, dict[str, Rows]]:
        """The micro-batch whose index is in `number` [1]; it is selected on the device."""
        ids, positions, segments = (tensor.index_select(0, number)[0] for tensor in self.layout[:3])
        layout = Layout(ids, positions, segments, self.layout.plain)
        groups = {
            name: rows.each(lambda tensor: tensor.index_select(0, number)[0]) for name, rows in self.groups.items()
        }
        return layout, groups


def pack(
    micro_batches: Sequence[MicroBatch],
    sources: Mapping[str, Source],
    *,
    cells: int = 1,
    rows_per_bin: int = 32,
    plain: bool = False,
    each_label: bool = False,
    device: torch.device | str = "cpu",
) -> Packed:
    """Lay out the micro-batches of a run, the same for each of its cells, with rows from `sources`, by kind.

    A sequence has up to `rows_per_bin` rows, and fewer of long ones.
    The plain layout, one row per sequence and nothing shared, is for models whose attention does not take our masks.
    Where every token is a label, those that the prefix predicts become one, with the weights of all rows; with
    `each_label` they stay one a row, in order.
    """
    token_rows = [source.tokens(index) for source in sources.values() for index in range(len(source.rows))]
    prefix = [] if plain else shared_prefix(token_rows)
    longest = max(map(len, token_rows)) - len(prefix)
    rows_per_bin = 1 if plain else max(1, min(rows_per_bin, _MOST_TOKENS // longest))
    starts = {kind: source.starts() for kind, source in sources.items()}
    plans = [
        _plan(micro_batch, sources, starts, rows_per_bin, len(prefix), each_label=each_label)
        for micro_batch in micro_batches
    ]
    width = _align(max(len(prefix) + sum(map(len, rows)) for plan in plans for rows in plan.bins))
    ids, positions, segments = (
        sequences.repeat(1, cells, 1).to(device) for sequences in _stack_layout(plans, prefix, width)
    )
    layout = Layout(ids, positions, segments, plain)
    groups = {
        kind: _stack_rows(plans, kind, width, list(source.constants)).each(
            lambda tensor: tensor[:, None].repeat(1, cells, 1).to(device)
        )
        for kind, source in sources.items()
    }
    return Packed(layout, groups)


def one_pass(
    source: Source, rows: Sequence[int], *, plain: bool, device: torch.device | str = "cpu"
) -> tuple[Layout, Rows]:
    """These rows of a source in one forward pass, each with all of its labels, in order; their weights are 0."""
    micro_batch = MicroBatch({"rows": rows}, {"rows": [0.0] * len(rows)}, 0.0)
    packed = pack([micro_batch], {"rows": source}, plain=plain, each_label=True, device=device)
    layout, groups = packed.at(torch.zeros(1, dtype=torch.long, device=device))
    return layout, groups["rows"]


class _Plan(NamedTuple):
    """The contents of one micro-batch."""

    bins: list[list[list[int]]]
    """[bin][row] the row's own tokens."""
    labels: dict[str, list[tuple[float, ...]]]
    """By kind, of each label its bin, column, token id, row, index among all labels, weight, and constants."""
    micro_batch: MicroBatch


def _plan(
    micro_batch: MicroBatch,
    sources: Mapping[str, Source],
    starts: Mapping[str, list[int]],
    rows_per_bin: int,
    prefix: int,
    *,
    each_label: bool,
) -> _Plan:
    tokens_of = {
        (kind, index): tuple(source.tokens(index))
        for kind, source in sources.items()
        for index in micro_batch.rows[kind]
    }
    # The same tokens go through the model once, such as a forget row that is also a row of the KL term.
    distinct = list(dict.fromkeys(tokens_of.values()))
    bins: list[list[list[int]]] = [[] for _ in range(-(-len(distinct) // rows_per_bin))]
    ends = [prefix] * len(bins)
    placed: dict[tuple[int, ...], tuple[int, int]] = {}
    for tokens, bin_index in zip(distinct, _spread([*map(len, distinct)], rows_per_bin), strict=True):
        placed[tokens] = bin_index, ends[bin_index]
        bins[bin_index].append([*tokens[prefix:]])
        ends[bin_index] += len(tokens) - prefix
    by_kind: dict[str, list[tuple[float, ...]]] = {kind: [] for kind in sources}
    for kind, source in sources.items():
        in_prefix = max(0, prefix - 1) if source.everywhere and not each_label else 0
        weights = micro_batch.weights[kind]
        for number, index in enumerate(micro_batch.rows[kind]):
            first, targets = source.labels(index)
            bin_index, start = placed[tokens_of[kind, index]]
            for t, target in enumerate(targets):
                if t < in_prefix and number:
                    continue
                position = first + t - (0 if source.at_label else 1)
                column = start + position - prefix if position >= prefix else position
                constants = (values[index][t] for values in source.constants.values())
                token, weight = starts[kind][index] + t, sum(weights) if t < in_prefix else weights[number]
                by_kind[kind].append((bin_index, column, target, number, token, weight, *constants))
    return _Plan(bins, by_kind, micro_batch)


def _spread(sizes: Sequence[int], most: int) -> list[int]:
    """The bin of each row: as few bins as possible of at most `most` rows, of similar length to keep padding small.

    Greedy: the longest row first, each to the shortest bin that is not full.
    """
    count = -(-len(sizes) // most)
    lengths, rows, bin_of_row = [0] * count, [0] * count, [0] * len(sizes)
    for index in sorted(range(len(sizes)), key=lambda index: -sizes[index]):
        bin_index = min((b for b in range(count) if rows[b] < most), key=lambda b: lengths[b])
        bin_of_row[index] = bin_index
        lengths[bin_index] += sizes[index]
        rows[bin_index] += 1
    return bin_of_row


def _align(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


def _stack_layout(plans: Sequence[_Plan], prefix: list[int], width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, positions and segments [micro-batches, bins, S] of one cell."""
    bins = max(len(plan.bins) for plan in plans)
    sequences = []
    for plan in plans:
        sequences += [_sequence(prefix, rows, width) for rows in plan.bins]
        sequences += [_sequence([], [], width)] * (bins - len(plan.bins))
    # One tensor for all sequences: a small one per row takes several times as long.
    ids, positions, segments = (torch.tensor(values).view(-1, bins, width) for values in zip(*sequences, strict=True))
    return ids, positions, segments.int()


def _sequence(prefix: list[int], rows: Sequence[list[int]], width: int) -> tuple[list[int], list[int], list[int]]:
    """Ids, positions and segments of a sequence, filled up to `width`; see `Layout`."""
    start = len(prefix)
    ids, positions, segments = [*prefix], [*range(start)], [0] * start
    for number, tokens in enumerate(rows, 1):
        ids += tokens
        positions += range(start, start + len(tokens))
        segments += [number] * len(tokens)
    fill = width - len(ids)
    return [*ids, *[0] * fill], [*positions, *[0] * fill], [*segments, *[-1] * fill]


def _stack_rows(plans: Sequence[_Plan], kind: str, width: int, constants: Sequence[str]) -> Rows:
    """The labels of one cell: every tensor is [micro-batches, M], or [micro-batches, R]."""
    label_count = _align(max(len(plan.labels[kind]) for plan in plans))
    # In float64, which holds every index and rounds weights and constants once, below.
    table = torch.zeros(len(plans), label_count, 7 + len(constants), dtype=torch.float64)
    share = torch.zeros(len(plans), max(len(plan.micro_batch.rows[kind]) for plan in plans))
    for n, plan in enumerate(plans):
        size, count = len(plan.labels[kind]), len(plan.micro_batch.rows[kind])
        table[n, :size, 1:] = torch.tensor(plan.labels[kind], dtype=torch.float64)
        table[n, :size, 0] = 1.0
        share[n, :count] = plan.micro_batch.share
    real, bin_index, column, target, row, token, weight, *values = table.unbind(-1)
    by_name = {name: column.float() for name, column in zip(constants, values, strict=True)}
    return Rows(
        (bin_index * width + column).long(),
        target.long(),
        real.float(),
        row.long(),
        token.long(),
        weight.float(),
        share,
        by_name,
    )
