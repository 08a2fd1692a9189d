"""A model for lm-eval that computes what its requests share once: a context with several options, worked examples.

lm-eval's own class for transformers sends each option through the model in a row of its own, with the context and the
worked examples before it; only options of one token share a row. Here they are the same token ids, and the same figures
but for rounding: log-probabilities are taken in float32 whatever the model's type.
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
from dual_data.evaluation.models.loading import Loaded, attention_window
from dual_data.evaluation.rows.request import Answer, Request

Ids = tuple[int, ...]

_LEAST_TOKENS = 2048
"""A group must save as many tokens: its prefix is a pass of its own, and its last batch may be small."""
_START = 32
"""Prompts that have as many tokens in common after a shared prefix may share a longer one."""
_MOST_ANSWER_TOKENS = 512
"""Of one request: the answers of a row stand behind each other, and attention is computed between all of them."""


class PrefixCachingLM(HFLM):  # type: ignore[misc]  # lm-eval has no types
    """lm-eval's HFLM with the log-probabilities of options from our engine; adapters that are on are measured too.

    Rolling likelihoods, which share nothing, and texts are HFLM's own; so is all of a model that only the slow engine
    serves, and what is longer than a window of attention.
    """

    def __init__(self, loaded: Loaded, *, rows: int = 32, max_length: int | None = None) -> None:
        """`rows` contexts with their options a batch; what is HFLM's own goes in batches of 32 at most."""
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
        """What HFLM says of (texts, context, continuation): the log-probability, and whether each token is the argmax.

        Raises InputError for a continuation without tokens or longer than the model takes, and an empty context.
        """
        longest = self._longest if override_bs is None else 0  # rolling likelihoods alone bring a batch size
        sizes = [min(len(context) + len(continuation), self.max_length + 1) for _, context, continuation in requests]
        ours = [index for index, size in enumerate(sizes) if size <= longest]
        theirs = [index for index, size in enumerate(sizes) if size > longest]
        found = dict[int, tuple[float, bool]]()
        if ours:
            found.update(zip(ours, self._shared([requests[index] for index in ours], disable_tqdm), strict=True))
        if theirs:
            rest = [requests[index] for index in theirs]
            said = super()._loglikelihood_tokens(rest, disable_tqdm=disable_tqdm, override_bs=override_bs)
            found.update(zip(theirs, said, strict=True))
        return [found[index] for index in range(len(requests))]

    def _shared(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], disable_tqdm: bool
    ) -> list[tuple[float, bool]]:
        asked: dict[Ids, list[tuple[int, Answer]]] = {}
        for index, (texts, context, continuation) in enumerate(requests):
            if not (context and 0 < len(continuation) <= self.max_length):
                raise InputError(
                    f"lm-eval asks for {len(continuation)} tokens after {len(context)}, and the model takes 1 to "
                    f"{self.max_length} after at least 1: {texts!r:.200}"
                )
            seen = (context + continuation)[-(self.max_length + 1) : -len(continuation)]
            asked.setdefault(tuple(seen), []).append((index, Answer(tuple(continuation), len(continuation))))
        made, places = list[Request](), list[list[int]]()
        for number, prompts in enumerate(sharing(sorted(asked))):
            for prompt in prompts:
                for row in _rows(asked[prompt]):
                    answers = tuple(answer for _, answer in row)
                    made.append(Request(prompt, answers, generate=False, group=str(number)))
                    places.append([index for index, _ in row])
        with tqdm(total=len(made), desc="Contexts with their options", disable=disable_tqdm) as bar:
            outcomes = self.engine.run(made, advance=bar.update)[0]
        found = [(0.0, False)] * len(requests)
        for indices, outcome in zip(places, outcomes, strict=True):
            for index, scores in zip(indices, outcome.scores, strict=True):
                found[index] = sum_log_probability(scores), all(scores.greedy)
        return found


def sharing(prompts: Sequence[Ids]) -> list[list[Ids]]:
    """Prompts, which come sorted, in groups that share a prefix worth a group; the last one is the rest of them.

    What decides is the tokens alone: worked examples of a subject are found without being named.
    """
    if len(prompts) < 2:
        return [list(prompts)]
    common = _common(prompts)
    groups, rest = list[list[Ids]](), list[Ids]()
    for _, piece in groupby(prompts, key=lambda ids: ids[common : common + _START]):
        *deeper, left = sharing(list(piece))
        groups += deeper
        if left and _common(left) * (len(left) - 1) - common * len(left) >= _LEAST_TOKENS:
            groups.append(left)
        else:
            rest += left
    return [*groups, rest]


def _common(prompts: Sequence[Ids]) -> int:
    """Tokens that sorted prompts start with."""
    first, last = prompts[0], prompts[-1]
    return next((place for place, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))


def _rows(answers: Sequence[tuple[int, Answer]]) -> Iterator[list[tuple[int, Answer]]]:
    """Answers of one prompt in as few requests as their tokens allow."""
    row, size = list[tuple[int, Answer]](), 0
    for index, answer in answers:
        if row and size + len(answer.ids) > _MOST_ANSWER_TOKENS:
            yield row
            row, size = [], 0
        row.append((index, answer))
        size += len(answer.ids)
    if row:
        yield row
