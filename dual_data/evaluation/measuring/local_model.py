"""The evaluation's models as closed-book probes: they answer chats and give probabilities, in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessor

from dual_data.errors import UsageError
from dual_data.evaluation.device.draws import generator
from dual_data.evaluation.measuring.open_engine import open_engine
from dual_data.evaluation.measuring.plain import PlainEngine
from dual_data.evaluation.metrics.likelihood import sum_log_probability
from dual_data.evaluation.models.loading import Loaded
from dual_data.evaluation.models.names import public_name
from dual_data.evaluation.rows.encoding import render, text_ids
from dual_data.evaluation.rows.request import Answer, Outcome, Request
from dual_data.ids import digest
from dual_data.sources.chat.protocol import Chat, Sampling


class LocalModel:
    """A loaded causal language model that answers chats; see `dual_data.sources.chat.protocol.ChatModel`.

    At most `batch` rows are computed at once. Up to floating-point rounding, an answer does not depend on what else is
    in the batch.
    """

    def __init__(self, loaded: Loaded, *, batch: int = 128) -> None:
        self._loaded, self._batch = loaded, batch

    @property
    def name(self) -> str:
        """The spec by which the model was loaded, as `public_name` has it."""
        return public_name(self._loaded.info.spec)

    @property
    def identity(self) -> Mapping[str, str]:
        """What an answer depends on besides the chat and the sampling."""
        info = self._loaded.info
        return {
            "weights": info.weights, "dtype": info.dtype, "template": digest(info.template), **dict(info.packages),
        }  # fmt: skip

    def generate(self, chats: Sequence[Chat], sampling: Sampling) -> list[list[str]]:
        """`sampling.samples` answers per chat; one greedy answer at temperature 0."""
        texts = [self._prompt(chat) for chat in chats]
        requests = [Request(ids) for ids in text_ids(self._loaded.tokenizer, texts)]
        if sampling.temperature > 0:
            return self._sampled(texts, requests, sampling)
        return [[self._loaded.text(outcome.generation)] for outcome in self._run(requests, sampling.max_new_tokens)]

    def log_probabilities(self, chats: Sequence[Chat], answers: Sequence[str]) -> list[float]:
        """Sum of the log-probabilities (nats) of each answer's tokens, end of turn excluded."""
        targets = text_ids(self._loaded.tokenizer, [answer.strip() for answer in answers])
        for answer, target in zip(answers, targets, strict=True):
            if not target:
                raise UsageError(f"the answer {answer!r} has no tokens")
        outcomes = self._scored(chats, [(target,) for target in targets])
        return [min(sum_log_probability(outcome.scores[0]), 0.0) for outcome in outcomes]

    def label_log_probabilities(self, chats: Sequence[Chat], labels: Sequence[str]) -> list[list[float]]:
        """Log-probability of each label as the next token, [chat][label]. UsageError for a label of several tokens."""
        ids = text_ids(self._loaded.tokenizer, labels)
        if unusable := [label for label, tokens in zip(labels, ids, strict=True) if len(tokens) != 1]:
            raise UsageError(f"{self.name} does not write {', '.join(unusable)} as one token: choose other labels")
        outcomes = self._scored(chats, [ids] * len(chats))
        return [[scores.log_p[0] for scores in outcome.scores] for outcome in outcomes]

    def _scored(self, chats: Sequence[Chat], answers: Sequence[Sequence[tuple[int, ...]]]) -> list[Outcome]:
        prompts = text_ids(self._loaded.tokenizer, [self._prompt(chat) for chat in chats])
        return self._run(
            [
                Request(prompt, tuple(Answer(ids, len(ids)) for ids in row), generate=False)
                for prompt, row in zip(prompts, answers, strict=True)
            ]
        )

    def _run(self, requests: Sequence[Request], max_new_tokens: int = 0) -> list[Outcome]:
        self._check(requests, max_new_tokens)
        if not requests:
            return []
        return open_engine(self._loaded, rows=self._batch, max_new_tokens=max_new_tokens).run(requests)[0]

    def _sampled(self, texts: Sequence[str], requests: Sequence[Request], sampling: Sampling) -> list[list[str]]:
        self._check(requests, sampling.max_new_tokens)
        engine = PlainEngine(self._loaded, rows=self._batch, max_new_tokens=sampling.max_new_tokens)
        rows = [
            (text, request.prompt, n)
            for text, request in zip(texts, requests, strict=True)
            for n in range(sampling.samples)
        ]
        answers: list[str] = []
        for start in range(0, len(rows), self._batch):
            batch = rows[start : start + self._batch]
            noise = torch.stack([_noise(text, sampling, n) for text, _, n in batch]).to(self._loaded.device)
            drawn = engine.generate([prompt for _, prompt, _ in batch], [_Drawn(sampling, noise)])
            answers += [self._loaded.text(ids) for ids, _ in drawn]
        return [answers[start : start + sampling.samples] for start in range(0, len(answers), sampling.samples)]

    def _check(self, requests: Sequence[Request], max_new_tokens: int) -> None:
        longest = max((request.tokens(max_new_tokens) for request in requests), default=0)
        self._loaded.room.expect(longest, "the longest chat")

    def _prompt(self, chat: Chat) -> str:
        return render(self._loaded.tokenizer, [("system", chat.system), ("user", chat.user)])


class _Drawn(LogitsProcessor):
    """Leaves of each row's logits only the next token, drawn by inverting the distribution of the nucleus (top p)."""

    def __init__(self, sampling: Sampling, noise: Tensor) -> None:
        self._sampling, self._noise, self._step = sampling, noise, 0

    def __call__(self, input_ids: Tensor, logits: Tensor) -> Tensor:
        scaled, tokens = torch.sort(logits / self._sampling.temperature, dim=1, descending=True, stable=True)
        mass = scaled.double().softmax(1)
        mass = mass.masked_fill(mass.cumsum(1) - mass >= self._sampling.top_p, 0.0)
        edges = mass.cumsum(1)
        uniform = self._noise[:, self._step] * edges[:, -1]
        self._step += 1
        index = torch.searchsorted(edges, uniform[:, None], right=True).clamp(max=tokens.shape[1] - 1)
        return torch.full_like(logits, -torch.inf).scatter(1, tokens.gather(1, index), 0.0)


def _noise(text: str, sampling: Sampling, sample: int) -> Tensor:
    """Uniform numbers in [0, 1), one per step, that depend only on the seed, the prompt and the sample."""
    of_prompt = generator(f"{sampling.seed}|{sample}|{text}")
    return torch.rand(sampling.max_new_tokens, generator=of_prompt, dtype=torch.float64)
