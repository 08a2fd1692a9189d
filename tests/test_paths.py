"""Paths of users are no patterns, whatever characters they have."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
IN_MEMORY = re.compile(r"(io\.BytesIO\(.*|\w+\.read_bytes\(\)|block|lines)")
"""What is read from bytes, for which polars expands nothing."""


def expanding(source: str) -> Iterator[str]:
    """Calls of polars that would take [, * and ? in a path for a pattern."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and re.fullmatch(
            r"pl\.(read|scan)_(parquet|parquet_schema|parquet_metadata|csv|ndjson|ipc)", ast.unparse(node.func)
        ):
            literal = any(ast.unparse(keyword) == "glob=False" for keyword in node.keywords)
            if not literal and not IN_MEMORY.fullmatch(ast.unparse(node.args[0])):
                yield ast.unparse(node)


@pytest.mark.parametrize("folder", ["dual_data", "pipeline", "benchmarks", "scripts"])
def test_no_path_is_expanded(folder: str) -> None:
    found = {path: list(expanding(path.read_text("utf-8"))) for path in (ROOT / folder).rglob("*.py")}
    assert found
    assert not {path: calls for path, calls in found.items() if calls}
