"""How sure a model is of a right answer where it gives one, in its own words.

A model that answers in sentences gives the bare answer a low log-probability, however well it knows the fact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile
from statistics import fmean
from typing import NamedTuple

from dual_data.evaluation.measuring.engine import Engine
from dual_data.evaluation.metrics.likelihood import TokenScores
from dual_data.evaluation.rows.data import Item
from dual_data.evaluation.rows.request import Answer, Request
from dual_data.matching import contains_answer

Prompt = tuple[int, ...]
Tokens = Sequence[int]


class OwnWords(NamedTuple):
    """A right answer after the words that a model put before it."""

    log_probability: float
    """Mean over the answer's tokens, in nats."""
    likeliest: bool
    """Whether each of them is the argmax."""
    words_likeliest: bool
    """Whether each token before them is the argmax."""


def own_words(
    engine: Engine, items: Sequence[Item], prompts: Sequence[Prompt], generations: Sequence[Tokens]
) -> list[OwnWords | None]:
    """The right answers inside the generations; None for a generation without one.

    The engine runs one model: the one that is scored, which need not be the one that gave the generations.
    """
    spans = [answer_span(engine.loaded.text, ids, item) for ids, item in zip(generations, items, strict=True)]
    requests = [
        Request(prompt, (Answer(tuple(ids[: span.stop]), span.stop),), generate=False)
        for prompt, ids, span in zip(prompts, generations, spans, strict=True)
        if span
    ]
    outcomes = engine.run(requests)[0] if requests else []
    scores = iter(outcome.scores[0] for outcome in outcomes)
    return [_from(next(scores), span.start) if span else None for span in spans]


def _from(scores: TokenScores, start: int) -> OwnWords:
    return OwnWords(fmean(scores.log_p[start:]), all(scores.greedy[start:]), all(scores.greedy[:start]))


def answer_span(text: Callable[[Tokens], str], ids: Tokens, item: Item) -> range | None:
    """Positions of the answer's tokens in a generation; None where it has no right answer.

    They end with the first token from which on the right answer stays in the text ("Nigeria" has no "Niger"), and are
    as few as still have it.
    """

    def has_answer(start: int, stop: int) -> bool:
        return contains_answer(text(ids[start:stop]), (item.answer, *item.answers), item.kind)

    lengths = list(takewhile(lambda stop: has_answer(0, stop), range(len(ids), 0, -1)))
    if not lengths:
        return None
    stop = lengths[-1]
    start = next(start for start in range(stop - 1, -1, -1) if has_answer(start, stop))
    return range(start, stop)
