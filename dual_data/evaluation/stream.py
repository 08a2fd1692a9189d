"""One sorted stream of prompts: answers scored under teacher forcing and greedy answers, from the same prompt pass.

    prefix (once a group and cell) -> prompts of a batch -> answers, fed after the prompt -> greedy decoding

All read the same key-value cache: the prompt that generation needs anyway also serves every scored answer, so a scored
token costs one token. Many adapters go through in one batch, the rows grouped by adapter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from dual_data.errors import DualDataError
from dual_data.evaluation.generate import Decoder, Slots
from dual_data.evaluation.hidden import last_layers, mean_of_answers, mean_of_layers
from dual_data.evaluation.lora import Adapters
from dual_data.evaluation.metrics.likelihood import TokenScores
from dual_data.evaluation.models import Loaded, head
from dual_data.evaluation.plain import PlainEngine
from dual_data.evaluation.request import Answer, Outcome, Request
from dual_data.evaluation.score import Reference, figures_of_hidden, split_scores
from dual_data.evaluation.static_cache import StaticCache, answer_mask, prompt_mask

_CRAMPED = "out of memory with a single row: use a smaller model, bfloat16, or fewer adapters at once"


class _Batch(NamedTuple):
    indices: list[int]
    prefix: int
    pads: Tensor
    """[rows of all cells]"""
    length: int
    end_positions: Tensor
    """Position of the first token after each prompt, [rows of all cells]."""
    end_hidden: Tensor
    """Final hidden state at the last prompt token, [cells, rows, width]."""
    end_layers: Tensor
    """The same, mean over the last layers; empty where not wanted."""


class Engine:
    """Runs streams of requests through one model, alone or with adapters.

    `rows` is the batch of one adapter; out of memory halves it and goes on, which `notes` says. `graphs` defaults to
    whether the model is on a GPU.
    """

    def __init__(
        self,
        loaded: Loaded,
        adapters: Adapters | None = None,
        *,
        rows: int = 64,
        max_new_tokens: int = 64,
        graphs: bool | None = None,
        hidden: bool = True,
    ) -> None:
        self.loaded, self.adapters = loaded, adapters
        self.rows, self.max_new_tokens, self.hidden = rows, max_new_tokens, hidden
        self.device = loaded.device
        on_gpu = self.device.type == "cuda"
        self.decoder = Decoder(loaded.model, loaded.info.stop_ids, graphs=on_gpu if graphs is None else graphs)
        self.notes: list[str] = []
        self._vocabulary = int(loaded.model.config.get_text_config().vocab_size)
        window = getattr(loaded.model.config.get_text_config(), "sliding_window", None)
        self._window = int(window) if window and _slides(loaded) else math.inf

    @property
    def cells(self) -> int:
        """How many adapters are served at once; one for the base alone."""
        return self.adapters.active if self.adapters is not None and self.adapters.enabled else 1

    @torch.no_grad()
    def run(
        self,
        requests: Sequence[Request],
        *,
        reference: Reference | None = None,
        keep: Reference | None = None,
        advance: Callable[[int], None] = lambda _: None,
    ) -> list[list[Outcome]]:
        """Outcomes [cells][requests], in the order asked.

        With `reference`, the first answer of each request is compared with what it holds; `keep` is filled for later
        runs (of the first cell). Prompts that do not fit the window of a model with sliding attention send the whole
        run the plain way. Raises DualDataError where even one row does not fit.
        """
        if self._longest(requests) > self._window:
            return self._plainly(requests, reference, keep, advance)
        outcomes: list[list[Outcome | None]] = [[None] * len(requests) for _ in range(self.cells)]
        for group in _groups(requests):
            common = _common_prefix([requests[index].prompt for index in group])
            prefix = self._prefix(requests[group[0]].prompt[:common]) if common else None
            start = 0
            while start < len(group):
                indices = group[start : start + self.rows]
                try:
                    found = self._batch(requests, indices, prefix, reference=reference, keep=keep)
                except torch.OutOfMemoryError:
                    self._halve()
                    continue
                for cell, row in enumerate(found):
                    for index, outcome in zip(indices, row, strict=True):
                        outcomes[cell][index] = outcome
                start += len(indices)
                advance(len(indices))
        return [[outcome for outcome in row if outcome is not None] for row in outcomes]

    def _longest(self, requests: Sequence[Request]) -> int:
        """Most tokens that a request takes, its answers and what may be generated included."""
        return max(
            len(request.prompt)
            + max([*(len(answer.ids) for answer in request.answers), self.max_new_tokens * request.generate])
            for request in requests
        )

    def _plainly(
        self,
        requests: Sequence[Request],
        reference: Reference | None,
        keep: Reference | None,
        advance: Callable[[int], None],
    ) -> list[list[Outcome]]:
        note = f"slow evaluation: some prompts exceed the attention window of {self._window} tokens"
        self.notes += [note] if note not in self.notes else []
        plain = PlainEngine(
            self.loaded, self.adapters, rows=self.rows, max_new_tokens=self.max_new_tokens, hidden=self.hidden
        )
        return plain.run(requests, reference=reference, keep=keep, advance=advance)

    def _halve(self) -> None:
        if self.rows == 1:
            raise DualDataError(_CRAMPED)
        self.rows //= 2
        self.decoder.forget()
        torch.cuda.empty_cache()
        self.notes.append(f"out of memory: evaluation batch halved to {self.rows}")

    def _prefix(self, ids: Sequence[int]) -> StaticCache:
        cache = StaticCache(self.cells, len(ids))
        columns = torch.arange(len(ids), device=self.device)
        tokens = torch.tensor([list(ids)] * self.cells, device=self.device)
        pads = torch.zeros(self.cells, dtype=torch.long, device=self.device)
        mask = prompt_mask(0, pads, len(ids))
        try:
            self.decoder.body(tokens, columns[None].expand_as(tokens), mask, cache.at(columns, len(ids)))
        except torch.OutOfMemoryError as error:
            raise DualDataError(_CRAMPED) from error
        return cache

    def _batch(
        self,
        requests: Sequence[Request],
        indices: list[int],
        prefix: StaticCache | None,
        *,
        reference: Reference | None,
        keep: Reference | None,
    ) -> list[list[Outcome]]:
        common = prefix.width if prefix is not None else 0
        most = max((len(answer.ids) for index in indices for answer in requests[index].answers), default=0)
        wanted = [requests[index].generate for index in indices]
        longest = max(len(requests[index].prompt) for index in indices)
        width = longest + max(most, self.max_new_tokens if any(wanted) else 0)
        count = len(indices)
        if self.decoder.graphs:  # few shapes: the last batch is filled up, widths are rounded
            width = -(-width // 32) * 32
            indices = indices + [indices[-1]] * (self.rows - count)
            wanted = wanted + [False] * (self.rows - count)
        slots = self.decoder.slots(len(indices) * self.cells, width)
        if prefix is not None:
            slots.cache.take_prefix(prefix)
        batch = self._prompts([requests[index].prompt for index in indices], common, slots, indices)
        scores: list[list[list[TokenScores]]] = [[[] for _ in indices] for _ in range(self.cells)]
        for place in range(max(len(requests[index].answers) for index in indices)):
            rows = [row for row, index in enumerate(indices) if len(requests[index].answers) > place]
            answers = [requests[indices[row]].answers[place] for row in rows]
            gold = place == 0
            found = self._force(
                batch, slots, rows, answers, reference=reference if gold else None, keep=keep if gold else None
            )
            for cell, column in enumerate(found):
                for row, one in zip(rows, column, strict=True):
                    scores[cell][row].append(one)
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

    def _prompts(self, prompts: list[tuple[int, ...]], prefix: int, slots: Slots, indices: list[int]) -> _Batch:
        own = [prompt[prefix:] for prompt in prompts]
        length = max(map(len, own))
        padded = torch.tensor([[0] * (length - len(ids)) + list(ids) for ids in own], device=self.device)
        pads = torch.tensor([length - len(ids) for ids in own], device=self.device)
        ids, pads = padded.repeat(self.cells, 1), pads.repeat(self.cells)
        positions = (torch.arange(length, device=self.device)[None] - pads[:, None]).clamp_min(0) + prefix
        columns = torch.arange(prefix, prefix + length, device=self.device)
        with last_layers(self.loaded.model, wanted=self.hidden) as layers:
            hidden = self.decoder.body(
                ids, positions, prompt_mask(prefix, pads, length), slots.cache.at(columns, prefix + length)
            )
        end = hidden[:, -1].view(self.cells, len(prompts), -1)
        mean = mean_of_layers([layer[:, -1:] for layer in layers])
        return _Batch(indices, prefix, pads, length, positions[:, -1] + 1, end, mean)

    def _force(
        self,
        batch: _Batch,
        slots: Slots,
        rows: list[int],
        answers: list[Answer],
        *,
        reference: Reference | None,
        keep: Reference | None,
    ) -> list[list[TokenScores]]:
        """Score one answer of each of some rows; [cells][rows]."""
        count = batch.end_hidden.shape[1]
        fed = max(len(answer.ids) for answer in answers) - 1
        lengths = [len(answer.ids) for answer in answers]
        hidden, layers = batch.end_hidden[:, :, None], batch.end_layers
        if fed:
            table = torch.zeros(count, fed, dtype=torch.long)
            for row, answer in zip(rows, answers, strict=True):
                table[row, : len(answer.ids) - 1] = torch.tensor(answer.ids[:-1], dtype=torch.long)
            ids = table.to(self.device).repeat(self.cells, 1)
            start = batch.prefix + batch.length
            steps = torch.arange(fed, device=self.device)
            mask = answer_mask(batch.prefix, batch.pads, batch.length, fed)
            with last_layers(self.loaded.model, wanted=self.hidden) as found:
                rest = self.decoder.body(
                    ids,
                    batch.end_positions[:, None] + steps,
                    mask,
                    slots.cache.at(start + steps, start + fed),
                )
            hidden = torch.cat([hidden, rest.view(self.cells, count, fed, -1)], dim=2)
            layers = torch.cat([layers, mean_of_layers(found)], dim=1) if found else layers
        # One flat list of (row, token) pairs: rows that predict a token of the answer or the turn's end.
        flat = [row * (fed + 1) + token for row, length in zip(rows, lengths, strict=True) for token in range(length)]
        pick = torch.tensor(flat, device=self.device)
        chosen = hidden.flatten(1, 2)[:, pick]
        gold = torch.tensor([token for answer in answers for token in answer.ids], device=self.device)
        indices = [batch.indices[row] for row in rows]
        base = torch.cat([reference.logits[index] for index in indices]) if reference is not None else None
        found_figures, logits = figures_of_hidden(
            lambda states: head(self.loaded.model, states), chosen, gold, base, self._vocabulary
        )
        tokens = [answer.answer_tokens for answer in answers]
        means = (
            mean_of_answers(layers.view(self.cells, count, *layers.shape[1:])[:, rows], tokens) if self.hidden else None
        )
        cosines: Tensor | None = None
        if reference is not None and means is not None:
            other = torch.stack([reference.hidden[index] for index in indices])
            cosines = cosine_similarity(means, other[None].expand_as(means), dim=2).clamp(-1, 1).cpu()
        if keep is not None:
            for index, piece in zip(indices, torch.split(logits, lengths), strict=True):
                keep.logits[index] = piece.clone()
            if means is not None:
                keep.hidden.update(zip(indices, means[0].unbind(0), strict=True))
        flat_cosines = [None] * (self.cells * len(rows)) if cosines is None else cosines.flatten().tolist()
        scores = split_scores(found_figures, lengths * self.cells, tokens * self.cells, flat_cosines)
        return [scores[cell * len(rows) : (cell + 1) * len(rows)] for cell in range(self.cells)]

    def _decode(self, batch: _Batch, slots: Slots, wanted: list[bool]) -> list[list[int]]:
        end = batch.end_hidden
        first = head(self.loaded.model, end.reshape(-1, end.shape[-1])).argmax(-1)
        start = batch.prefix + batch.length
        slots.columns.fill_(start)
        slots.positions.copy_(batch.end_positions[:, None])
        slots.allowed.zero_()
        slots.allowed[:, 0, 0, :start] = answer_mask(batch.prefix, batch.pads, batch.length, 1)[:, 0, 0, :-1]
        return self.decoder.decode(
            slots, first, wanted * self.cells, cells=self.cells, most=self.max_new_tokens, key=self._key()
        )

    def _key(self) -> object:
        if self.adapters is None:
            return None
        return (id(self.adapters), self.adapters.enabled, self.adapters.active, self.adapters.first)


def _groups(requests: Sequence[Request]) -> list[list[int]]:
    """Indices by group, sorted so that a batch holds prompts of like length with as many answers."""
    groups: dict[str, list[int]] = {}
    for index, request in enumerate(requests):
        groups.setdefault(request.group, []).append(index)

    def size(index: int) -> tuple[bool, int, int]:
        request = requests[index]
        return request.generate, len(request.answers), len(request.prompt)

    return [sorted(indices, key=size, reverse=True) for indices in groups.values()]


def _common_prefix(prompts: Sequence[tuple[int, ...]]) -> int:
    """Tokens that all prompts start with; each keeps at least its last token as its own."""
    low, high = min(prompts), max(prompts)
    most = min(map(len, prompts)) - 1
    return next((place for place in range(most) if low[place] != high[place]), most)


def _slides(loaded: Loaded) -> bool:
    types = getattr(loaded.model.config.get_text_config(), "layer_types", None)
    return types is None or any("sliding" in kind for kind in types)
