"""The fast engine: a single pass over each prompt serves both scored answers (teacher forcing) and greedy decoding.

    prefix (once per group and cell) -> prompts of a batch -> answers, fed after the prompt -> greedy decoding

All use the same key-value cache, so scoring an answer costs no more than its own tokens. Several adapters run in one
batch, whose rows are grouped by adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dual_data.evaluation.device.devices import even_size
from dual_data.evaluation.device.memory import half_of, if_it_fits
from dual_data.evaluation.device.sharding import refuse_if_shared
from dual_data.evaluation.measuring.decoding import Decoder, Slots
from dual_data.evaluation.measuring.engine import Engine
from dual_data.evaluation.measuring.hidden import last_layers, mean_of_layers
from dual_data.evaluation.measuring.plain import PlainEngine
from dual_data.evaluation.measuring.score import Comparison
from dual_data.evaluation.measuring.static_cache import StaticCache, prompt_mask, prompt_seen
from dual_data.evaluation.measuring.teacher_forcing import Prompts, forced_scores
from dual_data.evaluation.models.decoder import attention_window, head, last_hidden
from dual_data.evaluation.models.loading import Loaded
from dual_data.evaluation.rows.packing import shared_prefix
from dual_data.evaluation.rows.request import Outcome, Request
from dual_data.evaluation.training.lora import Adapters

_LEAST_TOKENS = 2048
"""Fewest tokens of a batch that are worth a separate pass."""
_MOST_PARTS = 4
_MULTIPLE = 32
"""With graphs, the rows and columns of a batch are filled up to a multiple of this."""


class FastEngine(Engine):
    """Runs all adapters at once. `graphs` is whether decoding steps are replayed as CUDA graphs."""

    def __init__(
        self,
        loaded: Loaded,
        adapters: Adapters | None = None,
        *,
        rows: int,
        max_new_tokens: int = 64,
        graphs: bool = False,
    ) -> None:
        super().__init__(loaded, adapters, rows=rows, max_new_tokens=max_new_tokens)
        self.device = loaded.device
        self.decoder = Decoder(loaded.model, loaded.info.stop_ids, graphs=graphs)
        self._window = attention_window(loaded.model)

    def _run(
        self, requests: Sequence[Request], comparison: Comparison, advance: Callable[[int], None]
    ) -> list[list[Outcome]]:
        """`run`, by the plain engine if a request is longer than the window of a model with sliding attention."""
        if max(request.tokens(self.max_new_tokens) for request in requests) > self._window:
            return self._run_plain(requests, comparison, advance)
        outcomes: list[dict[int, Outcome]] = [{} for _ in range(self.cells)]
        for group in _groups(requests):
            common = shared_prefix([requests[index].prompt for index in group])
            prefix = self._prefix(common) if common else None
            start = 0
            while remaining := len(group) - start:
                indices = group[start : start + even_size(remaining, self.rows)]
                batch = if_it_fits(self._batch, requests, indices, prefix, comparison)
                if batch is None:
                    self.halve()
                    continue
                for of_cell, cell_outcomes in zip(outcomes, batch, strict=True):
                    of_cell.update(zip(indices, cell_outcomes, strict=True))
                start += len(indices)
                advance(len(indices))
        if self.decoder.not_recorded:
            self._note(f"decoding without CUDA graphs: {self.decoder.not_recorded}")
        return [[of_cell[index] for index in range(len(requests))] for of_cell in outcomes]

    def _note(self, note: str) -> None:
        self.notes += [note] if note not in self.notes else []

    def _run_plain(
        self, requests: Sequence[Request], comparison: Comparison, advance: Callable[[int], None]
    ) -> list[list[Outcome]]:
        refuse_if_shared(self.loaded.model, f"some prompts exceed its attention window of {self._window} tokens")
        self._note(f"slow evaluation: some prompts exceed the attention window of {self._window} tokens")
        plain = PlainEngine(self.loaded, self.adapters, rows=self.rows, max_new_tokens=self.max_new_tokens)
        outcomes = plain.run(requests, reference=comparison.against, keep=comparison.keep, advance=advance)
        self.rows = plain.rows
        self.notes += plain.notes
        return outcomes

    def halve(self) -> None:
        self.decoder.clear()
        super().halve()

    def _prefix(self, ids: Sequence[int]) -> StaticCache:
        cache = StaticCache(self.cells, len(ids))
        columns = torch.arange(len(ids), device=self.device)
        tokens = torch.tensor([list(ids)] * self.cells, device=self.device)
        pads = torch.zeros(self.cells, dtype=torch.long, device=self.device)
        mask, positions = prompt_mask(0, pads, len(ids)), columns[None].expand_as(tokens)
        if if_it_fits(last_hidden, self.loaded.model, tokens, mask, positions, cache.at(columns, len(ids))) is None:
            half_of(1)  # there is none, which it tells
        return cache

    def _batch(
        self,
        requests: Sequence[Request],
        indices: list[int],
        prefix: StaticCache | None,
        comparison: Comparison,
    ) -> list[list[Outcome]]:
        common = prefix.width if prefix is not None else 0
        wanted = [requests[index].generate for index in indices]
        longest = max(len(requests[index].prompt) for index in indices)
        width = longest + (self.max_new_tokens if any(wanted) else 0)
        count = len(indices)
        if self.decoder.graphs and any(wanted):  # sizes are rounded up, for few shapes
            width = -(-width // _MULTIPLE) * _MULTIPLE
            fill_count = min(-(-count // _MULTIPLE) * _MULTIPLE, self.rows) - count
            indices = indices + [indices[-1]] * fill_count
            wanted = wanted + [False] * fill_count
            slots = self.decoder.slots(len(indices) * self.cells, width)
        else:
            slots = Slots(len(indices) * self.cells, width, self.device)
        if prefix is not None:
            slots.cache.take_prefix(prefix)
        prompts = [requests[index].prompt for index in indices]
        batch = self._prompts(prompts, common, slots, indices, hidden=comparison.wants_hidden)
        # Rows that only fill the batch up are not scored.
        answers = [requests[index].answers if row < count else () for row, index in enumerate(indices)]
        scores = forced_scores(self.loaded.model, batch, answers, comparison)
        texts = self._decode(batch, slots, wanted) if any(wanted) else [[]] * (len(indices) * self.cells)
        return [
            [
                Outcome(
                    tuple(scores[cell][row]),
                    tuple(texts[cell * len(indices) + row]),
                    wanted[row] and len(texts[cell * len(indices) + row]) < self.max_new_tokens,
                )
                for row in range(count)
            ]
            for cell in range(self.cells)
        ]

    def _prompts(
        self, prompts: list[tuple[int, ...]], prefix: int, slots: Slots, indices: list[int], *, hidden: bool
    ) -> Prompts:
        suffixes = [prompt[prefix:] for prompt in prompts]
        length = max(map(len, suffixes))
        pads = torch.tensor([length - len(ids) for ids in suffixes], device=self.device).repeat(self.cells)
        ends, means = [], []
        parts = _parts([len(ids) for ids in suffixes], self.cells)
        for rows in parts:
            end, mean = self._prompt_part(
                [suffixes[row] for row in rows], rows, prefix, length, slots, is_whole=len(parts) == 1, hidden=hidden
            )
            ends.append(end)
            means += [mean] if mean is not None else []
        original_order = torch.argsort(torch.tensor([row for rows in parts for row in rows], device=self.device))
        end_hidden = torch.cat(ends, dim=1)[:, original_order]
        mean = torch.cat(means, dim=1)[:, original_order] if means else None
        return Prompts(slots.cache, indices, prefix, pads, length, prefix + length - pads, end_hidden, mean)

    def _prompt_part(
        self,
        suffixes: list[tuple[int, ...]],
        rows: list[int],
        prefix: int,
        length: int,
        slots: Slots,
        *,
        is_whole: bool,
        hidden: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """Run some rows of a batch; final and mean last-layer hidden states [cells, rows, width] at the last tokens."""
        longest = max(map(len, suffixes))
        padded = torch.tensor([[0] * (longest - len(ids)) + list(ids) for ids in suffixes], device=self.device)
        pads = torch.tensor([longest - len(ids) for ids in suffixes], device=self.device)
        ids, pads = padded.repeat(self.cells, 1), pads.repeat(self.cells)
        positions = (torch.arange(longest, device=self.device)[None] - pads[:, None]).clamp_min(0) + prefix
        columns = torch.arange(prefix, prefix + longest, device=self.device)
        row_indices = torch.tensor(rows, device=self.device)
        cache_rows = (
            row_indices + torch.arange(self.cells, device=self.device)[:, None] * (slots.cache.rows // self.cells)
        ).flatten()
        cache = slots.cache if is_whole else slots.cache.branch(cache_rows, prefix, longest)
        with last_layers(self.loaded.model, wanted=hidden) as layers:
            states = last_hidden(
                self.loaded.model,
                ids,
                prompt_mask(prefix, pads, longest),
                positions,
                cache.at(columns, prefix + longest),
            )
        if not is_whole:
            slots.cache.take_columns(cache, cache_rows, prefix, prefix + length - longest)
        shape = self.cells, len(rows), -1
        mean = mean_of_layers([layer[:, -1] for layer in layers]).view(shape) if layers else None
        return states[:, -1].view(shape), mean

    def _decode(self, batch: Prompts, slots: Slots, wanted: list[bool]) -> list[list[int]]:
        end = batch.end_hidden
        first = head(self.loaded.model, end.reshape(-1, end.shape[-1])).argmax(-1)
        start = batch.prefix + batch.length
        slots.columns.fill_(start)
        slots.positions.copy_(batch.end_positions[:, None])
        slots.allowed.zero_()
        slots.allowed[:, 0, 0, :start] = prompt_seen(batch.prefix, batch.pads, batch.length)
        adapters = self.adapted
        key = None if adapters is None else (id(adapters), adapters.active, adapters.first)
        return self.decoder.decode(
            slots, first, wanted * self.cells, cells=self.cells, most=self.max_new_tokens, key=key
        )


def _groups(requests: Sequence[Request]) -> list[list[int]]:
    """Request indices by group, sorted so that batches have prompts of similar length and equally many answers."""
    groups: dict[str, list[int]] = {}
    for index, request in enumerate(requests):
        groups.setdefault(request.group, []).append(index)

    def size(index: int) -> tuple[bool, int, int]:
        request = requests[index]
        return request.generate, len(request.answers), len(request.prompt)

    return [sorted(indices, key=size, reverse=True) for indices in groups.values()]


def _parts(sizes: Sequence[int], cells: int) -> list[list[int]]:
    """Row numbers in parts of similar size, for little padding; each part is still enough work for a large device."""
    count = min(_MOST_PARTS, sum(sizes) * cells // _LEAST_TOKENS, len(sizes))
    if count < 2:
        return [list(range(len(sizes)))]
    order = sorted(range(len(sizes)), key=lambda row: sizes[row])
    step = -(-len(sizes) // count)
    return [order[start : start + step] for start in range(0, len(order), step)]
