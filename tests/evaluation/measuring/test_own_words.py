"""How sure a model is of a right answer in its own words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
import torch

from dual_data.evaluation.measuring.engine import Engine
from dual_data.evaluation.measuring.measure import measure
from dual_data.evaluation.measuring.open_engine import open_engine
from dual_data.evaluation.measuring.own_words import answer_span, own_words_scores
from dual_data.evaluation.measuring.score import Reference
from dual_data.evaluation.measuring.workload import MeasureOptions, OwnWords, build_workload
from dual_data.evaluation.models.loading import Loaded
from dual_data.evaluation.models.tiny import tiny
from dual_data.evaluation.rows.data import Item
from dual_data.evaluation.rows.request import Outcome, Request, TokenScores
from dual_data.text.matching import ObjectKind


@pytest.mark.parametrize(
    ("pieces", "answers", "kind", "span"),
    [
        (["The city is in", " Pol", "and", "."], ["Poland"], "entity", (1, 3)),
        (["Pol", "and"], ["Poland"], "entity", (0, 2)),
        (["It is", " Niger", "ia", "."], ["Niger"], "entity", None),
        (["It is", " Nigeria", " near", " Niger"], ["Niger"], "entity", (3, 4)),
        (["In", " France", ", yes", " France"], ["France"], "entity", (1, 2)),
        (["The", " Netherlands", " or", " Holland"], ["Nederland", "Holland"], "entity", (3, 4)),
        (["New", " York", " is", " in", " New", " York"], ["New York"], "entity", (0, 2)),
        (["On", " 17", " March", " 18", "61", "."], ["1861-03-17"], "date", (1, 5)),
        (["I do not know"], ["Poland"], "entity", None),
        ([], ["Poland"], "entity", None),
    ],
)
def test_an_answer_is_found_in_the_tokens_that_give_it(
    pieces: list[str], answers: list[str], kind: ObjectKind, span: tuple[int, int] | None
) -> None:
    item = Item("1", "?", answers[0], tuple(answers), kind=kind)

    def text(ids: Sequence[int]) -> str:
        return "".join(pieces[index] for index in ids)

    assert answer_span(text, range(len(pieces)), item) == (None if span is None else range(*span))


class _Saying(NamedTuple):
    """An engine whose model gives fixed generations."""

    engine: Engine
    generations: Sequence[tuple[int, ...]]

    @property
    def loaded(self) -> Loaded:
        return self.engine.loaded

    def run(
        self, requests: Sequence[Request], *, reference: Reference | None = None, keep: Reference | None = None
    ) -> list[list[Outcome]]:
        runs = self.engine.run(requests, reference=reference, keep=keep)
        if requests[0].generate:
            told = zip(runs[0], self.generations, strict=True)
            runs[0] = [outcome._replace(generation=ids) for outcome, ids in told]
        return runs


TEXTS = ("The city is in Poland.", "Poland", "It is unknown.", "Polska is where it is", "in Poland, in Poland")
ITEMS = [Item(str(index), f"Where is city {index}?", "Poland", ("Poland", "Polska")) for index in range(5)]


@pytest.fixture
def saying() -> Any:
    loaded = tiny("llama")
    generations = [tuple(ids) for ids in loaded.tokenizer(TEXTS, add_special_tokens=False)["input_ids"]]
    return _Saying(open_engine(loaded), generations)


def test_answers_are_scored_after_the_question_and_the_words_before(saying: Any) -> None:
    loaded, generations = saying.loaded, saying.generations
    workload = build_workload(loaded.tokenizer, {"forget": ITEMS, "other": ITEMS}, "chat", MeasureOptions())
    (before,) = measure(saying, workload, keep_reference=True, in_own_words=("forget",))
    (cell,) = measure(saying, before.workload, base=before)
    for measured in (before, cell):
        assert measured.summary["other"]["own_words_likeliest"] is None
        for index, row in enumerate(measured.items["forget"]):
            scores = row["scores"]
            own = [scores[f"own_words_{name}"] for name in ("log_probability", "likeliest", "begun")]
            if index == 2:
                assert own == [None] * 3
                continue
            span = answer_span(loaded.text, generations[index], ITEMS[index])
            assert span is not None
            assert loaded.text(generations[index][span.start : span.stop]).strip() in ("Poland", "Polska")
            prompt = workload.requests[workload.sets["forget"][index].canonical].prompt
            log_p = torch.log_softmax(loaded.model(torch.tensor([[*prompt, *generations[index]]])).logits[0], dim=1)
            log_p = log_p[len(prompt) - 1 :]
            expected = [log_p[place, generations[index][place]].item() for place in span]
            assert own[0] == pytest.approx(sum(expected) / len(expected), abs=1e-4)
            greedy = [log_p[place].argmax().item() == token for place, token in enumerate(generations[index])]
            assert own[1:] == [all(greedy[span.start : span.stop]), all(greedy[: span.start])]
            # What is scored besides is as without it.
            (plain,) = (line["scores"] for line in measured.items["other"] if line["id"] == row["id"])
            assert scores["normalised_probability"] == pytest.approx(plain["normalised_probability"], abs=1e-6)
    for row in cell.items["forget"]:
        assert row["scores"]["kl"] == pytest.approx(0, abs=1e-6)
        assert row["scores"]["hidden_cosine"] == pytest.approx(1, abs=1e-6)


def test_items_that_share_a_question_have_answers_of_their_own(saying: Any) -> None:
    pole, other = ITEMS[0], ITEMS[0]._replace(id="other", answers=("Poland", "The city"))
    workload = build_workload(saying.loaded.tokenizer, {"forget": [pole, other]}, "chat", MeasureOptions())
    assert len(workload.requests) == 1
    engine = saying._replace(generations=saying.generations[:1])
    (measured,) = measure(engine, workload, in_own_words=("forget",))
    (request,) = measured.workload.requests
    first, second = (place.own_words for place in measured.workload.sets["forget"])
    assert first is not None
    assert second is not None
    texts = [saying.loaded.text(request.answers[own.answer].ids) for own in (first, second)]
    assert texts == ["The city is in Poland", "The city"]
    # Tokens before "Poland", and the article before "city", which no answer needs.
    assert (first.start, second.start) == (6, 2)


def test_what_no_number_is_given_for_is_not_a_number(saying: Any) -> None:
    nan = TokenScores(2, (-1.0, math.nan), (1, 1), (True, True), (0.0,) * 2, (0.0,) * 2)
    outcome = Outcome((nan,), (), ended=True)
    assert str(list(own_words_scores(outcome, OwnWords(0, 1)).values())) == str([math.nan] * 3)
    begun = own_words_scores(outcome._replace(scores=(nan._replace(log_p=(-1.0, -2.0)),)), OwnWords(0, 1))
    assert list(begun.values()) == [-2.0, 1.0, 1.0]


def test_nothing_is_asked_where_no_generation_has_the_answer(saying: Any) -> None:
    items = [item._replace(answer="Peru", answers=("Peru",)) for item in ITEMS]
    workload = build_workload(saying.loaded.tokenizer, {"forget": items}, "chat", MeasureOptions())
    (measured,) = measure(saying, workload, in_own_words=("forget",))
    assert measured.workload == workload
    assert measured.summary["forget"]["own_words_log_probability"] is None
