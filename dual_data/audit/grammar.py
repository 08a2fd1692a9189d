"""Rules that find malformed questions: ungrammatical, inverted, vacuous.

A question counts once, in the first kind that applies.

ungrammatical   the phrase between "What is the" and "of X" is no singular noun phrase ("the located in of X"),
                or "Who" asks for something that is neither person nor group, or "What" for a person's relative,
                occupation or office.
inverted        it asks for the other end of the relation: "What is the capital of X?" where X is the capital.
vacuous         its relation only places an item in a knowledge base (its class, what it is not to be confused with,
                which source describes it) and states no fact about it, so that there is no single answer.

The rules use the question, its answer and, if the table has them, relation and subject.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, NamedTuple

from dual_data.audit import lexicon, phrases
from dual_data.text.words import words

Kind = Literal["ungrammatical", "inverted", "vacuous"]
KINDS: tuple[Kind, ...] = ("ungrammatical", "inverted", "vacuous")

_NAIVE = re.compile(r"^(what|who|which|what's|who's)(?: (is|are|was|were))? the (.+?)\s*[?.]*$", re.IGNORECASE)
_OF_NAME = re.compile(r"^(.*?) of (?:the )?(?=[\"'“‘]?[^\W_a-z])(.*)$")
_OF_ANY = re.compile(r"^(.*?) of (?:the )?(.*)$")
_LOCATIVE = re.compile(
    r"^(?:what|which|who|whose)\b.*\b(?:located|situated|found|placed|lies?|lying|resides?|residing|exists?|falls?|"
    r"contained|included|housed|part|belongs?|known|present)\b.*\b(?:in|inside|within|under|of|as|to)\b"
)
_CONTAINING = re.compile(
    r"\b(?:contain|include|encompass|hold|govern|administer|cover|comprise|have|has|home to|host)s?\b"
)
_CONTAINERS = re.compile(
    r"^(?:located in the (?:present-day )?administrative|(?:location|country|continent)$|historic)"
)
_DIFFERENCE = re.compile(r"\b(?:differ|differs|different|differently|distinguish\w*|distinct|confused)\b")
_WHO_LIES = re.compile(
    r"^who (?:is |was |are )?(?:located|situated|found|placed|lies|resides|lives|borders|neighbou?rs|adjoins|surrounds|"
    r"contains|encloses|falls|belongs|shares a border)\b"
)

_SUBJECT = "\ue000"
"""Placeholder for the subject in a question, so that patterns are compiled once for all subjects."""


class Question(NamedTuple):
    """A question of the form "What is the PHRASE of X?": its question word, verb, phrase, and the rest (X)."""

    word: str
    verb: str
    phrase: str
    rest: str


def parse(question: str, subject: str | None = None) -> Question | None:
    """Parse a question of the published form; None for any other form."""
    match = _NAIVE.match(question.strip())
    if match is None:
        return None
    word, verb, rest = match.group(1).lower().removesuffix("'s"), (match.group(2) or "is").lower(), match.group(3)
    if subject and rest.casefold().endswith(subject.casefold()):
        before = rest[: len(rest) - len(subject)].split()
        while before and before[-1].lower() in {"the", "a", "an"}:
            before.pop()
        if before and before[-1].lower() in lexicon.PREPOSITIONS:
            return Question(word, verb, " ".join(before[:-1]), subject)
    split = _OF_NAME.match(rest) or _OF_ANY.match(rest)
    return Question(word, verb, split.group(1), split.group(2)) if split else None


@lru_cache(maxsize=1 << 17)
def malformed(
    question: str, answer: str, relation: str | None = None, subject: str | None = None, property_id: str | None = None
) -> Kind | None:
    """The first kind of malformation that applies, or None for a well-formed question."""
    parsed = parse(question, subject)
    label = relation_label(relation, property_id)
    if _ungrammatical(question, answer, parsed, label):
        return "ungrammatical"
    if _inverted(question, answer, parsed, label, subject):
        return "inverted"
    if _vacuous(question, parsed, label, subject):
        return "vacuous"
    return None


def relation_label(relation: str | None, property_id: str | None) -> str | None:
    """The relation in words, lower case; None if the table names it by an id without a known label."""
    for name in (relation, property_id):
        if name is None or not name.strip():
            continue
        if not re.fullmatch(r"P\d+(_\w+)?|label:[0-9a-f]+", name):
            return name.lower().replace("_", " ").strip()
        if label := lexicon.PROPERTIES.get(name.split("_")[0]):
            return label
    return None


def _ungrammatical(question: str, answer: str, parsed: Question | None, label: str | None) -> bool:
    if parsed is None:
        return _who_for_a_place(question, answer, label)
    phrase = phrases.parse(parsed.phrase)
    if phrase.fault is not None:
        return not (parsed.verb in {"are", "were"} and phrase.fault.endswith("plural"))
    if parsed.word == "who":
        return not _is_agent(phrase.head)
    return (
        _is_person(phrase.head, parsed.phrase)
        and not _is_organisation(answer)
        and not question.rstrip("?. ").endswith("called")
    )


def _is_person(head: str, phrase: str) -> bool:
    """Whether the noun can only be a person; "head" only as an office, not as a part of a body."""
    if head == "head":
        return re.search(r"\bhead of (?:the )?(?:government|state|household|school|mission)\b", phrase) is not None
    if head == "member":
        return re.search(r"\b(?:cast|board|crew|family) member\b", phrase) is not None
    if head == "partner":
        return re.search(r"\b(?:unmarried|domestic|life) partner\b", phrase) is not None
    return head in lexicon.PERSONS or head.endswith(("grapher", "ician", "logist", "wright", "woman"))


def _is_agent(head: str) -> bool:
    if head in lexicon.AGENTS or head.endswith(("ist", "man", "woman", "person", "ess")):
        return True
    return head.endswith(("er", "or")) and head not in lexicon.NOT_AGENTS


def _is_organisation(answer: str) -> bool:
    if any(word in lexicon.ORGANISATION_WORDS for word in words(answer)) or "&" in answer:
        return True
    return any(len(word) > 1 and word.isupper() and word.isalpha() for word in answer.split())


def _who_for_a_place(question: str, answer: str, label: str | None) -> bool:
    if _WHO_LIES.match(question.lower()) is None:
        return False
    return (label is not None and _CONTAINERS.match(label) is not None) or _is_area(answer)


def _is_area(answer: str) -> bool:
    return any(word in lexicon.ADMINISTRATIVE_WORDS for word in words(answer))


def _inverted(question: str, answer: str, parsed: Question | None, label: str | None, subject: str | None) -> bool:
    if label is None:
        return _inverted_by_answer(question, answer, parsed)
    if label in lexicon.VACUOUS_RELATIONS:
        return False
    if label.endswith(" of"):
        role = label.removesuffix(" of").split()[-1]
        name = subject or (parsed.rest if parsed else _named(question))
        return role not in lexicon.SYMMETRIC_ROLES and _asks_for_role(question.lower(), role, name.lower())
    if " of " in label and label.split()[0] in lexicon.SUBJECT_ROLES:
        return parsed is not None and phrases.parse(parsed.phrase).head in lexicon.SUBJECT_ROLES
    return _CONTAINERS.match(label) is not None and _asks_inside(question, subject or _named(question))


def _asks_for_role(question: str, role: str, subject: str) -> bool:
    """Whether the question asks for the holder of the role, although the subject is the holder.

    "The capital of X", "X's capital" and "X and its capital" ask for the holder; "X is the capital of which ..." and
    "which state has X as its capital" say that X is the holder.
    """
    marked = question.replace(subject, _SUBJECT) if subject else question
    return _wants_role(role).search(marked) is not None


@lru_cache(maxsize=1 << 10)
def _wants_role(role: str) -> re.Pattern[str]:
    name, holder = rf"(?:the )?{_SUBJECT}", re.escape(role)
    patterns = (
        rf"(?<!its )(?<!their )\b{holder}s?\b(?! of (?:which|what)\b)[^?]*? (?:of|in|from|for|to) {name}(?!\w)",
        rf"{name}(?:'s|’s|') [^?]*\b{holder}s?\b",
        rf"{name} [^?]*(?<!\bas )(?<!\bamong )\b(?:its|their) (?:\w+ )?{holder}s?\b",
        rf"^(?:what|who|which) (?:is|are|was|were) the {holder}s? {name}",
    )
    return re.compile("|".join(patterns))


def _named(question: str) -> str:
    """The last run of words that start with a capital or a digit: taken as the subject if the table names none."""
    match = re.search(r"(?:(?<=\s)[^\Wa-z_][^\s?]*(?:\s+|(?=[?.]|$)))+(?=[^A-Z]*$)", question.rstrip("?. ") + "?")
    return match.group(0).strip() if match else ""


def _inverted_by_answer(question: str, answer: str, parsed: Question | None) -> bool:
    """Whether a question without a known relation is inverted, by its answer: an administrative area is no capital."""
    if parsed is None:
        return _is_area(answer) and _LOCATIVE.match(question.lower()) is not None and _ends_in_name(question)
    if parsed.phrase.lower() in {"part", "member", "facet"}:
        return True
    if parsed.phrase.lower() not in {"capital", "capital city", "administrative capital"}:
        return False
    of_country = parsed.rest.lower().removeprefix("the ") in lexicon.COUNTRIES
    return not of_country and (_is_area(answer) or answer.lower() in lexicon.COUNTRIES)


def _ends_in_name(question: str) -> bool:
    question_words = question.rstrip("?. ").split()
    return bool(question_words) and not question_words[-1][0].islower()


def _asks_inside(question: str, subject: str) -> bool:
    """Whether the question asks what lies inside the subject, although the answer is what the subject lies in."""
    lowered = question.lower().rstrip("?. ")
    if not subject or not lowered.endswith(subject.lower()):
        return False
    before = lowered[: len(lowered) - len(subject)]
    return _LOCATIVE.match(before) is not None and _CONTAINING.search(before) is None


def _vacuous(question: str, parsed: Question | None, label: str | None, subject: str | None) -> bool:
    if label is not None:
        return label in lexicon.VACUOUS_RELATIONS
    if parsed is not None:
        return parsed.phrase.lower() in lexicon.VACUOUS_PHRASES
    wording = question.replace(subject, "") if subject else question
    return _DIFFERENCE.search(wording.lower()) is not None
