"""Whether a text gives an accepted answer: normalised, word-bounded, alias-aware, and by kind of object.

An answer's kind is that of the fact's object (`entity`, `text`, `date`, `quantity`). Names are compared as
normalised words; dates and quantities as values, so that "31 March 1889" answers "1889" and "0.324 km"
answers "324 metres". A short entity answer must occur as whole words: "Oman" is not in "Romania".
"""

import re
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import Any, Literal, get_args

from dual_data.text import literals
from dual_data.text.words import words

ObjectKind = Literal["entity", "text", "date", "quantity"]

_POSSESSIVE = re.compile(r"['’ʼ`]s\b", re.IGNORECASE)
_APOSTROPHE = re.compile(r"(?<=\w)['‘’`´](?=\w)")
# The Hawaiian okina, the Arabic ayin and the like are letters in Unicode, yet readers write apostrophes or nothing.
_LETTER_APOSTROPHES = str.maketrans(dict.fromkeys("\u02bb\u02bc\u02bd\u02be\u02bf"))
# Signs that are part of a name when they follow a letter: without them "C++" and "C#" would both be "C".
_NAME_SIGNS = {"+": " plus ", "#": " sharp "}
_NAME_SIGN = re.compile(r"(?<=\w)[+#]+(?!\w)")
_ARTICLES = frozenset({"a", "an"})
_FILLERS = frozenset({"in", "on", "the", "of", "year", "about", "circa", "c"})


def kind_of(value: Any) -> ObjectKind:
    """`value` of a table as a kind of object; entity if it is not a known kind."""
    return next((kind for kind in get_args(ObjectKind) if kind == value), "entity")


def normalise(text: str) -> str:
    """Fold case, accents and punctuation away and drop "the" and a leading "a" or "an".

    A text without any word ("!!!") keeps its punctuation, so that it equals only itself.

    >>> normalise("The  Côte-d’Azur.")
    'cote dazur'
    """
    return " ".join(_normal_words(text)) or text.casefold().strip()


def contains_answer(text: str, answers: Iterable[str], kind: ObjectKind = "entity") -> bool:
    """Whether any accepted answer occurs in the text as whole words ("China's" has China), or as that date or quantity.

    An answer that cannot be read as a date or quantity ("the 1880s", "twelve") is compared as words.
    """
    if kind in ("date", "quantity"):
        values, answers = _divided(answers, kind)
        if any(_right_values(text, values, kind)):
            return True
    readings = _readings(text)
    # "C" is not in "C++": what a sign follows counts only for answers that have the sign, too.
    glued = _readings(_NAME_SIGN.sub("plus", text)) if _NAME_SIGN.search(text) else readings
    return any(_is_in(answer, text, readings, glued) for answer in answers)


def exact_answer(text: str, answers: Iterable[str], kind: ObjectKind = "entity") -> bool:
    """Whether the whole text is an accepted answer, up to case, accents, punctuation and articles.

    A text with another date or number next to the right one ("1889-1890") is not. An answer that cannot be read as a
    date or quantity is compared as words.
    """
    if kind in ("date", "quantity"):
        values, answers = _divided(answers, kind)
        without = literals.without_dates if kind == "date" else literals.without_quantities
        verdicts = _right_values(text, values, kind)
        if verdicts and all(verdicts) and _FILLERS.issuperset(words(without(text))):
            return True
    normal = normalise(text)
    return bool(normal) and any(normal == normalise(answer) for answer in answers)


def may_be_right(text: str, answers: Collection[str], kind: ObjectKind = "entity") -> bool:
    """Whether a text is no wrong answer: it is an accepted one, or says the same more or less precisely.

    >>> may_be_right("March 1889", ["31 March 1889"], "date"), may_be_right("0.324 km", ["324 metres"], "quantity")
    (True, True)
    """
    if exact_answer(text, answers):  # also of a value that is not read as one
        return True
    values = kind in ("date", "quantity")
    return values and (
        exact_answer(text, answers, kind) or any(exact_answer(answer, [text], kind) for answer in answers)
    )


def _readings(text: str) -> set[str]:
    return {_bounded(_normal_words(text)), _bounded(_normal_words(_POSSESSIVE.sub(" ", text)))}


def _is_in(answer: str, text: str, readings: set[str], glued: set[str]) -> bool:
    if needle := _normal_words(answer):
        has_sign = any(sign.strip() in needle for sign in _NAME_SIGNS.values())
        return any(_bounded(needle) in reading for reading in (readings if has_sign else glued))
    return bool(answer.strip()) and answer.casefold().strip() in text.casefold()


def _bounded(tokens: tuple[str, ...]) -> str:
    return f" {' '.join(tokens)} "


@lru_cache(maxsize=1 << 17)
def _normal_words(text: str) -> tuple[str, ...]:
    spelled = _NAME_SIGN.sub(lambda signs: "".join(_NAME_SIGNS[sign] for sign in signs.group()), text)
    tokens = words(_APOSTROPHE.sub("", spelled))
    if not spelled.isascii():
        # After the folding, which produces some of them: from "ŉ".
        tokens = tuple(word for letters in tokens if (word := letters.translate(_LETTER_APOSTROPHES)))
    rest = tuple(word for word in tokens if word != "the") or tokens
    # Two in a row are initials, not articles: "A. A. Milne".
    return rest[1:] if len(rest) > 1 and rest[0] in _ARTICLES and rest[1] not in _ARTICLES else rest


def _divided(answers: Iterable[str], kind: ObjectKind) -> tuple[list[Any], list[str]]:
    """The first date or quantity of each answer that has one, and the texts of the others."""
    read = literals.dates if kind == "date" else literals.quantities
    by_text = {answer: read(answer) for answer in answers}
    return [values[0] for values in by_text.values() if values], [
        text for text, values in by_text.items() if not values
    ]


def _right_values(text: str, accepted: Sequence[Any], kind: ObjectKind) -> list[bool]:
    """For each date or quantity in the text, whether it is accepted.

    An answer without a unit counts only for a text without one: "6,650 m" answers neither "6,650 km" nor "6,650".
    """
    if kind == "date":
        return [any(date.states(expected) for expected in accepted) for date in literals.dates(text)]
    with_unit = [quantity for quantity in accepted if quantity.measure]
    return [
        any(quantity.states(expected) for expected in (with_unit if quantity.measure and with_unit else accepted))
        for quantity in literals.quantities(text)
    ]
