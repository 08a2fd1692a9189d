"""What was measured so far, in a file: written after every piece, read by a later call, which goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.evaluation.table import markdown
from dual_data.errors import UsageError


class Stored:
    """results.json and results.md of a folder. A piece is a part's result or, by its path, a share of one."""

    def __init__(self, folder: Path, setting: Mapping[str, Any]) -> None:
        """Take up what the folder has. Raises UsageError where that was measured in another setting."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.results: dict[str, Any] = {"setting": dict(setting)}
        file = folder / "results.json"
        if not file.exists():
            return
        self.results = json.loads(file.read_text())
        before = self.results["setting"]
        now = json.loads(json.dumps(setting))  # as it comes back from a file
        names = sorted((before.keys() | now.keys()) - {"command"})
        other = [f"{name}: {before.get(name)} there, {now.get(name)} now" for name in names]
        other = [text for text, name in zip(other, names, strict=True) if before.get(name) != now.get(name)]
        if other:
            raise UsageError(
                f"{file} has results of another setting ({'; '.join(other)}): they cannot stand in one table. Name "
                "another folder as --out, or remove that file"
            )
        if now["command"] not in before["command"].split(" ; "):
            before["command"] += f" ; {now['command']}"

    def has(self, *path: str) -> bool:
        """Whether a piece is there and is no error, which would be tried again."""
        found: Any = self.results
        for name in path:
            if not isinstance(found, dict) or name not in found:
                return False
            found = found[name]
        return "error" not in found

    def put(self, value: Mapping[str, Any], *path: str) -> None:
        """Keep a piece, and write the files."""
        *above, last = path
        place = self.results
        for name in above:
            place = place.setdefault(name, {})
        place[last] = value
        text = json.dumps(self.results, indent=1) + "\n"
        partial = self.folder / ".results.json"
        partial.write_text(text)
        partial.replace(self.folder / "results.json")  # a call may be cut at any time
        self.write_table()

    def write_table(self) -> str:
        """Write what there is as Markdown; its text."""
        text = markdown(json.loads(json.dumps(self.results)))
        (self.folder / "results.md").write_text(text)
        return text
