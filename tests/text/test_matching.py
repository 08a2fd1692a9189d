"""Accepted answers in text."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dual_data.text.matching import ObjectKind, contains_answer, exact_answer, kind_of, normalise
from dual_data.text.words import words


@pytest.mark.parametrize(
    ("text", "answers", "contained", "exact"),
    [
        ("The capital of Brazil is Brasilia.", ["Brasília"], True, False),
        ("Brasília.", ["Brasilia"], True, True),
        ("Romania", ["Oman"], False, False),
        ("the Hague", ["The Hague"], True, True),
        ("Hague", ["The Hague"], True, True),
        ("Xi’an", ["Xian"], True, True),
        ("France's capital", ["France"], True, False),
        ("Cote d'Ivoire", ["Ivory Coast", "Côte d’Ivoire"], True, True),
        ("Vitamin C", ["Vitamin A"], False, False),
        ("C", ["C++"], False, False),
        ("C#", ["C++"], False, False),
        ("It is C++.", ["C++"], True, False),
        ("It is C++.", ["C"], False, False),
        ("C#", ["C"], False, False),
        ("C++ or C", ["C"], True, False),
        ("C sharp", ["C#"], True, True),
        ("in F# minor", ["F-sharp minor"], True, False),
        ("in F# minor", ["F minor"], False, False),
        ("Linux plus macOS", ["Linux"], True, False),
        ("東京です", ["東京"], True, False),
        ("Это Москва", ["Москва"], True, False),
        ("!!!", ["!!!"], True, True),
        ("anything", [""], False, False),
        ("anything", [" "], False, False),
        ("", ["Paris"], False, False),
        ("New York", ["York New"], False, False),
        ("anything", [], False, False),
    ],
)
def test_names(text: str, answers: list[str], contained: bool, exact: bool) -> None:
    assert contains_answer(text, answers) is contained
    assert exact_answer(text, answers) is exact


@pytest.mark.parametrize(
    ("text", "answer", "contained", "exact"),
    [
        ("a city", "City", True, True),
        ("oak", "an oak", True, True),
        ("B oak", "A oak", True, False),
        ("A", "a", True, True),  # alone it is no article
        ("B", "A", False, False),
        ("It is B", "An A", False, False),
        ("Milne", "A. A. Milne", False, False),  # nor are initials
        ("A. A. Milne", "A. Milne", True, False),
        ("Them", "The", False, False),
        ("The The", "The", True, False),
    ],
)
def test_articles(text: str, answer: str, contained: bool, exact: bool) -> None:
    assert contains_answer(text, [answer]) is contained
    assert exact_answer(text, [answer]) is exact


@pytest.mark.parametrize(
    ("text", "answer", "contained", "exact"),
    [
        ("!!!", "???", False, False),
        (" ?! ", "?!", True, True),
        ("It is !!!", " !!! ", True, False),
        ("It is Ⓐ", "ⓐ", True, False),
        ("Ⓐ", "ⓐ", True, True),
        ("", "", False, False),
        ("", "?", False, False),
    ],
)
def test_a_name_of_signs_alone_is_compared_by_its_signs(text: str, answer: str, contained: bool, exact: bool) -> None:
    assert contains_answer(text, [answer]) is contained
    assert exact_answer(text, [answer]) is exact


def test_kinds() -> None:
    assert [kind_of(value) for value in ("entity", "text", "date", "quantity")] == [
        "entity",
        "text",
        "date",
        "quantity",
    ]
    assert [kind_of(value) for value in ("colour", "", None)] == ["entity"] * 3


def test_one_of_several_accepted_values_is_enough() -> None:
    for kind, answers in (("date", ["1890", "1889"]), ("quantity", ["7", "1889"])):
        assert contains_answer("in 1889", answers, kind_of(kind))
        assert exact_answer("1889", answers, kind_of(kind))
    assert contains_answer("324 m", ["324"], "quantity")  # no unit is asked for


def test_fillers_alone_are_no_date_and_no_number() -> None:
    assert not exact_answer("in the year", ["1889"], "date")
    assert not exact_answer("about", ["7"], "quantity")


@pytest.mark.parametrize("sign", ["", "'", "‘", "’", "`", "´", *"\u02bb\u02bc\u02bd\u02be\u02bf"])
@pytest.mark.parametrize("answer_sign", ["", "'", "’", "\u02bb"])
def test_an_apostrophe_in_a_name_may_be_any_or_none(sign: str, answer_sign: str) -> None:
    for name in ("La{}ie", "Kingdom of Hawai{}i", "Nuku{}alofa", "{}Ali", "Al-Ma{}arri", "Sana{}"):
        text, answer = name.format(sign), name.format(answer_sign)
        assert exact_answer(text, [answer]), (text, answer)
        assert contains_answer(f"It is {text}, they say.", [answer]), (text, answer)
    assert not contains_answer(f"Oma{sign}n", ["Oma"])


def test_an_apostrophe_that_is_a_letter_and_stands_alone_is_no_word() -> None:
    assert normalise("A \u02bb B") == normalise("A B")
    assert exact_answer("\u02bb", ["\u02bb"])
    assert not contains_answer("A B", ["\u02bb"])


@pytest.mark.parametrize(
    ("text", "answer", "kind", "contained", "exact"),
    [
        ("It opened on 31 March 1889.", "1889", "date", True, False),
        ("31 March 1889", "1889-03-31", "date", True, True),
        ("in 1889", "1889", "date", True, True),
        ("1889", "1889-03-31", "date", False, False),
        ("18890", "1889", "date", False, False),
        ("44 BC", "-0043", "date", True, True),
        ("44BC", "-0043", "date", True, True),
        ("AD 79", "79 AD", "date", True, True),
        ("in A.D. 79, they say", "79 AD", "date", True, False),
        ("c.1889", "1889", "date", True, True),
        ("1889AD", "1889", "date", True, True),
        ("1889-1890", "1889", "date", True, False),
        ("10-15 m", "15 m", "quantity", True, False),
        ("in 2015, about 7", "7", "quantity", True, False),
        ("324 m", "324 Q11573", "quantity", True, True),
        ("It is 0.324 km tall", "324 metres", "quantity", True, False),
        ("324 feet", "324 metres", "quantity", False, False),
        ("3240", "324", "quantity", False, False),
        ("many", "324", "quantity", False, False),
        # What is not read as a value is compared as words.
        ("in the 1880s", "the 1880s", "date", True, False),
        ("the 1880s", "1880s", "date", True, True),
        ("in the 1870s", "1880s", "date", False, False),
        ("twelve", "twelve", "quantity", True, True),
        ("twelve of them", "Twelve", "quantity", True, False),
        ("eleven", "twelve", "quantity", False, False),
    ],
)
def test_literals(text: str, answer: str, kind: ObjectKind, contained: bool, exact: bool) -> None:
    assert contains_answer(text, [answer], kind) is contained
    assert exact_answer(text, [answer], kind) is exact


@pytest.mark.parametrize(
    ("text", "accepted"),
    [("6,650 km", True), ("6650", True), ("6,650,000 m", True), ("6,650 m", False), ("6,650 square km", False)],
)
def test_a_bare_number_is_accepted_of_a_text_without_a_unit_alone(text: str, accepted: bool) -> None:
    assert contains_answer(text, ["6,650 km", "6650 km", "6,650", "6650"], "quantity") is accepted


@given(st.text(max_size=30))
@example("A:A:0")
@example("\u02bbthe ŉ")
@example("ẚ ʻa b")
def test_normalising_is_idempotent_on_words(text: str) -> None:
    once = normalise(text)
    if words(once):
        assert exact_answer(once, [text])


@given(st.text(min_size=1, max_size=20).filter(lambda text: bool(text.strip())), st.text(max_size=20))
def test_exact_implies_contained(answer: str, text: str) -> None:
    assert exact_answer(answer, [answer])
    assert contains_answer(answer, [answer])
    if exact_answer(text, [answer]):
        assert contains_answer(text, [answer])
