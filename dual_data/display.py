"""Makes text from outside safe to show in a terminal, a page or a figure."""

from __future__ import annotations

import unicodedata

_STEERING = ("Cc", "Cf", "Cs", "Zl", "Zp")


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
