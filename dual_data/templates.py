"""Rendering of sentences, of literals as readers write them, and of short hints that distinguish namesakes."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from functools import lru_cache
from typing import NamedTuple

import polars as pl

from dual_data.config import Relation, Wording
from dual_data.ids import digest
from dual_data.text.literals import MONTHS, parse_number, written_number, written_year
from dual_data.text.matching import normalise
from dual_data.text.rouge import unicode_tokens
from dual_data.text.words import words

_ISO_DATE = re.compile(r"(-?\d{4,})(?:-(\d\d)(?:-(\d\d))?)?")
_PRECISIONS = ("year", "month", "day")
# The end of the noun phrase of a Wikidata description, where its complements begin.
_COMPLEMENT = re.compile(r"\s+(?:in|of|by|from|who|that|which|on|at|for|near|with|located|based|held)\b|\s*[,;(]")
_CLAUSE = re.compile(r"\s*[,;(]")
# Normalised aliases that English answers contain by chance: the alias "IN" (India) would match every "in Paris".
_CHANCE_WORDS = frozenset(
    words(
        "a am an and are as at be but by can do for go he her him his i if in is it its may me my no nor not of on or "
        "our out she so that the they this to up was we who yes you"
    )
)
_SHORT_WORD = re.compile(r"\b[^\W\d_]{1,3}\b")
# Adjectives that do not begin like the name of their country; all others are recognised by their first letters.
_DEMONYMS: Mapping[str, tuple[str, ...]] = {
    "american": ("states", "usa", "us"),
    "british": ("kingdom", "uk", "england", "scotland", "wales"),
    "burmese": ("myanmar",),
    "danish": ("denmark",),
    "dutch": ("netherlands", "holland"),
    "english": ("kingdom", "uk"),
    "filipino": ("philippines",),
    "ivorian": ("ivory",),
    "scottish": ("kingdom", "uk"),
    "soviet": ("ussr", "russia"),
    "welsh": ("wales", "kingdom", "uk"),
}


class Pieces(NamedTuple):
    """A template cut at its variables: `texts` has one item more than `variables`."""

    texts: tuple[str, ...]
    variables: tuple[str, ...]


def cut(template: str) -> Pieces:
    """Cut a template at its variables.

    >>> cut("Who founded {subject}?")
    Pieces(texts=('Who founded ', '?'), variables=('subject',))
    """
    texts, variables = [""], []
    for text, name, _, _ in string.Formatter().parse(template):
        texts[-1] += text
        if name is not None:
            variables.append(name)
            texts.append("")
    return Pieces(tuple(texts), tuple(variables))


def rendered(texts: Sequence[pl.Expr], values: Sequence[pl.Expr]) -> pl.Expr:
    """Sentences made of the templates' texts and the values between them; null where one of these is null.

    A sentence starts with a capital, unless its first word has one elsewhere ("iPhone"); ".." at its end becomes ".",
    and "??" becomes "?".
    """
    pieces = [piece for pair in zip(texts, values, strict=False) for piece in pair]
    sentence = pl.concat_str([*pieces, texts[-1]])
    first = sentence.str.extract(r"^([^ ]*)")
    capital = sentence.str.slice(0, 1).str.to_uppercase() + sentence.str.slice(1)
    plain = first == first.str.to_lowercase()
    return pl.when(plain).then(capital).otherwise(sentence).str.replace(r"([^.]\.)\.$|([^?]\?)\?$", "${1}${2}")


def template_id(stem: str, wording: Wording) -> str:
    """Relation and a hash of its whole wording, such as P36@1f2e3d4c: it changes with any question of the file."""
    text = "\n".join([*wording.questions(), wording.statement or ""])
    return f"{stem}@{digest(text, 8)}"


def literal_answers(relation: Relation, kind: str, value: str) -> tuple[str, ...]:
    """Accepted answers for a literal object, the canonical one first.

    Empty for a date coarser than the relation's precision, a quantity in another unit, and a value in another form.
    """
    if kind == "date":
        return _date_answers(value, relation.precision)
    if kind == "quantity":
        return _quantity_answers(value, relation.unit, relation.unit_name)
    return (value.strip(),) if value.strip() else ()


def _date_answers(value: str, precision: str) -> tuple[str, ...]:
    match = _ISO_DATE.fullmatch(value)
    if match is None:
        return ()
    numbers = [int(group) for group in match.groups() if group is not None]
    count = _PRECISIONS.index(precision) + 1
    if len(numbers) < count:
        return ()
    year, month, day = [*numbers[:count], 0, 0][:3]
    if not (0 <= month <= 12 and 0 <= day <= 31):
        return ()
    year_text = written_year(year)
    if not month:
        return (year_text,)
    name = MONTHS[month - 1]
    iso = f"{match[1]}-{match[2]}"
    if not day:
        return f"{name} {year_text}", iso
    return f"{day} {name} {year_text}", f"{name} {day}, {year_text}", f"{iso}-{match[3]}"


def _quantity_answers(value: str, unit: str | None, unit_name: str) -> tuple[str, ...]:
    amount, _, stated_unit = value.partition(" ")
    if (stated_unit or None) != unit:
        return ()
    number = parse_number(amount)
    if number is None:
        return ()
    forms = (written_number(number, ","), written_number(number))
    tail = f" {unit_name}" if unit_name else ""
    return tuple(dict.fromkeys((*(form + tail for form in forms), *forms)))


def accepted(answer: str, aliases: Iterable[str]) -> tuple[str, ...]:
    """The answer and those of its aliases that count as right, without duplicates up to case, accents and punctuation.

    Left out: aliases without a word (flags, signs), of one letter, and those that a sentence holds by chance ("IN").

    >>> accepted("India", ["IN", "Bharat", "india", "🇮🇳", "Republic of India"])
    ('India', 'Bharat', 'Republic of India')
    """
    spellings = {normalise(answer): answer}
    for alias in aliases:
        text = alias.strip()
        normal = normalise(text)
        if words(text) and len(normal) > 1 and normal not in _CHANCE_WORDS:
            spellings.setdefault(normal, text)
    return tuple(spellings.values())


@lru_cache(maxsize=1 << 17)
def without_small_words(name: str) -> str:
    """A name without "The", and without its words of up to three small letters, which link the others in any language.

    A name of nothing else, or without capitals, is left as it is.

    >>> without_small_words("Province of Modena"), without_small_words("The Hague"), without_small_words("oil and gas")
    ('Province   Modena', '  Hague', 'oil and gas')
    """
    if name == name.lower():
        return name
    rest = _SHORT_WORD.sub(lambda word: " " if word[0].islower() or word[0] == "The" else word[0], name)
    return rest if words(rest) else name


def overlap(
    answer: str, question_words: Set[str], cut_in_words: Callable[[str], Sequence[str]] = unicode_tokens
) -> float:
    """Share of the answer's words that are in `question_words`, with its small words or without, whichever is more.

    `cut_in_words` is what cut the question: by default, words are folded and stemmed. 0 for an answer without words.

    >>> words_of_question = frozenset(unicode_tokens("Which record label of Bahrain?"))
    >>> overlap("Epic Records", words_of_question), overlap("Central Bank of Bahrain", words_of_question)
    (0.5, 0.5)
    """
    return max(
        sum(map(question_words.__contains__, answer_words)) / (len(answer_words) or 1)
        for answer_words in (cut_in_words(answer), cut_in_words(without_small_words(answer)))
    )


def hints(description: str, longest: int) -> tuple[str, ...]:
    """Short forms of a description, the shortest first, of at most `longest` characters.

    >>> hints("city in Egypt, on the Mediterranean coast", 60)
    ('city', 'city in Egypt', 'city in Egypt, on the Mediterranean coast')
    """
    whole = " ".join(description.split()).rstrip(".")
    forms = (_COMPLEMENT.split(whole)[0], _CLAUSE.split(whole)[0], whole)
    return tuple(dict.fromkeys(form for form in forms if form and len(form) <= longest))


def disambiguated(subjects: Mapping[str, tuple[str, str | None]], longest: int) -> dict[str, tuple[str, ...]]:
    """Forms such as "Alexandria (city in Egypt)" for every subject that shares its label with another, best first.

    `subjects` gives label and description by id. A form that also fits a namesake is left out, so a subject without
    forms cannot be asked about; a subject with a unique label is absent from the result.
    """
    namesakes: dict[str, list[str]] = {}
    for qid, (label, _) in subjects.items():
        namesakes.setdefault(label.casefold(), []).append(qid)
    forms: dict[str, tuple[str, ...]] = {}
    for qids in namesakes.values():
        if len(qids) < 2:
            continue
        candidates = {qid: hints(subjects[qid][1] or "", longest) for qid in qids}
        uses = Counter(hint for options in candidates.values() for hint in {option.casefold() for option in options})
        for qid, options in candidates.items():
            label = subjects[qid][0]
            forms[qid] = tuple(f"{label} ({hint})" for hint in options if uses[hint.casefold()] == 1)
    return forms


def hint_leaks(form: str, label: str, answers: Iterable[str]) -> bool:
    """Whether the hint in a disambiguated form gives an answer away: by a shared word, or an adjective of its name.

    Strict on purpose: using the next form or rejecting the fact costs less than a leak.

    >>> hint_leaks("Springfield (Egyptian city)", "Springfield", ["Egypt"])
    True
    >>> hint_leaks("Springfield (city)", "Springfield", ["Egypt"])
    False
    """
    hint_words = re.findall(r"[^\W_]+", form.removeprefix(label))
    answer_words = [word for answer in answers for word in re.findall(r"[^\W_]+", answer)]
    return any(_tells(hint, word) for hint in hint_words for word in answer_words)


def _tells(hint: str, word: str) -> bool:
    both_names = hint[0].isupper() and word[0].isupper()
    hint, word = " ".join(words(hint)), " ".join(words(word))
    if word in _CHANCE_WORDS or not word:
        return False
    if hint == word or word in _DEMONYMS.get(hint, ()):
        return True
    shared = next((i for i, (a, b) in enumerate(zip(hint, word, strict=False)) if a != b), min(len(hint), len(word)))
    return shared >= 2 if both_names else shared >= 4 and 2 * shared >= min(len(hint), len(word))
