"""What attacks on a cell found: a file for each attack and for the options that decide what it finds.

    attacks/CELL/relearning-HASH.json

An attack by other options has another address, so that nothing is written over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from dual_data.errors import InputError
from dual_data.evaluation.results import json_files
from dual_data.ids import digest

ATTACKS: Mapping[str, tuple[str, ...]] = {
    "relearning": ("lr", "steps", "share"),
    "quantisation": ("bits",),
    "tasks": ("tasks", "task_folder", "shots"),
}
"""By name, the options that decide what an attack finds. Tasks of lm-eval show what unlearning cost."""
LAYOUT = 7
"""Of the files: a higher one where the same options find something else. Files of a lower one are not read."""


class Found(NamedTuple):
    """What one attack on a cell found."""

    attack: str
    options: Mapping[str, Any]
    found: Any
    before: Any
    """The same of the model before unlearning, where the attack does not hold it itself."""
    path: Path

    @property
    def key(self) -> str:
        """The options as text: equal for equal ones."""
        return key_of(self.options)


def key_of(options: Mapping[str, Any]) -> str:
    """Options as text."""
    return json.dumps(options, sort_keys=True)


def attack_path(folder: Path, cell: str, attack: str, options: Mapping[str, Any]) -> Path:
    """Where it is kept what an attack by these options found on a cell."""
    return folder / "attacks" / cell / f"{attack}-{digest(key_of({'layout': LAYOUT, **options}))}.json"


def read_attacks(folder: Path, cell: str) -> list[Found]:
    """All that was found on a cell, by attack and options. Raises InputError for a broken file."""
    found = list[Found]()
    for path in json_files(folder / "attacks" / cell):
        whole = _read(path)
        if whole.get("layout") == LAYOUT:
            attack = whole["attack"]
            found.append(Found(attack, whole["options"], whole[attack], whole.get(f"{attack}_before"), path))
    return sorted(found, key=lambda one: (one.attack, one.key))


def outdated(folder: Path) -> str:
    """What is to be said of files of another layout, which are not read; empty where each was made again or is none."""
    left = list[Path]()
    for of_cell in sorted((folder / "attacks").glob("*")):
        made, other = set[str](), dict[Path, str]()
        for path in json_files(of_cell):
            with suppress(InputError):  # said by who reads it
                whole = _read(path)
                place = key_of({"attack": whole.get("attack"), "options": whole.get("options")})
                if whole.get("layout") == LAYOUT:
                    made.add(place)
                else:
                    other[path] = place
        left += [path for path, place in other.items() if place not in made]
    if not left:
        return ""
    return (
        f"{folder}: {len(left)} attack file(s) of another version of dual-data are not read "
        f"({left[0].relative_to(folder)} is one): give `dual-data eval attack` the options that it had, or remove them"
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        whole: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not readable: {error}; remove it and run the attack again") from error
    return whole
