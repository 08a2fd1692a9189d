"""Results as Markdown, and as the last section of a README."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

MEASURED = "## Measured\n"
"""Heading of the section that a recorded run writes anew."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are already Markdown."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows))


def record(folder: Path, results: Mapping[str, Any], shown: str) -> None:
    """Write results.json of a benchmark's folder, and put `shown` into its README."""
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    readme = folder / "README.md"
    before = readme.read_text(encoding="utf-8").partition(MEASURED)[0]
    readme.write_text(f"{before}{MEASURED}\n{shown}", encoding="utf-8")
