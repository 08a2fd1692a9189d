"""Scores right answers where a model gave them: after the words that it put before them.

A model that answers in sentences gives the bare answer a low log-probability, however well it knows the fact. And where
unlearning only makes it begin otherwise, its texts lack an answer that it would still give after the words of before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import takewhile
from statistics import fmean

from dual_data.evaluation.measuring.engine import Engine
from dual_data.evaluation.measuring.workload import Asked, OwnWords, Workload
from dual_data.evaluation.rows.data import Item
from dual_data.evaluation.rows.request import Answer, Outcome
from dual_data.text.matching import contains_answer

Tokens = Sequence[int]


def ask_in_own_words(
    engine: Engine, workload: Workload, outcomes: Sequence[Outcome], sets: Sequence[str]
) -> tuple[Workload, list[Outcome]]:
    """Score the right answers inside the generations to some sets, which the engine's one model gave.

    Returns the workload with them as further answers of the canonical requests, which other models can then be asked,
    and the outcomes with their scores.
    """
    requests, outcomes = list(workload.requests), list(outcomes)
    answers: dict[int, list[Answer]] = {}

    def own_words(asked: Asked) -> OwnWords | None:
        ids = outcomes[asked.canonical].generation
        span = answer_span(engine.loaded.text, ids, asked.item)
        if span is None:
            return None
        own = answers.setdefault(asked.canonical, [])
        own.append(Answer(tuple(ids[: span.stop]), span.stop))
        return OwnWords(len(requests[asked.canonical].answers) + len(own) - 1, span.start)

    asked_sets = {
        name: tuple(asked._replace(own_words=own_words(asked)) for asked in workload.sets[name]) for name in sets
    }
    further = [requests[index]._replace(answers=tuple(own), generate=False) for index, own in answers.items()]
    for index, scored in zip(answers, engine.run(further)[0] if further else (), strict=True):
        requests[index] = requests[index]._replace(answers=requests[index].answers + tuple(answers[index]))
        outcomes[index] = outcomes[index]._replace(scores=outcomes[index].scores + scored.scores)
    return workload._replace(requests=tuple(requests), sets={**workload.sets, **asked_sets}), outcomes


def own_words_scores(outcome: Outcome, own_words: OwnWords | None) -> dict[str, float | None]:
    """Scores of the answer to an item in a model's own words; None without it, NaN where a model gave no number.

    own_words_log_probability is the mean over the answer's tokens, in nats. own_words_likeliest is whether each of them
    is the likeliest, and own_words_begun whether each token before them is: then a model that decodes greedily begins
    with these words.
    """
    if own_words is None:
        return dict.fromkeys(("own_words_log_probability", "own_words_likeliest", "own_words_begun"))
    scores, start = outcome.scores[own_words.answer], own_words.start
    log_p = fmean(scores.log_p[start:])
    is_nan = math.isnan(log_p)
    return {
        "own_words_log_probability": log_p,
        "own_words_likeliest": math.nan if is_nan else float(all(scores.greedy[start:])),
        "own_words_begun": math.nan if is_nan else float(all(scores.greedy[:start])),
    }


def answer_span(text: Callable[[Tokens], str], ids: Tokens, item: Item) -> range | None:
    """Positions of the answer's tokens in a generation; None where it has no right answer.

    They end with the first token from which on the right answer stays in the text ("Nigeria" has no "Niger"), and are
    as few as still have it.
    """

    def has_answer(start: int, stop: int) -> bool:
        return contains_answer(text(ids[start:stop]), item.answers, item.kind)

    lengths = list(takewhile(lambda stop: has_answer(0, stop), range(len(ids), 0, -1)))
    if not lengths:
        return None
    stop = lengths[-1]
    start = next(start for start in range(stop - 1, -1, -1) if has_answer(start, stop))
    return range(start, stop)
