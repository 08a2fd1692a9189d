"""Canonical objects."""

from __future__ import annotations

import datetime
import unicodedata
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_data.config import Relation
from dual_data.sources import values
from dual_data.sources.wikidata.sparql import Term
from dual_data.text.literals import dates, quantities
from dual_data.text.matching import exact_answer
from dual_data.text.words import clean

QUESTIONS = {
    "canonical": "A {subject}?",
    "validation": ["B {subject}?"],
    "training": ["C {subject}?"],
    "test": ["D {subject}?"],
}
ENTITY = "http://www.wikidata.org/entity/"


def relation(kind: str, **more: Any) -> Relation:
    return Relation.model_validate(
        {"property": "P1", "name": "n", "topics": ["*"], "object": kind, "questions": QUESTIONS, **more}
    )


def time(text: str) -> Term:
    return Term("literal", text, "http://www.w3.org/2001/XMLSchema#dateTime")


def number(text: str) -> Term:
    return Term("literal", text)


def iri(qid: str) -> Term:
    return Term("iri", ENTITY + qid)


@pytest.mark.parametrize(
    ("cut", "written", "precision", "text", "label"),
    [
        ("year", "1889-03-31T00:00:00Z", 11, "1889", "1889"),
        ("month", "1889-03-31T00:00:00Z", 11, "1889-03", "March 1889"),
        ("day", "1889-03-31T00:00:00Z", 11, "1889-03-31", "31 March 1889"),
        ("year", "-0043-01-01T00:00:00Z", 9, "-0043", "44 BC"),
        ("year", "0000-01-01T00:00:00Z", 9, "0000", "1 BC"),
        ("year", "0079-10-24T00:00:00Z", 11, "0079", "79 AD"),
        ("day", "+1889-03-31T00:00:00Z", 11, "1889-03-31", "31 March 1889"),
        ("year", "-13798000000-01-01T00:00:00Z", 9, "-13798000000", "13798000001 BC"),
    ],
)
def test_dates_are_cut_to_what_is_asked(cut: str, written: str, precision: int, text: str, label: str) -> None:
    value = values.date(time(written), time(written), number(str(precision)), relation("date", precision=cut))
    assert value == values.Value(text, label)


@pytest.mark.parametrize(("cut", "precision"), [("year", 8), ("year", 7), ("month", 9), ("day", 10), ("year", 0)])
def test_coarse_dates_are_rejected(cut: str, precision: int) -> None:
    day = time("1880-01-01T00:00:00Z" if precision != 10 else "1880-01-00T00:00:00Z")
    value = values.date(day, day, number(str(precision)), relation("date", precision=cut))
    assert value.reason == "precision_too_low"
    assert value.text == {9: "1880", 10: "1880-01"}.get(precision, "1880-01-01T00:00:00Z")
    assert values.date(day, None, None, relation("date")).reason == "precision_too_low"
    assert values.date(day, day, number("11.0"), relation("date")).reason == "precision_too_low"  # no integer


@pytest.mark.parametrize(
    ("cut", "written", "precision", "text"),
    [
        ("year", "1643-01-04", 11, "1642"),
        ("month", "1643-01-04", 11, "1642-12"),
        ("day", "1643-01-04", 11, "1643-01-04"),
        ("year", "1643-01-01", 9, "1643"),
        ("month", "1643-01-01", 10, "1643-01"),
        ("month", "1900-03-13", 11, "1900-02"),
        ("month", "1900-03-14", 11, "1900-03"),
        ("year", "0000-12-31", 11, "0001"),
        ("year", "-4712-01-01", 11, "-4712"),
    ],
)
def test_a_julian_day_is_cut_to_the_year_and_month_that_its_time_wrote(
    cut: str, written: str, precision: int, text: str
) -> None:
    """The first is Newton's birthday, 25 December 1642, as Wikidata's RDF has it."""
    day = time(f"{written}T00:00:00Z")
    gregorian = written[: {"year": -6, "month": -3, "day": None}[cut]]
    for calendar, expected in (("Q1985786", text), ("Q1985727", gregorian)):
        details = [day, number(str(precision)), iri(calendar)]
        assert values.stated(relation("date", precision=cut), day, details).text == expected


@given(st.dates(max_value=datetime.date(9998, 12, 31)))
def test_julian_days_follow_each_other(day: datetime.date) -> None:
    def months(day: datetime.date) -> int:
        gregorian = time(f"{day.isoformat()}T00:00:00Z")
        to_month = relation("date", precision="month")
        year, month = values.date(gregorian, gregorian, number("11"), to_month, iri("Q1985786")).text.split("-")
        return 12 * int(year) + int(month)

    assert months(day + datetime.timedelta(1)) - months(day) in (0, 1)
    # The two calendars are 13 days apart from March 1900 to February 2100.
    if day.year in range(1901, 2100):
        julian = day - datetime.timedelta(13)
        assert months(day) == 12 * julian.year + julian.month


@given(st.dates())
def test_a_label_of_a_date_reads_back_as_the_date(day: Any) -> None:
    term = time(f"{day.isoformat()}T00:00:00Z")
    value = values.date(term, term, number("11"), relation("date", precision="day"))
    assert value.text == day.isoformat()
    assert value.label is not None
    assert dates(value.label) == dates(value.text) == [(day.year, day.month, day.day)]


@given(
    st.integers(-20_000, 9999) | st.integers(-(10**15), 9999),
    st.integers(1, 12),
    st.integers(1, 28),
    st.sampled_from(sorted(values.PRECISIONS)),
)
def test_a_date_as_facts_write_it_is_read_back_from_a_table(year: int, month: int, day: int, precision: str) -> None:
    date_relation = relation("date", precision=precision)
    term = time(f"{'-' if year < 0 else ''}{abs(year):04d}-{month:02d}-{day:02d}T00:00:00Z")
    value = values.date(term, term, number("11"), date_relation)
    assert value.label is not None
    assert values.cell(value.text, date_relation) == values.cell(value.label, date_relation) == value
    assert exact_answer(value.label, [value.label], "date")


@pytest.mark.parametrize(
    ("amount", "unit", "text", "label"),
    [
        ("+324", "Q11573", "324 Q11573", "324 metres"),
        ("+1234567.50", "Q11573", "1234567.5 Q11573", "1,234,567.5 metres"),
        ("-0.0", "Q11573", "0 Q11573", "0 metres"),
        ("+1E+3", "Q11573", "1000 Q11573", "1,000 metres"),
    ],
)
def test_quantities_are_plain_decimals(amount: str, unit: str, text: str, label: str) -> None:
    metres = relation("quantity", unit="Q11573", unit_name="metres")
    value = values.quantity(number("0"), number(amount), iri(unit), metres)
    assert value == values.Value(text, label)


def test_other_units_are_rejected_and_the_unit_one_is_none() -> None:
    metres = relation("quantity", unit="Q11573", unit_name="metres")
    assert values.quantity(number("3"), number("3"), iri("Q3710"), metres).reason == "unit_not_asked"
    assert values.quantity(number("3"), number("3"), iri("Q199"), metres).reason == "unit_not_asked"
    assert values.quantity(number("3"), number("3"), iri("Q199"), relation("quantity")) == values.Value("3", "3")


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12, places=3))
def test_a_label_of_a_quantity_reads_back_as_the_number(amount: Decimal) -> None:
    value = values.quantity(number("0"), number(f"{amount:f}"), None, relation("quantity"))
    assert Decimal(value.text) == amount
    assert "E" not in value.text
    assert value.label is not None
    assert [quantity.amount for quantity in quantities(value.label)] == [amount]


@given(
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12, places=3),
    st.sampled_from([("Q712226", "km²", "area"), ("Q712226", "km^2", "area"), ("Q11573", "metres", "length")]),
)
def test_a_quantity_as_facts_write_it_is_read_back(amount: Decimal, unit: tuple[str, str, str]) -> None:
    quantity_relation = relation("quantity", unit=unit[0], unit_name=unit[1])
    value = values.quantity(number("0"), number(f"{amount:f}"), iri(unit[0]), quantity_relation)
    assert value.label is not None
    assert values.cell(value.text, quantity_relation) == value
    for text in (value.text, value.label):
        assert [quantity.measure for quantity in quantities(text)] == [unit[2]]
        assert exact_answer(text, [value.label], "quantity")


@pytest.mark.parametrize(
    "term",
    [Term("blank", "b0"), Term("iri", "http://www.wikidata.org/.well-known/genid/0123")],
)
@pytest.mark.parametrize("kind", ["entity", "date", "quantity", "text"])
def test_somevalue_in_both_forms(term: Term, kind: str) -> None:
    assert values.stated(relation(kind), term, (None, None, None)).reason == "somevalue"


def test_what_no_column_could_hold_is_no_integer() -> None:
    texts = ("-12", "+7", "9" * 18, "9" * 19, "9" * 5000, "1.0", "\u0663")
    assert [values.integer(Term("literal", text)) for text in texts] == [-12, 7, 10**18 - 1, None, None, None, None]


def test_only_items_are_entities() -> None:
    assert values.entity(iri("Q90")) == values.Value("Q90")
    for term in (iri("P36"), iri("L1-F1"), Term("iri", "http://example.org/Q90"), Term("literal", ENTITY + "Q90")):
        assert values.entity(term).reason == "wrong_kind"


def test_texts_are_clean_and_know_their_language() -> None:
    assert values.text(Term("literal", " e\u0301tat \n x ", "en")) == values.Value(
        "\u00e9tat x", "\u00e9tat x", None, "en"
    )
    assert values.text(Term("literal", "x", "http://www.w3.org/2001/XMLSchema#string")).language == ""
    assert values.text(Term("iri", "https://example.org/")).text == "https://example.org/"
    assert values.text(iri("Q1")).reason == "wrong_kind"
    assert values.text(Term("literal", "  ")).reason == "empty"


@given(st.text())
def test_clean_is_stable(text: str) -> None:
    cleaned = clean(text)
    assert cleaned == clean(cleaned) == cleaned.strip()
    assert unicodedata.is_normalized("NFC", cleaned)


@pytest.mark.parametrize(
    ("kind", "written", "expected"),
    [
        ("date", "1889-03-31", values.Value("1889", "1889")),
        ("date", "March 1889", values.Value("1889", "1889")),
        ("date", "44 BC", values.Value("-0043", "44 BC")),
        ("date", " 1889-03-31T00:00:00Z ", values.Value("1889", "1889")),
        ("date", "+1889-03-31T00:00:00Z", values.Value("1889", "1889")),
        ("date", "1889-03-31 00:00:00", values.Value("1889", "1889")),
        ("date", "AD 79", values.Value("0079", "79 AD")),
        ("date", "0079", values.Value("0079", "79 AD")),
        *(("date", text, values.Value(text, reason="wrong_kind")) for text in ("79", "00079", "43831")),
        ("date", "0000", values.Value("0000", "1 BC")),
        ("date", "12001 BC", values.Value("-12000", "12001 BC")),
        *(
            ("date", text, values.Value(text, reason="wrong_kind"))
            for text in (
                "soon",
                "1889-1890",
                "1889 1890",
                "31/03/1889",
                "before 1889",
                "1889?",
                "March 31",
                "31 March",
                "",
            )
        ),
        ("quantity", "324 Q11573", values.Value("324 Q11573", "324 m")),
        ("quantity", "3,600", values.Value("3600 Q11573", "3,600 m")),
        ("quantity", "1 234 567.5 Q11573", values.Value("1234567.5 Q11573", "1,234,567.5 m")),
        ("quantity", "\u22121.5e3", values.Value("-1500 Q11573", "-1,500 m")),
        ("quantity", "324 m", values.Value("324 Q11573", "324 m")),
        ("quantity", " 1,234.5m ", values.Value("1234.5 Q11573", "1,234.5 m")),
        *(("quantity", text, values.Value(text, reason="wrong_kind")) for text in ("324 km", "324 ft", "m", "324 m m")),
        ("quantity", "324 Q3710", values.Value("324 Q3710", reason="unit_not_asked")),
        ("quantity", "324 Q199", values.Value("324", reason="unit_not_asked")),
        *(
            ("quantity", text, values.Value(text, reason="wrong_kind"))
            for text in ("tall", "3,6", "0,125", "1 2 3", "12,34", "1,234 567", "1234,567", "\u0663", "3.", "")
        ),
        *(
            ("quantity", text, values.Value(text, reason="wrong_kind"))
            for text in ("1e9999999999", "-1e-9999999999", "1e100001", "1e" + "9" * 30)
        ),
        ("text", " a  b ", values.Value("a b", "a b")),
        ("text", " ", values.Value("", "", "empty")),
    ],
)
def test_cells_of_tables(kind: str, written: str, expected: values.Value) -> None:
    unit = {"unit": "Q11573", "unit_name": "m"} if kind == "quantity" else {}
    assert values.cell(written, relation(kind, **unit)) == expected


def test_the_unit_of_bare_numbers_is_none_in_cells_too() -> None:
    assert values.cell("3,600 Q199", relation("quantity")) == values.cell("3600", relation("quantity"))


def test_a_cell_coarser_than_asked_is_rejected() -> None:
    for written, text in (("1889", "1889"), ("March 1889", "1889-03"), ("44 BC", "-0043")):
        value = values.cell(written, relation("date", precision="day"))
        assert value == values.Value(text, reason="precision_too_low")
