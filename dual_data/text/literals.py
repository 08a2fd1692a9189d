"""Dates and quantities as readers write them: parsed from text, compared at the precision asked for."""

import calendar
import re
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

# Not the calendar's names, which are those of the process's locale.
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_MONTH_NUMBERS = {name[:3]: number for number, name in enumerate(MONTHS, 1)}
# ASCII only: ignoring case, a pattern matches a long s as "s" and a dotless i as "i", which no table of words has.
_MONTH = "(?a:" + "|".join(f"{name}|{name[:3]}\\.?" for name in MONTHS) + "|sept\\.?)"
_BC = r"b\.?\s?c\.?(?:\s?e\.?)?"
_ERA = rf"(?:\s*(?P<era>{_BC}|a\.?\s?d\.?|c\.?\s?e\.?)(?![a-z]))?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
# Five or more digits are a year only before Christ: "12001 BC".
_YEAR = rf"(?P<year>\d{{1,4}}|\d{{5,18}}(?=\s*{_BC}(?![a-z])))"
_DATE_FORMS = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        # Up to 18 digits: the age of the universe takes eleven, and Python refuses to parse thousands.
        r"(?<![\d-])(?P<iso>-?\d{4,18})-(?P<month>\d\d)(?:-(?P<day>\d\d))?(?![\d-])",
        r"(?<![\w-])(?P<iso>-\d{4,18})(?![\d-])",
        # With dots, the day or the year stands first; with slashes the order is ambiguous, so there is no such form.
        rf"(?<![\w.,-])(?P<day>\d{{1,2}})\.\s?(?P<month>\d{{1,2}})\.\s?(?P<year>\d{{4}})(?![.,]?\d)\b{_ERA}",
        r"(?<![\w.,-])(?P<iso>\d{4})\.(?P<month>\d\d)\.(?P<day>\d\d)(?![.,]?\d)\b",
        rf"\b{_DAY}\s+(?:of\s+)?(?P<name>{_MONTH})(?:\s+of)?,?\s+{_YEAR}\b{_ERA}",
        rf"\b(?P<name>{_MONTH})\s+{_DAY},?\s+{_YEAR}\b{_ERA}",
        rf"\b(?P<name>{_MONTH})(?:\s+of)?,?\s+{_YEAR}\b{_ERA}",
        rf"(?<![\w.,]){_YEAR}(?![.,]?\d)\b{_ERA}",
    )
)
# Spellings of years that the forms do not match, such as "AD 79", "79AD", "c.1889", "3,000 BC" -> ones that they do.
_YEAR_SPELLINGS = (
    (re.compile(r"\b(?:AD|A\.D\.|CE|C\.E\.)\s*(\d{1,4})\b"), r"\1 AD"),
    (re.compile(r"(?<=\d)(?=(?:AD|BC|CE|BCE)\b)"), " "),
    (re.compile(r"\b(c|ca|circa)\.\s*(?=\d)", re.IGNORECASE), r"\1 "),
    (re.compile(rf"(?<=\d),(?=(?:\d{{3}},){{0,5}}\d{{3}}\s*{_BC}(?![a-z]))", re.IGNORECASE), ""),
)
# A number after "^" is an exponent, as in "km^2", not a quantity.
_NUMBER = re.compile(
    r"(?<![\w.,^])[-−]?\d{1,3}(?:[, \u00a0\u202f]\d{3})+(?:\.\d+)?(?!\d)"
    r"|(?<![\w.^])[-−]?\d+(?:\.\d+)?(?:e[+-]?\d+)?",
    re.IGNORECASE,
)
_SCALES = {"thousand": 3, "m": 6, "million": 6, "billion": 9, "trillion": 12}
# "1.2M" means millions, "1.2 m" and "1.2m" mean metres.
_SCALE = re.compile(r"(?:\s*(?a:(thousand|million|billion|trillion))|((?-i:M)))\b", re.IGNORECASE)
LARGEST = 100
"""Most digits before the decimal point of a number, or zeros after it: beyond what anything is counted in."""
# Unit -> (measure, size in its base unit); the Q-ids are Wikidata's.
_UNITS: dict[str, tuple[str, Decimal]] = {
    spelling: (kind, Decimal(size))
    for kind, size, spellings in (
        ("length", "1", "m metre metres meter meters Q11573"),
        ("length", "1000", "km kilometre kilometres kilometer kilometers Q828224"),
        ("length", "0.01", "cm centimetre centimetres centimeter centimeters Q174728"),
        ("length", "0.001", "mm millimetre millimetres millimeter millimeters Q174789"),
        ("length", "0.3048", "ft foot feet Q3710"),
        ("length", "1609.344", "mi mile miles Q253276"),
        ("area", "1", "m² m2 Q25343"),
        ("area", "1000000", "km² km2 sqkm Q712226"),
        ("area", "10000", "ha hectare hectares Q35852"),
        ("area", "2589988.110336", "sqmi Q232291"),
        ("area", "0.09290304", "ft² ft2 Q857027"),
        ("mass", "1", "kg kilogram kilograms kilogramme kilogrammes Q11570"),
        ("mass", "0.001", "g gram grams Q41803"),
        ("mass", "1000", "t tonne tonnes Q191118"),
        ("mass", "0.45359237", "lb lbs pound pounds Q100995"),
        ("time", "1", "s second seconds Q11574"),
        ("time", "60", "min minute minutes Q7727"),
        ("time", "3600", "h hour hours Q25235"),
        ("share", "1", "% percent percentage Q11229"),
    )
    for spelling in spellings.split()
}
_UNIT = re.compile(r"\s*-?\s*(?:(square|sq\.?)\s+)?(Q\d+|[a-z]+(?:\^?[²2])?|%)", re.IGNORECASE)
# Unit of length after "square" or "sq" -> unit of area.
_SQUARE = {
    spelling: area
    for area, spellings in (
        ("km²", "km kilometre kilometres kilometer kilometers"),
        ("m²", "m metre metres meter meters"),
        ("sqmi", "mi mile miles"),
        ("ft²", "ft foot feet"),
    )
    for spelling in spellings.split()
}


class Date(NamedTuple):
    """A day, month or year of the proleptic Gregorian calendar; year 0 is 1 BC, as in ISO 8601."""

    year: int
    month: int | None = None
    day: int | None = None

    def states(self, expected: "Date") -> bool:
        """Whether this date agrees with ``expected``, at the precision of ``expected``."""
        return all(want is None or have == want for have, want in zip(self, expected, strict=True))


class Quantity(NamedTuple):
    """A number in base units if its unit is known, the count of its significant digits, and what the unit measures."""

    amount: Decimal
    digits: int
    measure: str | None = None

    def states(self, expected: "Quantity") -> bool:
        """Whether this is ``expected``: the same number, or ``expected`` rounded to this one's three or more digits.

        Measures are compared when both are known; a missing or unknown unit is taken for the expected one.
        """
        if self.measure and expected.measure and self.measure != expected.measure:
            return False
        if self.amount == expected.amount:
            return True
        return self.digits >= 3 and _rounded(expected.amount, self.digits) == _rounded(self.amount, self.digits)


def dates(text: str) -> list[Date]:
    """Every date of a text in English or ISO form; the year inside a longer date does not count again."""
    return _dates(text)[0]


def written_year(year: int) -> str:
    """A year of ISO 8601, which has a year 0, as a reader writes it; a bare number below 100 would not read as a year.

    >>> [written_year(year) for year in (-43, 79, 1889)]
    ['44 BC', '79 AD', '1889']
    """
    return f"{1 - year} BC" if year <= 0 else f"{year} AD" if year < 100 else str(year)


def written_number(amount: Decimal, thousands: str = "") -> str:
    """A number with all its digits, but without exponent, trailing zeros and plus sign.

    >>> written_number(Decimal("1.2e6"), ",")
    '1,200,000'
    """
    shown = format(amount, f"{thousands}f")
    if "." in shown:
        shown = shown.rstrip("0").rstrip(".")
    return "0" if shown in ("-0", "") else shown


def parse_number(text: str) -> Decimal | None:
    """The finite number that a text is; None for any other text, and beyond `LARGEST`: "1e999999" counts nothing."""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and abs(amount.adjusted()) <= LARGEST else None


def quantities(text: str) -> list[Quantity]:
    """Every number of a text, with its scale word ("million") and unit where it has them."""
    return [quantity for quantity, _ in _quantities(text)]


def without_dates(text: str) -> str:
    """A text with its dates blanked, to see what else it says."""
    return _dates(text)[1]


def without_quantities(text: str) -> str:
    """A text with its quantities and their units blanked."""
    for _, (start, end) in reversed(_quantities(text)):
        text = text[:start] + " " + text[end:]
    return text


def _dates(text: str) -> tuple[list[Date], str]:
    """The dates, and the text with them blanked."""
    dates: list[Date] = []

    def take(match: re.Match[str]) -> str:
        date = _date(match.groupdict())
        if date is None:
            return match.group()
        dates.append(date)
        return " ; "

    for pattern, plain in _YEAR_SPELLINGS:
        text = pattern.sub(plain, text)
    for form in _DATE_FORMS:
        text = form.sub(take, text)
    return dates, text


def _date(groups: dict[str, str | None]) -> Date | None:
    name = groups.get("name")
    month = _MONTH_NUMBERS[name[:3].title()] if name else int(groups.get("month") or 0) or None
    day = int(groups.get("day") or 0) or None
    written = groups.get("year") or ""
    year = int(groups.get("iso") or written or 0)
    era = (groups.get("era") or "").lower()
    if era.startswith("b"):
        year = 1 - year
    elif not era and written and year < 100 and (name is None or (day is None and len(written) <= 2)):
        return None  # a bare "12" is more likely a day or a count than a year; so is that of "May 12"
    if month and not 1 <= month <= 12:
        return None
    # Of a year that only the Julian calendar makes a leap year, too.
    if day and day > calendar.monthrange(2001 if year % 4 else 2000, month or 1)[1]:
        return None
    return Date(year, month, day)


def _quantities(text: str) -> list[tuple[Quantity, tuple[int, int]]]:
    quantities: list[tuple[Quantity, tuple[int, int]]] = []
    for match in _NUMBER.finditer(text):
        plain = re.sub("[, \u00a0\u202f]", "", match.group()).replace("−", "-")
        if (amount := parse_number(plain)) is None:
            continue
        end = match.end()
        digits = _significant(plain)
        if scale := _SCALE.match(text, end):
            amount, end = amount.scaleb(_SCALES[scale.group().strip().lower()]), scale.end()
        measure = None
        if (unit := _UNIT.match(text, end)) and (definition := _unit(unit.group(2), bool(unit.group(1)))):
            measure, size = definition
            amount, end = amount * size, unit.end()
        quantities.append((Quantity(amount, digits, measure), (match.start(), end)))
    return quantities


def _unit(spelling: str, square: bool) -> tuple[str, Decimal] | None:
    spelling = spelling.replace("^", "")
    if square:
        spelling = _SQUARE.get(spelling.lower(), spelling)
    return _UNITS.get(spelling) or _UNITS.get(spelling.lower())


def _significant(number: str) -> int:
    mantissa = number.lower().split("e")[0].lstrip("-")
    if "." not in mantissa:
        mantissa = mantissa.rstrip("0")  # the zeros of "3,600,000" need not be significant
    return len(mantissa.replace(".", "").lstrip("0"))


def _rounded(amount: Decimal, digits: int) -> Decimal:
    return Decimal(f"{amount:.{digits - 1}e}")
