"""How sure a model is of a right answer in its own words."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
import torch

from dual_data.evaluation.measuring.open_engine import open_engine
from dual_data.evaluation.measuring.own_words import answer_span, own_words
from dual_data.evaluation.models.tiny import tiny
from dual_data.evaluation.rows.data import Item
from dual_data.evaluation.rows.encoding import PROFILES, prompt_ids
from dual_data.matching import ObjectKind


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


def test_it_is_the_mean_log_probability_after_the_question_and_the_words_before() -> None:
    loaded = tiny("llama")
    tokenizer = loaded.tokenizer
    items = [Item(str(index), f"Where is city {index}?", "Poland", ("Poland", "Polska")) for index in range(5)]
    texts = ["The city is in Poland.", "Poland", "It is unknown.", "Polska is where it is", "in Poland, in Poland"]
    prompts = [tuple(ids) for ids in prompt_ids(tokenizer, [item.question for item in items], PROFILES["chat"])]
    generations = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    engine = open_engine(loaded)
    values = own_words(engine, items, prompts, generations)
    assert values[2] is None
    for index in (0, 1, 3, 4):
        span = answer_span(loaded.text, generations[index], items[index])
        assert span is not None
        assert loaded.text(generations[index][span.start : span.stop]).strip() in ("Poland", "Polska")
        ids = torch.tensor([[*prompts[index], *generations[index]]])
        log_p = torch.log_softmax(loaded.model(ids).logits[0].float(), dim=1)
        first = len(prompts[index]) - 1
        expected = [log_p[first + position, generations[index][position]].item() for position in span]
        answer = values[index]
        assert answer is not None
        assert answer.log_probability == pytest.approx(sum(expected) / len(expected), abs=1e-4)
        greedy = [log_p[first + place].argmax().item() == token for place, token in enumerate(generations[index])]
        assert answer.likeliest == all(greedy[span.start : span.stop])
        assert answer.words_likeliest == all(greedy[: span.start])
    shuffled = random.Random(0).sample(range(5), 5)
    again = own_words(
        engine,
        [items[index] for index in shuffled],
        [prompts[index] for index in shuffled],
        [generations[index] for index in shuffled],
    )
    for index, answer in zip(shuffled, again, strict=True):
        assert answer == (None if values[index] is None else pytest.approx(values[index], abs=1e-5))


def test_it_is_asked_of_no_generation_without_the_answer() -> None:
    item = Item("1", "Where is it?", "Poland", ("Poland",))
    assert own_words(open_engine(tiny("llama")), [item], [(1, 2)], [[3, 4]]) == [None]
