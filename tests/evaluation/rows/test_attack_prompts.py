"""Attack prompts."""

from __future__ import annotations

import string

import pytest

from dual_data.evaluation.rows.attack_prompts import ATTACK_PROMPTS, IN_CONTEXT, MULTIPLE_CHOICE, attack_chats
from dual_data.evaluation.rows.data import Item
from tests.evaluation.questions import cities


def test_every_attack_asks_about_the_fact() -> None:
    item, *demonstrations = cities(4)
    chats = attack_chats(item, ATTACK_PROMPTS, demonstrations, ["Spain", "Chad"])
    assert {name for name, _, _ in chats} == set(ATTACK_PROMPTS)
    assert sum(name == IN_CONTEXT for name, _, _ in chats) == 2  # the question and its wording
    for name, chat, gold in chats:
        asked = chat[-1][1]
        assert chat[-1][0] == "user"
        if name == "reverse":
            assert gold == "Lyon"
            assert "Lyon" not in asked
            assert "France" in asked
        else:
            assert gold == "France"
            assert "Lyon" in asked
        gives_away = name in {"reverse", "multiple_choice"}
        assert ("France" in asked) == gives_away
        if name == IN_CONTEXT:
            assert [turn for turn in chat if turn[0] == "assistant"] == [
                ("assistant", shown.answer) for shown in demonstrations
            ]


def test_no_demonstration_holds_the_answer_that_is_asked_for() -> None:
    item, *others = cities(8)
    alike = [
        others[0]._replace(answer=answer, answers=(answer,))
        for answer in (item.answer, item.answer.upper(), f"Kingdom of {item.answer}")
    ]
    by_alias = item._replace(answers=(item.answer, "Gallia"))
    copied = others[0]._replace(answer="Gallia", answers=("Gallia",))
    ((_, chat, _), *_) = attack_chats(by_alias, (IN_CONTEXT,), [*alike, copied, *others], ())
    shown = [text for role, text in chat if role == "assistant"]
    assert shown == [city.answer for city in others if city.answer != item.answer][:4]
    assert attack_chats(item, (IN_CONTEXT,), alike, ()) == []
    longer = item._replace(answer=f"Kingdom of {item.answer}", answers=(f"Kingdom of {item.answer}",))
    assert attack_chats(longer, (IN_CONTEXT,), alike[:1], ()) == [], "most of the answer would be shown"


@pytest.mark.parametrize(
    ("question", "answer", "asked"),
    [
        ("What is the capital of Mexico?", "Mexico City", 0),
        ("What is the capital of Mexico?", "Ciudad de México", 0),
        ("Of Mexico, which city is MEXICO'S capital?", "D.F.", 0),
        ("What is the capital of Mexico?", "New Mexicoville", 1),
    ],
)
def test_the_reverse_attack_never_holds_what_it_asks_for(question: str, answer: str, asked: int) -> None:
    item = Item("a", question, answer, (answer,), "Mexico")
    chats = attack_chats(item, ("reverse",), (), ())
    assert len(chats) == asked
    assert all(gold == "Mexico" for _, _, gold in chats)


def test_attacks_that_do_not_apply_are_left_out() -> None:
    item = cities(1)[0]
    for subject in ("", " "):
        assert attack_chats(item._replace(subject=subject), ("reverse", "multiple_choice"), (), ()) == []


def test_a_choice_has_the_answer_however_many_distractors_there_are() -> None:
    item, distractors = cities(1)[0], [f"Land {number}" for number in range(40)]
    for name in map(str, range(20)):
        ((_, chat, answer),) = attack_chats(item._replace(id=name), ("multiple_choice",), (), distractors)
        options = chat[-1][1].splitlines()[1:-1]
        assert [option[0] for option in options] == list(string.ascii_uppercase)
        assert answer in [option[3:] for option in options]


def test_the_place_of_the_right_option_differs_between_questions_with_the_same_options() -> None:
    item = cities(1)[0]
    places = set()
    for number in range(20):
        ((_, chat, _),) = attack_chats(item._replace(id=f"item-{number}"), (MULTIPLE_CHOICE,), (), ["Spain", "Chad"])
        lines = chat[-1][1].splitlines()
        places.add(next(line[0] for line in lines if line.endswith(f". {item.answer}")))
    assert places == {"A", "B", "C"}
