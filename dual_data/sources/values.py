"""Objects of statements: from RDF terms or table cells to canonical text and a label, or a reason to reject them.

Canonical text (the identity of the object inside a fact):
    entity    its id: Q90
    date      1889-03-31, 1889-03 or 1889, of the proleptic Gregorian calendar; year 0 is 1 BC, so -0043 is 44 BC
    quantity  a plain decimal, and the unit's id unless it is a bare number: 324 Q11573
    text      NFC, white space collapsed
A date is cut to the precision that the relation asks for: two sources that give the year and the day of a birth agree
on what is asked. Wikibase's RDF converts Julian days to Gregorian ones, and facts keep those; a date that is cut to a
month or a year is first converted back, to agree with the sources of its time: Newton was born on 25 December 1642, not
in 1643.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from dual_data.config import Relation
from dual_data.ids import ENTITY_PREFIX, is_item, item_of_iri
from dual_data.sources.wikidata.sparql import Term
from dual_data.text.literals import MONTHS, dates, parse_number, without_dates, written_number, written_year
from dual_data.text.words import clean

PRECISIONS = {"year": 9, "month": 10, "day": 11}
"""Wikidata's numbers of the precisions that a relation can ask for; lower ones are decades, centuries and so on."""
JULIAN = f"{ENTITY_PREFIX}Q1985786"
"""The proleptic Julian calendar, as a statement names it."""
NO_UNIT = "Q199"
"""The unit of a bare number in Wikidata: the item `1`."""

_TIME = re.compile(r"([+-]?)(\d{4,18})-(\d\d)-(\d\d)(?:T.*)?")
# Separators count only before groups of three digits: "3,6" and "0,125" have a decimal comma, "1 2 3" is a list.
_AMOUNT = re.compile(
    r"[+-]?(?:[1-9]\d{0,2}([, \u00a0\u202f])\d{3}(?:\1\d{3})*|\d+)(?:\.\d+)?(?:e[+-]?\d+)?", re.ASCII | re.IGNORECASE
)
_EARLY_YEAR = re.compile(r"0\d{3}", re.ASCII)
"""A year below 1000 as facts write it, with zeros: without them, one below 100 is not read as a year."""
_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
"""An integer of 64 bits: a column holds no larger one."""
_TIME_OF_DAY = re.compile(r"(?<=\d-\d\d)[T ]\d\d:\d\d(?::[\d.]+)?(?:Z|[+-]\d\d:\d\d)?$", re.ASCII)
"""The time after a date, which exports add to a column of days."""


class Value(NamedTuple):
    """An object in its canonical form, or why there is none."""

    text: str
    """Canonical text; of a rejected object, the best that can be shown of it."""
    label: str | None = None
    """What a reader calls it; None for entities, whose labels come from elsewhere."""
    reason: str | None = None
    """Why it cannot be the object of a fact; None where it can."""
    language: str = ""
    """Of a text."""


def stated(relation: Relation, term: Term, details: Sequence[Term | None]) -> Value:
    """The object of a statement. `details`: time, precision, calendar of a date; amount, unit of a quantity."""
    # Somevalue: a blank node in dumps and Oxigraph, a skolem IRI on the query service.
    if term.kind == "blank" or (term.kind == "iri" and "/.well-known/genid/" in term.value):
        return Value("somevalue", reason="somevalue")
    if relation.object == "entity":
        return entity(term)
    if relation.object == "date":
        return date(term, details[0], details[1], relation, details[2])
    if relation.object == "quantity":
        return quantity(term, details[0], details[1], relation)
    return text(term)


def integer(term: Term | None) -> int | None:
    """The integer that a term is; None for any other, which an endpoint other than Wikidata's may send."""
    return int(term.value) if term is not None and _INTEGER.fullmatch(term.value) else None


def entity(term: Term) -> Value:
    """An item; other entities, such as properties, are no answers."""
    qid = item_of_iri(term.value) if term.kind == "iri" else None
    return Value(qid) if qid else Value(term.value, reason="wrong_kind")


def date(
    term: Term, time: Term | None, precision: Term | None, relation: Relation, calendar_model: Term | None = None
) -> Value:
    """A point in time, cut to what the relation asks for; of a coarser one, the year or the month is shown."""
    match = _TIME.fullmatch((time or term).value)
    if match is None:
        return Value(term.value, reason="wrong_kind")
    level = integer(precision)
    if level is None or level < PRECISIONS["year"]:
        return Value(term.value, reason="precision_too_low")
    sign, year, month, day = match.groups()
    moment = (int(f"{sign}{year}"), int(month), int(day))
    julian = calendar_model is not None and calendar_model.value == JULIAN
    if julian and relation.precision != "day" and level >= PRECISIONS["day"]:
        moment = _julian(*moment)
    if level < PRECISIONS[relation.precision]:
        own = "month" if level == PRECISIONS["month"] else "year"
        return Value(_date(*moment[:2], 1, own).text, reason="precision_too_low")  # exports may say day 0
    return _date(*moment, relation.precision)


def quantity(term: Term, amount: Term | None, unit: Term | None, relation: Relation) -> Value:
    """A number with the unit that the relation asks for."""
    qid = item_of_iri(unit.value) if unit is not None else None
    return _quantity((amount or term).value, qid, relation)


def text(term: Term) -> Value:
    """A text or an IRI; which languages count is decided among all objects of a pair."""
    if term.value.startswith(ENTITY_PREFIX):
        return Value(term.value, reason="wrong_kind")
    plain = clean(term.value)
    language = "" if term.tag.startswith("http") else term.tag
    return Value(plain, plain, None if plain else "empty", language)


def cell(written: str, relation: Relation) -> Value:
    """A literal as a table has it: 1889-03-31, March 1889; 324 Q11573, 3,600, or with the relation's own name of its
    unit, 324 m; any text."""
    if relation.object == "date":
        day = _TIME_OF_DAY.sub("", written.strip().removeprefix("+"))
        if _EARLY_YEAR.fullmatch(day):
            day = written_year(int(day))
        parsed = dates(day)
        # Text left over means several dates, or another one: "1889-1890", "31/03/1889", "before 1889".
        if len(parsed) != 1 or without_dates(day).strip(" ;"):
            return Value(written, reason="wrong_kind")
        moment = parsed[0]
        precision = "day" if moment.day else "month" if moment.month else "year"
        if PRECISIONS[precision] < PRECISIONS[relation.precision]:
            return Value(_date(moment.year, moment.month or 1, 1, precision).text, reason="precision_too_low")
        return _date(moment.year, moment.month or 1, moment.day or 1, relation.precision)
    if relation.object == "quantity":
        number, _, unit = written.strip().rpartition(" ")
        if not is_item(unit):
            number, unit = written.strip().removesuffix(relation.unit_name), ""
        value = _quantity(number, unit or relation.unit, relation)
        return value._replace(text=written) if value.reason == "wrong_kind" else value
    plain = clean(written)
    return Value(plain, plain, None if plain else "empty")


def _julian(year: int, month: int, day: int) -> tuple[int, int, int]:
    """The Julian date of a Gregorian day, by its Julian day number (E. G. Richards, 2013)."""
    since_march = (month + 9) % 12
    years = year + 4800 - (month < 3)
    number = day + (153 * since_march + 2) // 5 + 365 * years + years // 4 - years // 100 + years // 400 - 32045
    years, rest = divmod(4 * (number + 32082) + 3, 1461)
    since_march, rest = divmod(5 * (rest // 4) + 2, 153)
    return years - 4800 + (since_march > 9), (since_march + 2) % 12 + 1, rest // 5 + 1


def _date(year: int, month: int, day: int, precision: str) -> Value:
    iso = f"{year:04d}" if year >= 0 else f"-{-year:04d}"
    shown = written_year(year)
    if precision == "year":
        return Value(iso, shown)
    if not 1 <= month <= 12 or not 1 <= day <= 31:
        return Value(iso, reason="precision_too_low")
    if precision == "month":
        return Value(f"{iso}-{month:02d}", f"{MONTHS[month - 1]} {shown}")
    return Value(f"{iso}-{month:02d}-{day:02d}", f"{day} {MONTHS[month - 1]} {shown}")


def _quantity(written: str, unit: str | None, relation: Relation) -> Value:
    plain = written.strip().replace("\u2212", "-")
    amount = parse_number(re.sub("[, \u00a0\u202f]", "", plain)) if _AMOUNT.fullmatch(plain) else None
    if amount is None:
        return Value(written, reason="wrong_kind")
    unit = None if unit == NO_UNIT else unit
    number = written_number(amount)
    canonical = f"{number} {unit}" if unit else number
    if unit != relation.unit:
        return Value(canonical, reason="unit_not_asked")
    return Value(canonical, f"{written_number(amount, ',')} {relation.unit_name}".strip())
