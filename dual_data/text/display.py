"""Text that people read: numbers and names of things, and text from outside made safe to show."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

_NAMED = 3
"""Most names that a message lists."""
JOINERS = "\u200c\u200d"
"""Format characters that are part of words in some scripts, such as Persian, and of compound emoji: no control."""
_STEERING = ("Cc", "Cf", "Cs", "Zl", "Zp")


def count(amount: int, noun: str) -> str:
    """A number of things.

    >>> count(1, "cell"), count(1200, "cell")
    ('1 cell', '1,200 cells')
    """
    return f"{amount:,} {noun}{'' if amount == 1 else 's'}"


def some_of(names: Sequence[str]) -> str:
    """The first names, with the number of further ones.

    >>> some_of(["a", "b", "c", "d"])
    'a, b, c and 1 more'
    """
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question that names the most similar of the known names, as the end of a message; empty where none is similar.

    >>> did_you_mean("topcis", ["topics", "labels"]), did_you_mean("x", ["topics", "labels"])
    ("; did you mean 'topics'?", '')
    """
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def visible(text: str) -> str:
    """`text` with every control and direction character replaced, so that a label cannot control what displays it.

    The length stays the same: white space becomes spaces, other such characters U+FFFD.

    >>> visible("a\\u202eb")
    'a�b'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(" " if sign in "\t\n\r" else "\N{REPLACEMENT CHARACTER}" if _steers(sign) else sign for sign in text)


def _steers(sign: str) -> bool:
    return unicodedata.category(sign) in _STEERING and sign not in JOINERS
