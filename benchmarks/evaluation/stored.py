"""The results so far, in a file: written after every piece, and read by a later call, which continues them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.evaluation.table import markdown
from dual_data.errors import UsageError


class Stored:
    """results.json and results.md of a folder. The result of a piece is at its path within the part's result."""

    def __init__(self, folder: Path, setting: Mapping[str, Any]) -> None:
        """Read the results in the folder. Raises UsageError if they were measured in another setting."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.results: dict[str, Any] = {"setting": dict(setting)}
        file = folder / "results.json"
        if not file.exists():
            return
        self.results = json.loads(file.read_text())
        before = self.results["setting"]
        now = json.loads(json.dumps(setting))  # as it is read from a file
        if changes := [
            f"{name}: {before.get(name)} there, {now.get(name)} now"
            for name in sorted((before.keys() | now.keys()) - {"command"})
            if before.get(name) != now.get(name)
        ]:
            raise UsageError(
                f"{file} has results of another setting ({'; '.join(changes)}): they cannot stand in one table. Name "
                "another folder as --out, or remove that file"
            )
        if now["command"] not in before["command"].split(" ; "):
            before["command"] += f" ; {now['command']}"

    def has(self, *path: str) -> bool:
        """Whether a piece is there and is not an error, which would be tried again."""
        node: Any = self.results
        for name in path:
            if not isinstance(node, dict) or name not in node:
                return False
            node = node[name]
        return "error" not in node

    def put(self, value: Mapping[str, Any], *path: str) -> None:
        """Store the result of a piece, and write the files."""
        *above, last = path
        node = self.results
        for name in above:
            node = node.setdefault(name, {})
        node[last] = value
        text = json.dumps(self.results, indent=1) + "\n"
        partial = self.folder / ".results.json"
        partial.write_text(text)
        partial.replace(self.folder / "results.json")  # a call may be cut at any time
        self.write_table()

    def write_table(self) -> str:
        """Write the results as Markdown, and return the text."""
        text = markdown(json.loads(json.dumps(self.results)))
        (self.folder / "results.md").write_text(text)
        return text
