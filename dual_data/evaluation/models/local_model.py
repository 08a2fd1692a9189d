"""The evaluation's models as closed-book probes: they answer chats and give probabilities, in this process.

Rows are sorted by length and batched. The common prefix of a batch's prompts (template, system prompt) is computed once
and its keys and values are shared; a row leaves its batch when its answer ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import DynamicCache

from dual_data.errors import UsageError
from dual_data.evaluation.models.context import check_tokens
from dual_data.evaluation.models.decoder import cached, head
from dual_data.evaluation.models.loading import Loaded, load
from dual_data.evaluation.rows.data import render
from dual_data.evaluation.rows.packing import shared_prefix
from dual_data.ids import digest
from dual_data.sources.chat.protocol import Chat, Sampling


class _Prefilled(NamedTuple):
    """State of a batch after its prompts."""

    cache: DynamicCache
    mask: Tensor
    """[rows, tokens], 0 where a row is padded."""
    lengths: Tensor
    """[rows], tokens without padding."""
    logits: Tensor
    """[rows, vocabulary], for the next token."""


class LocalModel:
    """A loaded causal language model that answers chats; see `dual_data.sources.chat.protocol.ChatModel`.

    At most `batch` rows are computed at once. Up to floating-point rounding, an answer does not depend on what else is
    in the batch.
    """

    def __init__(self, loaded: Loaded, *, batch: int = 128) -> None:
        self._loaded = loaded
        self._model, self._tokenizer, self._info = loaded
        self._device = loaded.device
        self._batch = batch

    @classmethod
    def open(cls, spec: str) -> LocalModel:
        """Load `spec` as `dual_data.evaluation.models.loading.load` does."""
        return cls(load(spec))

    @property
    def name(self) -> str:
        """The spec by which the model was loaded."""
        return self._info.spec

    @property
    def identity(self) -> Mapping[str, str]:
        """What an answer depends on besides the chat and the sampling."""
        return {
            "weights": self._info.weights,
            "dtype": self._info.dtype,
            "template": digest(self._info.template),
            **dict(self._info.packages),
        }

    @torch.inference_mode()
    def generate(self, chats: Sequence[Chat], sampling: Sampling) -> list[list[str]]:
        """`sampling.samples` answers per chat; one greedy answer at temperature 0."""
        samples = sampling.samples if sampling.temperature > 0 else 1
        texts = [self._prompt(chat) for chat in chats]
        prompts = self._fitting(self._encode(texts), sampling.max_new_tokens)
        answers: list[list[str]] = [[] for _ in chats]
        for rows in self._batches(prompts, width=samples):
            state = self._prefill([prompts[row] for row in rows])
            if samples > 1:
                state = _repeat(state, samples)
            noise = torch.stack([_noise(texts[row], sampling, sample) for row in rows for sample in range(samples)])
            tokens = self._decode(state, sampling, noise.to(self._device))
            for index, ids in enumerate(tokens):
                answers[rows[index // samples]].append(str(self._tokenizer.decode(ids, skip_special_tokens=True)))
        return answers

    @torch.inference_mode()
    def log_probabilities(self, chats: Sequence[Chat], answers: Sequence[str]) -> list[float]:
        """Sum of the log-probabilities (nats) of each answer's tokens, end of turn excluded."""
        prompts = self._encode([self._prompt(chat) for chat in chats])
        targets = self._encode([answer.strip() for answer in answers])
        for answer, target in zip(answers, targets, strict=True):
            if not target:
                raise UsageError(f"the answer {answer!r} has no tokens")
        log_ps = [0.0] * len(chats)
        rows_of_ids = self._fitting([prompt + target for prompt, target in zip(prompts, targets, strict=True)])
        for rows in self._batches(rows_of_ids):
            shared, cache = self._shared([prompts[row] for row in rows])
            ids = _pad_right([rows_of_ids[row][shared:] for row in rows], self._info.pad_id).to(self._device)
            hidden = self._forward(ids, cache, None, None)
            places = [
                (i, len(prompts[row]) - 1 - shared + t) for i, row in enumerate(rows) for t in range(len(targets[row]))
            ]
            row_index, column = torch.tensor(places, device=self._device).T
            gold = torch.tensor([token for row in rows for token in targets[row]], device=self._device)
            logits = head(self._model, hidden[row_index, column])
            scores = logits.gather(1, gold[:, None])[:, 0] - logits.logsumexp(1)
            sums = torch.zeros(len(rows), dtype=torch.float64).index_add_(0, row_index.cpu(), scores.double().cpu())
            for row, total in zip(rows, sums.tolist(), strict=True):
                log_ps[row] = min(total, 0.0)
        return log_ps

    @torch.inference_mode()
    def label_log_probabilities(self, chats: Sequence[Chat], labels: Sequence[str]) -> list[list[float]]:
        """Log-probability of each label as the next token, [chat][label]. UsageError for a label of several tokens."""
        ids = self._encode(list(labels))
        if unusable := [label for label, tokens in zip(labels, ids, strict=True) if len(tokens) != 1]:
            raise UsageError(f"{self.name} does not write {', '.join(unusable)} as one token: choose other labels")
        columns = torch.tensor([tokens[0] for tokens in ids], device=self._device)
        prompts = self._fitting(self._encode([self._prompt(chat) for chat in chats]))
        log_ps: list[list[float]] = [[] for _ in chats]
        for rows in self._batches(prompts):
            scores = self._prefill([prompts[row] for row in rows]).logits.log_softmax(1)[:, columns]
            for row, values in zip(rows, scores.tolist(), strict=True):
                log_ps[row] = values
        return log_ps

    def _prompt(self, chat: Chat) -> str:
        return render(self._tokenizer, [("system", chat.system), ("user", chat.user)])

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        return (
            [list(ids) for ids in self._tokenizer(list(texts), add_special_tokens=False)["input_ids"]] if texts else []
        )

    def _fitting(self, rows: list[list[int]], more: int = 0) -> list[list[int]]:
        """The rows, unchanged. Raises InputError where one, followed by `more` tokens, is too long for the model."""
        check_tokens(self._loaded, max(map(len, rows), default=0) + more, "the longest chat")
        return rows

    def _batches(self, rows: Sequence[Sequence[int]], width: int = 1) -> Iterator[list[int]]:
        """Row numbers in batches of similar length; content breaks ties, so the order of `rows` does not matter."""
        order = sorted(range(len(rows)), key=lambda row: (len(rows[row]), rows[row], row))
        size = max(1, self._batch // width)
        for start in range(0, len(order), size):
            yield order[start : start + size]

    def _shared(self, prompts: Sequence[list[int]]) -> tuple[int, DynamicCache]:
        """How many tokens all the prompts begin with, and a cache that holds them for every row."""
        prefix = shared_prefix(prompts)
        cache = DynamicCache(config=self._model.config)
        if prefix:
            self._forward(torch.tensor([prefix], device=self._device), cache, None, None)
            cache.batch_repeat_interleave(len(prompts))
        return len(prefix), cache

    def _prefill(self, prompts: Sequence[list[int]]) -> _Prefilled:
        shared, cache = self._shared(prompts)
        tails = [prompt[shared:] for prompt in prompts]
        width = max(map(len, tails))
        ids = torch.tensor([[self._info.pad_id] * (width - len(tail)) + tail for tail in tails], device=self._device)
        pads = torch.tensor([width - len(tail) for tail in tails], device=self._device)
        columns = torch.arange(width, device=self._device)
        real = columns >= pads[:, None]
        mask = torch.cat([torch.ones(len(tails), shared, dtype=torch.bool, device=self._device), real], 1).long()
        positions = (shared + columns - pads[:, None]).clamp(min=0)
        hidden = self._forward(ids, cache, mask, positions)
        return _Prefilled(cache, mask, mask.sum(1), head(self._model, hidden[:, -1]))

    def _decode(self, state: _Prefilled, sampling: Sampling, noise: Tensor) -> list[list[int]]:
        """Token ids of each row, without the stop token."""
        cache, mask, lengths, logits = state
        answers: list[list[int]] = [[] for _ in range(len(lengths))]
        rows = list(range(len(lengths)))
        for step in range(sampling.max_new_tokens):
            tokens = _draw(logits, sampling, noise[:, step]).tolist()
            going = [place for place, token in enumerate(tokens) if token not in self._info.stop_ids]
            for place in going:
                answers[rows[place]].append(tokens[place])
            if not going or step + 1 == sampling.max_new_tokens:
                break
            if len(going) < len(rows):
                keep = torch.tensor(going, device=self._device)
                cache.batch_select_indices(keep)
                mask, lengths, noise = mask[keep], lengths[keep], noise[keep]
                rows = [rows[place] for place in going]
            mask = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
            ids = torch.tensor([[tokens[place]] for place in going], device=self._device)
            hidden = self._forward(ids, cache, mask, (lengths + step)[:, None])
            logits = head(self._model, hidden[:, -1])
        return answers

    def _forward(self, ids: Tensor, cache: DynamicCache, mask: Tensor | None, positions: Tensor | None) -> Tensor:
        output: Any = self._model.base_model(
            input_ids=ids, attention_mask=mask, position_ids=positions, **cached(self._model, cache)
        )
        hidden: Tensor = output.last_hidden_state
        return hidden


def _repeat(state: _Prefilled, times: int) -> _Prefilled:
    state.cache.batch_repeat_interleave(times)
    return _Prefilled(state.cache, *(tensor.repeat_interleave(times, 0) for tensor in state[1:]))


def _noise(text: str, sampling: Sampling, sample: int) -> Tensor:
    """Uniform numbers in [0, 1), one per step, that depend only on the seed, the prompt and the sample."""
    generator = torch.Generator().manual_seed(int(digest(f"{sampling.seed}|{sample}|{text}", 15), 16))
    return torch.rand(sampling.max_new_tokens, generator=generator, dtype=torch.float64)


def _draw(logits: Tensor, sampling: Sampling, uniform: Tensor) -> Tensor:
    """The next token of each row: the likeliest, or sampled by inverting the distribution of the nucleus (top p)."""
    if sampling.temperature <= 0:
        return logits.argmax(1)
    scaled, tokens = torch.sort(logits / sampling.temperature, dim=1, descending=True, stable=True)
    mass = scaled.double().softmax(1)
    before = mass.cumsum(1) - mass
    mass = mass.masked_fill(before >= sampling.top_p, 0.0)
    edges = mass.cumsum(1)
    index = torch.searchsorted(edges, (uniform * edges[:, -1])[:, None], right=True)
    chosen: Tensor = tokens.gather(1, index.clamp(max=tokens.shape[1] - 1))[:, 0]
    return chosen


def _pad_right(rows: Sequence[Sequence[int]], pad: int) -> Tensor:
    width = max(map(len, rows))
    return torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows])
