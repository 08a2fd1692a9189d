"""Text from outside, made fit to be shown: in a terminal, a page or a figure."""

from __future__ import annotations

import unicodedata

_STEERING = ("Cc", "Cf", "Cs", "Zl", "Zp")


def visible(text: str) -> str:
    """`text` with every control and direction character replaced: a label must not steer what shows it.

    As long as before: white space becomes spaces, other such characters U+FFFD.

    >>> visible("a\\u202eb")
    'a�b'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        " " if sign in "\t\n\r" else "\N{REPLACEMENT CHARACTER}" if unicodedata.category(sign) in _STEERING else sign
        for sign in text
    )
