"""What attacks on a cell found: a file for each attack and for the options that decide what it finds.

    attacks/CELL/relearning-HASH.json

An attack by other options has another address, so that nothing is written over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dual_data.errors import InputError
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
    found = [_read(path) for path in (folder / "attacks" / cell).glob("*.json")]
    return sorted((one for one in found if one is not None), key=lambda one: (one.attack, one.key))


def _read(path: Path) -> Found | None:
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not readable: {error}; remove it and run the attack again") from error
    if whole.get("layout") != LAYOUT:
        return None
    attack = whole["attack"]
    return Found(attack, whole["options"], whole[attack], whole.get(f"{attack}_before"), path)
