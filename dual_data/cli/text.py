"""Plain text for terminals and logs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from dual_data.text.display import visible

LONGEST = 500
"""Most characters of a label or a message that are shown in a terminal."""


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Aligned columns: numbers to the right, everything else to the left."""
    cells = [[printable(str(value)) if value is not None else "-" for value in row] for row in rows]
    right = [all(_is_number(row[i]) for row in cells) for i in range(len(header))]
    widths = [max(len(title), *(len(row[i]) for row in cells), 0) for i, title in enumerate(header)]

    def line(row: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(row, widths, right, strict=True)
        )
        return "  ".join(padded).rstrip()

    return "\n".join([line(header), line(["-" * width for width in widths]), *(line(row) for row in cells)])


def say(text: str) -> None:
    """Print lines on stderr, beside the output; names in them come from files and services, so nothing steers there."""
    print("\n".join(map(visible, text.split("\n"))), file=sys.stderr, flush=True)


def printable(text: str, longest: int = LONGEST) -> str:
    """`text` without control and direction characters, cut to `longest` characters."""
    return visible(text if len(text) <= longest else text[: longest - 3] + "...")


def as_json(value: object) -> str:
    """JSON in ASCII: works in any terminal and encoding, and contains no control characters."""
    return json.dumps(value, allow_nan=False, indent=2)


def _is_number(cell: str) -> bool:
    return cell == "-" or cell.replace(",", "").replace(".", "", 1).removesuffix("%").removeprefix("-").isdigit()
