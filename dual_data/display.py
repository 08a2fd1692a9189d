"""Text that people read: numbers of things, and text from outside made safe to show."""

from __future__ import annotations

import unicodedata

_STEERING = ("Cc", "Cf", "Cs", "Zl", "Zp")


def count(amount: int, noun: str) -> str:
    """A number of things.

    >>> count(1, "cell"), count(1200, "cell")
    ('1 cell', '1,200 cells')
    """
    return f"{amount:,} {noun}{'' if amount == 1 else 's'}"


def visible(text: str) -> str:
    """`text` with every control and direction character replaced, so that a label cannot control what displays it.

    The length stays the same: white space becomes spaces, other such characters U+FFFD.

    >>> visible("a\\u202eb")
    'a�b'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        " " if sign in "\t\n\r" else "\N{REPLACEMENT CHARACTER}" if unicodedata.category(sign) in _STEERING else sign
        for sign in text
    )
