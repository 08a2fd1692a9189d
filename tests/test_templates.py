"""Rendering of sentences, of literals as readers write them, of accepted answers and of hints."""

from __future__ import annotations

import re

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_data import templates
from dual_data.config import Relation, Wording
from dual_data.text.literals import dates, quantities
from dual_data.text.matching import contains_answer, exact_answer
from dual_data.text.rouge import unicode_tokens

WORDING = Wording(
    canonical="Who built {subject}?",
    validation=("Who was {subject} built by?",),
    training=("Name the builder of {subject}.",),
    test=("{subject} was built by whom?",),
    statement="{answer} built {subject}.",
)
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=20)
TEMPLATES = ("Who built {subject}?", "{subject} was built by whom?", "{answer} built {subject}.", "It is {answer}.")


def rendered(template: str, **values: str) -> str:
    """One sentence, rendered as a column of length 1."""
    texts, variables = templates.cut(template)
    expression = templates.rendered([pl.lit(text) for text in texts], [pl.lit(values[name]) for name in variables])
    return str(pl.select(expression).item())


def relation(**changes: object) -> Relation:
    fields = {"property": "P571", "name": "x", "topics": ["*"], "object": "date", "questions": WORDING, **changes}
    return Relation.model_validate(fields)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("Who built {subject}?", "Who built sundial?"),
        ("{subject} was built by whom?", "Sundial was built by whom?"),
        ("{{{subject}}} is in braces.", "{sundial} is in braces."),
    ],
)
def test_render(template: str, expected: str) -> None:
    assert rendered(template, subject="sundial") == expected


def test_a_name_with_a_capital_inside_keeps_its_first_letter() -> None:
    assert rendered("{subject} runs on what?", subject="iPhone 4") == "iPhone 4 runs on what?"


def test_a_sentence_ends_in_one_full_stop_or_question_mark() -> None:
    assert rendered("Who founded {subject}?", subject="Have I Been Pwned?") == "Who founded Have I Been Pwned?"
    assert rendered("Who wrote {subject}?", subject="Really??") == "Who wrote Really???"
    assert rendered("It was made by {answer}.", answer="Apple Inc.") == "It was made by Apple Inc."
    assert rendered("And then{subject}", subject="...") == "And then..."


@given(st.sampled_from(TEMPLATES), NAMES, NAMES)
def test_columns_render_as_plain_python_does(template: str, subject: str, answer: str) -> None:
    text = template.format(subject=subject, answer=answer)
    first_word = text.split(" ")[0]
    text = text[:1].upper() + text[1:] if first_word == first_word.lower() else text
    assert rendered(template, subject=subject, answer=answer) == re.sub(r"([^.]\.)\.$|([^?]\?)\?$", r"\1\2", text)


@given(NAMES)
def test_the_subject_stands_in_the_question_unchanged(subject: str) -> None:
    assert subject in rendered("Who built {subject}?", subject=subject)


def test_template_id_names_the_relation_and_changes_with_every_question() -> None:
    original = templates.template_id("P36_x", WORDING)
    assert original.startswith("P36_x@")
    for field in ("canonical", "statement"):
        value = getattr(WORDING, field).replace("built", "raised")
        assert templates.template_id("P36_x", WORDING.model_copy(update={field: value})) != original
    longer = WORDING.model_copy(update={"test": ("{subject} was raised by whom?",)})
    assert templates.template_id("P36_x", longer) != original


@pytest.mark.parametrize(
    ("precision", "value", "expected"),
    [
        ("year", "1889-03-31", ("1889",)),
        ("month", "1889-03-31", ("March 1889", "1889-03")),
        ("day", "1889-03-31", ("31 March 1889", "March 31, 1889", "1889-03-31")),
        ("year", "-0043", ("44 BC",)),
        ("year", "0079", ("79 AD",)),
        ("year", "0476", ("476",)),
        ("day", "1889-03", ()),
        ("year", "circa 1889", ()),
        ("day", "1889-13-31", ()),
        ("day", "1889-03-32", ()),
    ],
)
def test_dates_read_as_a_reader_writes_them(precision: str, value: str, expected: tuple[str, ...]) -> None:
    assert templates.literal_answers(relation(precision=precision), "date", value) == expected


@given(st.integers(-20_000, 9999), st.integers(1, 12), st.integers(1, 28), st.sampled_from(["year", "month", "day"]))
def test_every_form_of_a_date_states_the_same_date(year: int, month: int, day: int, precision: str) -> None:
    sign = "-" if year < 0 else ""
    value = f"{sign}{abs(year):04d}-{month:02d}-{day:02d}"
    forms = templates.literal_answers(relation(precision=precision), "date", value)
    assert forms
    expected = (year, month, day)[: ("year", "month", "day").index(precision) + 1]
    for form in forms:
        assert [date[: len(expected)] for date in dates(form)] == [expected]
        assert exact_answer(form, [forms[0]], "date")


@pytest.mark.parametrize(
    ("unit", "value", "expected"),
    [
        ("Q11573", "8849 Q11573", ("8,849 metres", "8849 metres", "8,849", "8849")),
        ("Q11573", "324.50 Q11573", ("324.5 metres", "324.5")),
        ("Q11573", "5 Q828224", ()),
        ("Q11573", "5", ()),
        (None, "12", ("12",)),
        (None, "1200000", ("1,200,000", "1200000")),
        (None, "1" + 29 * "0" + "7", ("1" + 9 * ",000" + ",007", "1" + 29 * "0" + "7")),
        (None, "many", ()),
        (None, "NaN", ()),
    ],
)
def test_quantities_read_as_a_reader_writes_them(unit: str | None, value: str, expected: tuple[str, ...]) -> None:
    name = "metres" if unit else ""
    quantity = relation(object="quantity", unit=unit, unit_name=name)
    assert templates.literal_answers(quantity, "quantity", value) == expected


@given(st.decimals(min_value=-(10**12), max_value=10**12, allow_nan=False, places=3))
def test_every_form_of_a_quantity_states_the_same_number(amount: object) -> None:
    metres = relation(object="quantity", unit="Q11573", unit_name="metres")
    forms = templates.literal_answers(metres, "quantity", f"{amount:f} Q11573")
    for form in forms:
        assert [quantity.amount for quantity in quantities(form)] == [amount]
        assert contains_answer(form, [forms[0]], "quantity")


def test_texts_are_their_own_answer() -> None:
    assert templates.literal_answers(relation(object="text"), "text", " DE ") == ("DE",)
    assert templates.literal_answers(relation(object="text"), "text", "  ") == ()


def test_aliases_that_sentences_hold_by_chance_are_not_accepted() -> None:
    answers = templates.accepted("India", ["IN", "I", "Bharat", "INDIA", "🇮🇳", "  ", "Republic of India"])
    assert answers == ("India", "Bharat", "Republic of India")
    assert not contains_answer("It lies in Paris", answers)


@given(NAMES, st.lists(NAMES, max_size=5))
def test_the_canonical_answer_comes_first_and_no_answer_twice(answer: str, aliases: list[str]) -> None:
    answers = templates.accepted(answer, aliases)
    assert answers[0] == answer
    assert len({text.casefold() for text in answers}) == len(answers)


@pytest.mark.parametrize(
    ("answer", "telling"),
    [
        ("Arrondissement of Liège", ("arrondiss", "lieg")),
        ("Universidad de la República", ("universidad", "republica")),
        ("Isle of Man", ("isl", "man")),
        ("The Lego Group", ("lego", "group")),
        ("...of The", ("of", "the")),
        ("oil and gas", ("oil", "and", "gas")),  # no capitals: "gas" is no small word
        ("17 May 1990", ("17", "may", "1990")),
        ("A of b", ("a",)),
        ("...of Á", ("a",)),
        ("नई दिल्ली", ("नई", "दिल्ली")),
        ("de ...", ("de",)),
    ],
)
def test_small_words_of_a_name_tell_nothing(answer: str, telling: tuple[str, ...]) -> None:
    assert unicode_tokens(templates.without_small_words(answer)) == telling


def test_overlap_counts_every_word_of_the_answer_with_small_words_or_without() -> None:
    assert templates.overlap("Bank of Guyana", frozenset({"guyana"})) == 0.5
    assert templates.overlap("Central Bank of Bahrain", frozenset({"of", "bahrain"})) == 0.5, "more than 1 of 3 telling"
    assert templates.overlap("The Lego Group", frozenset({"lego"})) == 0.5
    assert templates.overlap("Baden-Baden District", frozenset({"baden"})) == pytest.approx(2 / 3)
    assert templates.overlap("Brasília", frozenset(unicode_tokens("the Brasilia"))) == 1.0
    assert templates.overlap("Epic Records", frozenset(unicode_tokens("Which record label?"))) == 0.5
    assert templates.overlap("!!!", frozenset({"x"})) == 0.0


def test_namesakes_get_the_shortest_hint_that_fits_no_other() -> None:
    forms = templates.disambiguated(
        {
            "Q1": ("Alexandria", "city in Egypt"),
            "Q2": ("Alexandria", "city in Virginia, United States"),
            "Q3": ("ALEXANDRIA", "asteroid"),
            "Q4": ("Alexandria", None),
            "Q5": ("Paris", "city in France"),
        },
        60,
    )
    assert forms["Q1"][0] == "Alexandria (city in Egypt)"
    assert forms["Q2"][0] == "Alexandria (city in Virginia)"
    assert forms["Q3"][0] == "ALEXANDRIA (asteroid)"
    assert forms["Q4"] == ()
    assert "Q5" not in forms


def test_namesakes_with_one_description_cannot_be_told_apart() -> None:
    forms = templates.disambiguated({"Q1": ("Rome", "city"), "Q2": ("Rome", "City")}, 60)
    assert forms == {"Q1": (), "Q2": ()}


def test_a_hint_is_never_longer_than_asked_for() -> None:
    assert templates.hints("capital and largest city of the former kingdom", 20) == ()
    assert templates.hints("capital of the former kingdom", 10) == ("capital",)


@given(st.dictionaries(st.integers(1, 9).map("Q{}".format), st.tuples(st.sampled_from("ab"), st.sampled_from("cd"))))
def test_no_form_fits_two_namesakes(subjects: dict[str, tuple[str, str | None]]) -> None:
    forms = [
        form.casefold() for forms_of_one in templates.disambiguated(subjects, 60).values() for form in forms_of_one
    ]
    assert len(set(forms)) == len(forms)


@pytest.mark.parametrize(
    ("hint", "answer", "leaks"),
    [
        ("city in Egypt", "Egypt", True),
        ("Egyptian city", "Egypt", True),
        ("French poet", "France", True),
        ("Dutch painter", "Kingdom of the Netherlands", True),
        ("Danish composer", "Denmark", True),
        ("1965 film", "1965", True),
        ("port city", "Portsmouth", True),
        ("city in the desert", "The Hague", False),
        ("asteroid", "Egypt", False),
        ("river", "Romania", False),
        ("architectural practice", "archipelago", False),
    ],
)
def test_a_hint_does_not_give_the_answer_away(hint: str, answer: str, leaks: bool) -> None:
    assert templates.hint_leaks(f"X ({hint})", "X", [answer]) is leaks
