"""Markdown with text from outside escaped: no label can add a link, an image, a table cell or HTML."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Sequence

from dual_data.text.display import JOINERS

_SPECIAL = re.compile(r"[\\`*{}\[\]()#+!|~$]|(?<![^\W_])_|_(?![^\W_])")
"""An underscore inside a word begins no emphasis, and names of splits have many."""
_LONGEST = 200


def text(value: object, longest: int = _LONGEST) -> str:
    """`value` as literal text inside a paragraph or a table cell, on one line, at most `longest` characters."""
    if value is None:
        return "-"
    plain = "".join(c if unicodedata.category(c)[0] not in "CZ" or c in JOINERS else " " for c in str(value))
    plain = " ".join(plain.split())
    if len(plain) > longest:
        plain = plain[: longest - 1] + "…"
    escaped = _SPECIAL.sub(r"\\\g<0>", html.escape(plain, quote=False))
    return escaped.replace("://", "&#58;//").replace("@", "&#64;").replace("www.", "www&#46;")


def code(value: str) -> str:
    """A name as code, inside a table cell too."""
    return "`" + "".join(c if c.isprintable() and c not in "`|" else "?" for c in value) + "`"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are already Markdown."""
    lines = [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def folded(summary: str, content: str) -> str:
    """`content`, collapsed until clicked."""
    return f"<details>\n<summary>{summary}</summary>\n\n{content}\n\n</details>"


def number(value: float | int | None) -> str:
    """A number for a table cell."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
