"""Whether an English relation phrase is a noun phrase, and which noun heads it.

Without a part-of-speech tagger, which would only guess on the published questions: relation phrases are short, and a
predicate ("located in", "shares border with", "has effect") fails to be a noun phrase in only a few ways.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from dual_data.audit import lexicon

_WORD = re.compile(r"[^\W\d_]+(?:['’.-][^\W\d_]+)*")
_SINGULAR_ENDINGS = ("ss", "us", "is", "ics", "'s", "’s")


class Phrase(NamedTuple):
    """A relation phrase: `head` is its head noun, `fault` says why it is no singular noun phrase (None if it is)."""

    head: str
    fault: str | None


def is_participle(word: str) -> bool:
    """Whether the word may be a past participle."""
    return word in lexicon.PARTICIPLES or (
        word.endswith("ed") and len(word) >= 4 and word not in lexicon.NOT_PARTICIPLES
    )


def ends_as_plural(word: str) -> bool:
    """Whether the word ends like a plural noun or a third-person verb; never for capitalised words."""
    return (
        len(word) > 2
        and word[0].islower()
        and word.endswith("s")
        and not word.endswith(_SINGULAR_ENDINGS)
        and word not in lexicon.SINGULAR_IN_S
    )


@lru_cache(maxsize=1 << 14)
def parse(phrase: str) -> Phrase:
    """Head and fault of a phrase that follows "What is the" and precedes "of X"."""
    tokens = _before_clause(_WORD.findall(phrase.replace("(s)", "s")))
    if not tokens:
        return Phrase("", "empty")
    head = _head(tokens)
    return Phrase(head.lower(), _fault(tokens, head))


def _before_clause(tokens: list[str]) -> list[str]:
    """The tokens before a relative clause, in which any verb may occur."""
    for index, token in enumerate(tokens):
        if index and token.lower() in lexicon.RELATIVES:
            return tokens[:index]
    return tokens


def _head(tokens: list[str]) -> str:
    """The last word before the first preposition or following participle."""
    for index, token in enumerate(tokens):
        word = token.lower()
        if index and (word in lexicon.PREPOSITIONS or (is_participle(word) and _modifies_backwards(tokens, index))):
            return tokens[index - 1]
    return tokens[-1]


def _modifies_backwards(tokens: list[str], index: int) -> bool:
    """Whether the participle modifies the noun before it: if at the end, or before a preposition or conjunction."""
    following = tokens[index + 1].lower() if index + 1 < len(tokens) else ""
    return not following or following in lexicon.PREPOSITIONS or following in {"and", "or"}


def _fault(tokens: list[str], head: str) -> str | None:  # noqa: PLR0911 - one return a rule reads best
    words = [token.lower() for token in tokens]
    first, last = words[0], words[-1]
    second = words[1] if len(words) > 1 else ""
    if last in lexicon.PREPOSITIONS:
        return "ends in a preposition"
    if first in lexicon.PREPOSITIONS or first in lexicon.ARTICLES or first in lexicon.RELATIVES:
        return "starts with a function word"
    if any(word in lexicon.FINITE_VERBS for word in words):
        return "holds a verb"
    if is_participle(first) and (not second or second in lexicon.PREPOSITIONS):
        return "is a participle without a noun"
    if first.endswith("ing") and second in lexicon.PREPOSITIONS - {"of"}:
        return "is a gerund"
    if ends_as_plural(tokens[0]):
        return "starts with a verb or is a plural"
    if ends_as_plural(head):
        return "is a plural"
    if len(words) == 1 and last in lexicon.PREDICATE_ADJECTIVES:
        return "is an adjective"
    return None
