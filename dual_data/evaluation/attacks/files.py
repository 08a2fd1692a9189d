"""Results of attacks on a cell: a file for each attack and the options that determine its result.

    attacks/CELL/relearning-HASH.json

An attack with other options has another path, so nothing is overwritten.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from dual_data.errors import InputError
from dual_data.evaluation.results import json_files, read_json
from dual_data.ids import digest

ATTACKS: Mapping[str, tuple[str, ...]] = {
    "relearning": ("lr", "steps", "share"),
    "quantisation": ("bits",),
    "tasks": ("tasks", "task_folder", "shots"),
}
"""By name of the attack, the options that determine its result. Tasks of lm-eval show what unlearning cost."""
LAYOUT = 7
"""Version of the files, raised when the same options give another result. Files of a lower one are not read."""


class AttackResult(NamedTuple):
    """The result of one attack on a cell."""

    attack: str
    options: Mapping[str, Any]
    result: Any
    before: Any
    """The same for the model before unlearning, where `result` does not include it."""
    path: Path

    @property
    def key(self) -> str:
        """The options as text: equal for equal ones."""
        return key_of(self.options)


def key_of(options: Mapping[str, Any]) -> str:
    """Options as text."""
    return json.dumps(options, sort_keys=True)


def attack_path(folder: Path, cell: str, attack: str, options: Mapping[str, Any]) -> Path:
    """Path of the result of an attack with these options on a cell."""
    return folder / "attacks" / cell / f"{attack}-{digest(key_of({'layout': LAYOUT, **options}))}.json"


def read_attacks(folder: Path, cell: str) -> list[AttackResult]:
    """All attack results of a cell, sorted by attack and options. Raises InputError for a broken file."""
    results = list[AttackResult]()
    for path in json_files(folder / "attacks" / cell):
        content = _read(path)
        if content.get("layout") == LAYOUT:
            attack = content["attack"]
            results.append(
                AttackResult(attack, content["options"], content[attack], content.get(f"{attack}_before"), path)
            )
    return sorted(results, key=lambda result: (result.attack, result.key))


def outdated(folder: Path) -> str:
    """A warning about files of another layout, which are not read; empty where all have been redone or none exist."""
    stale = list[Path]()
    for cell_folder in sorted((folder / "attacks").glob("*")):
        current, old = set[str](), dict[Path, str]()
        for path in json_files(cell_folder):
            with suppress(InputError):  # `read_attacks` raises it
                content = _read(path)
                key = key_of({"attack": content.get("attack"), "options": content.get("options")})
                if content.get("layout") == LAYOUT:
                    current.add(key)
                else:
                    old[path] = key
        stale += [path for path, key in old.items() if key not in current]
    if not stale:
        return ""
    return (
        f"{folder}: {len(stale)} attack file(s) of another version of dual-data are not read "
        f"({stale[0].relative_to(folder)} is one): give `dual-data eval attack` the options that it had, or remove them"
    )


def _read(path: Path) -> dict[str, Any]:
    content = read_json(path, "attack")
    if not isinstance(content, dict):
        raise InputError(f"{path}: not the result of an attack; remove it")
    return content
