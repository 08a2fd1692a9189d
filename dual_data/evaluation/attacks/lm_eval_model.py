"""A model for lm-eval that computes shared parts of requests once: the context of several options, worked examples.

lm-eval's own class for transformers runs each option in a separate row, after the context and the worked examples; only
single-token options share a row. Here token ids are the same, and figures are equal up to rounding: log-probabilities
are computed in float32 whatever the model's dtype.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from lm_eval.models.huggingface import HFLM
from tqdm import tqdm  # type: ignore[import-untyped]

from dual_data.errors import InputError
from dual_data.evaluation.measuring.open_engine import open_engine
from dual_data.evaluation.measuring.plain import PlainEngine
from dual_data.evaluation.metrics.likelihood import sum_log_probability
from dual_data.evaluation.models.decoder import attention_window
from dual_data.evaluation.models.loading import Loaded
from dual_data.evaluation.rows.request import Answer, Request

Ids = tuple[int, ...]

_LEAST_TOKENS = 2048
"""Fewest tokens that a group must save, since its prefix is a separate pass and its last batch may be small."""
_START = 32
"""Tokens after a shared prefix that prompts must have in common to be tried as a group with a longer prefix."""
_MOST_ANSWER_TOKENS = 512
"""Of one request: the answers of a row are concatenated, and attention is computed between all of them."""


class PrefixCachingLM(HFLM):  # type: ignore[misc]  # lm-eval has no types
    """lm-eval's HFLM with the log-probabilities of options from our engine, with the active adapters.

    HFLM itself computes rolling likelihoods, which share nothing, generations, requests longer than the attention
    window, and everything for a model that only the plain engine can run.
    """

    def __init__(self, loaded: Loaded, *, rows: int, max_length: int | None = None) -> None:
        """`rows` is the number of contexts, with their options, per batch; HFLM's own batches have at most 32."""
        super().__init__(
            pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=min(rows, 32), max_length=max_length
        )
        self.engine = open_engine(loaded, rows=rows, graphs=False)
        self._longest = 0 if isinstance(self.engine, PlainEngine) else attention_window(loaded.model)

    def _loglikelihood_tokens(
        self,
        requests: Sequence[tuple[Any, list[int], list[int]]],
        disable_tqdm: bool = False,
        override_bs: int | None = None,
    ) -> list[tuple[float, bool]]:
        """For (texts, context, continuation) as in HFLM: the log-probability, and whether every token is the argmax.

        Raises InputError for a continuation without tokens or longer than the model takes, and an empty context.
        """
        longest = self._longest if override_bs is None else 0  # only rolling likelihoods pass a batch size
        sizes = [min(len(context) + len(continuation), self.max_length + 1) for _, context, continuation in requests]
        ours = [index for index, size in enumerate(sizes) if size <= longest]
        theirs = [index for index, size in enumerate(sizes) if size > longest]
        results = dict[int, tuple[float, bool]]()
        if ours:
            results.update(zip(ours, self._shared([requests[index] for index in ours], disable_tqdm), strict=True))
        if theirs:
            rest = [requests[index] for index in theirs]
            rest_results = super()._loglikelihood_tokens(rest, disable_tqdm=disable_tqdm, override_bs=override_bs)
            results.update(zip(theirs, rest_results, strict=True))
        return [results[index] for index in range(len(requests))]

    def _shared(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], disable_tqdm: bool
    ) -> list[tuple[float, bool]]:
        by_prompt: dict[Ids, list[tuple[int, Answer]]] = {}
        for index, (texts, context, continuation) in enumerate(requests):
            if not (context and 0 < len(continuation) <= self.max_length):
                raise InputError(
                    f"lm-eval asks to score {len(continuation)} tokens after a context of {len(context)}, and the "
                    f"model takes 1 to {self.max_length} tokens after a context of at least 1: {texts!r:.200}"
                )
            ids = (context + continuation)[-(self.max_length + 1) : -len(continuation)]
            by_prompt.setdefault(tuple(ids), []).append((index, Answer(tuple(continuation), len(continuation))))
        engine_requests, request_indices = list[Request](), list[list[int]]()
        for number, prompts in enumerate(sharing(sorted(by_prompt))):
            for prompt in prompts:
                for row in _rows(by_prompt[prompt]):
                    answers = tuple(answer for _, answer in row)
                    engine_requests.append(Request(prompt, answers, generate=False, group=str(number)))
                    request_indices.append([index for index, _ in row])
        with tqdm(total=len(engine_requests), desc="Contexts with their options", disable=disable_tqdm) as bar:
            outcomes = self.engine.run(engine_requests, advance=bar.update)[0]
        results = [(0.0, False)] * len(requests)
        for indices, outcome in zip(request_indices, outcomes, strict=True):
            for index, scores in zip(indices, outcome.scores, strict=True):
                results[index] = sum_log_probability(scores), all(scores.greedy)
        return results


def sharing(prompts: Sequence[Ids]) -> list[list[Ids]]:
    """Sorted prompts in groups whose shared prefix is worth a group; the last group has the rest.

    Groups depend only on the tokens, so worked examples of a subject are found without being named.
    """
    if len(prompts) < 2:
        return [list(prompts)]
    common = _common(prompts)
    groups, rest = list[list[Ids]](), list[Ids]()
    for _, candidates in groupby(prompts, key=lambda ids: ids[common : common + _START]):
        *deeper, leftover = sharing(list(candidates))
        groups += deeper
        if leftover and _common(leftover) * (len(leftover) - 1) - common * len(leftover) >= _LEAST_TOKENS:
            groups.append(leftover)
        else:
            rest += leftover
    return [*groups, rest]


def _common(prompts: Sequence[Ids]) -> int:
    """Number of tokens that all of the sorted prompts start with."""
    first, last = prompts[0], prompts[-1]
    return next((index for index, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))


def _rows(answers: Sequence[tuple[int, Answer]]) -> Iterator[list[tuple[int, Answer]]]:
    """Answers of one prompt, divided into as few requests as `_MOST_ANSWER_TOKENS` allows."""
    row, size = list[tuple[int, Answer]](), 0
    for index, answer in answers:
        if row and size + len(answer.ids) > _MOST_ANSWER_TOKENS:
            yield row
            row, size = [], 0
        row.append((index, answer))
        size += len(answer.ids)
    if row:
        yield row
