"""Dates and quantities in text."""

import calendar
import datetime
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dual_data.text.literals import Date, dates, quantities
from dual_data.text.matching import contains_answer, exact_answer


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1889-03-31", [Date(1889, 3, 31)]),
        ("1889-03", [Date(1889, 3)]),
        ("It opened on 31 March 1889.", [Date(1889, 3, 31)]),
        ("March 31st, 1889", [Date(1889, 3, 31)]),
        ("the 31st of Mar. 1889", [Date(1889, 3, 31)]),
        ("Sept 1889", [Date(1889, 9)]),
        ("1889 or 1890", [Date(1889), Date(1890)]),
        ("44 BC", [Date(-43)]),
        ("-0043", [Date(-43)]),
        ("79 AD", [Date(79)]),
        ("12001 BC", [Date(-12000)]),
        ("about 12001 B.C.E., they say", [Date(-12000)]),
        ("31 March 12001 BC", [Date(-12000, 3, 31)]),
        ("12001 or 12001 AD", []),
        ("12001 b cells", []),
        ("in the 1880s", []),
        ("12 people", []),
        ("on May 12", []),
        ("May 12 AD", [Date(12, 5)]),
        ("May 0012", [Date(12, 5)]),
        ("24 August 79", [Date(79, 8, 24)]),
        ("13 Foo 1889", [Date(1889)]),
        ("1889-1890", [Date(1889), Date(1890)]),
        ("1,889 metres", []),
        ("99 March 1889", [Date(1889, 3)]),
        ("3,000 BC", [Date(-2999)]),
        ("about 3,000 B.C.E., not 12,000 BC", [Date(-2999), Date(-11999)]),
        ("3,000 years", []),
        ("3,000 b cells", []),
        ("31.03.1889", [Date(1889, 3, 31)]),
        ("on 1. 3. 1889.", [Date(1889, 3, 1)]),
        ("1889.03.31", [Date(1889, 3, 31)]),
        ("31.13.1889", []),
        ("2020-02-30", [Date(2020)]),
        ("31 April 2021", [Date(2021, 4)]),
        ("2019-02-29", [Date(2019)]),
        ("1700-02-29", [Date(1700, 2, 29)]),  # in the Julian calendar
        ("1889.03.31.2", []),
        ("version 2.31.03.1889", []),
        ("1889.03", []),
    ],
)
def test_dates(text: str, expected: list[Date]) -> None:
    assert dates(text) == expected


@given(st.dates())
def test_every_spelling_of_a_day_is_the_same_date(day: datetime.date) -> None:
    expected = Date(day.year, day.month, day.day)
    name = calendar.month_name[day.month]
    texts = [day.isoformat(), f"{day.day} {name} {day.year:04}", f"{name} {day.day}, {day.year:04}"]
    for text in texts:
        assert dates(text) == [expected]
    assert expected.states(Date(day.year))
    assert expected.states(Date(day.year, day.month))
    assert not Date(day.year).states(expected)


@pytest.mark.parametrize(
    ("text", "amount", "measure"),
    [
        ("324 Q11573", "324", "length"),
        ("324 metres", "324", "length"),
        ("0.324 km", "324", "length"),
        ("1,234,567", "1234567", None),
        ("1 234 567", "1234567", None),
        ("3.6 million", "3600000", None),
        ("-12.5", "-12.5", None),
        ("105.4 square kilometres", "105400000", "area"),
        ("357,022 km²", "357022000000", "area"),
        ("357,022 km2", "357022000000", "area"),
        ("357,022 km^2", "357022000000", "area"),
        ("5 m^2", "5", "area"),
        ("40%", "40", "share"),
        ("1e3", "1000", None),
        ("1.2M", "1200000", None),
        ("$1.2M in all", "1200000", None),
        ("1.2m", "1.2", "length"),
        ("1.2 M", "1.2", "length"),
        ("5 sq m", "5", "area"),
        ("10 sq ft", "0.9290304", "area"),
        ("10 square feet", "0.9290304", "area"),
        ("100 sq mi", "258998811.0336", "area"),
        ("100 sq. km", "100000000", "area"),
        ("324 bananas", "324", None),
    ],
)
def test_quantities(text: str, amount: str, measure: str | None) -> None:
    (quantity,) = quantities(text)
    assert (quantity.amount, quantity.measure) == (Decimal(amount), measure)


def test_a_square_kilometre_is_one_however_the_square_is_written() -> None:
    spellings = ("5 km²", "5 km2", "5 km^2", "5 square km", "5 sq km", "5 sq. km", "5 sqkm")
    for text in spellings:
        assert [quantity.amount for quantity in quantities(text)] == [5_000_000]
        assert all(exact_answer(text, [answer], "quantity") for answer in spellings)
        assert not contains_answer(text, ["5 km"], "quantity")
        assert not contains_answer(text, ["2"], "quantity")


def test_square_miles_are_no_square_kilometres() -> None:
    assert not contains_answer("100 sq mi", ["100 km²"], "quantity")
    assert contains_answer("38.6 sq mi", ["100 km²"], "quantity")


def test_rounding_counts_only_with_three_stated_digits() -> None:
    expected = quantities("3645123")[0]
    assert quantities("3.65 million")[0].states(expected)
    assert quantities("3,650,000")[0].states(expected)  # zeros at the end are not stated digits
    assert not quantities("3.6 million")[0].states(expected)
    assert not quantities("3.64 million")[0].states(expected)
    assert not quantities("324 feet")[0].states(quantities("324 metres")[0])


WORDS = ("million", "mıllıon", "thouſand", "km", "square miles", "Q11573", "%", "March", "ſeptember", "BC")
PIECES = st.one_of(
    st.text(max_size=4),
    st.from_regex(r"[-−]?\d{1,6}(\.\d{1,4})?(e[+-]?\d{1,25})?", fullmatch=True),
    st.sampled_from((*WORDS, "9" * 5000, "-04-05", " ", "-", ",", ".")),
)


@given(st.lists(PIECES, max_size=6).map(" ".join) | st.lists(PIECES, max_size=6).map("".join))
@example("12e4567890 million")
@example("5e1000000 km")
@example("9e999999")
@example("3 mıllion km")
@example("3 ſeptember 1889")
@example("9" * 5000 + "-01-01")
def test_no_text_is_too_much(text: str) -> None:
    for answer in ("1889-03-31", "324 Q11573", text):
        contains_answer(text, [answer], "date")
        exact_answer(text, [answer], "date")
        contains_answer(text, [answer], "quantity")
        exact_answer(text, [answer], "quantity")


@pytest.mark.parametrize("text", ["12e4567890 million", "5e1000000 km", "1e-5000000 km", "9e999999", "2e101"])
def test_a_number_beyond_all_measure_is_no_quantity(text: str) -> None:
    assert quantities(text) == []
    assert not exact_answer(f"324 m {text}", ["324 metres"], "quantity")
