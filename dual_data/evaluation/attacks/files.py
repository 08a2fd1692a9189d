"""What attacks on a cell found: a file for each attack and for the options that decide what it finds.

    attacks/CELL/relearning-HASH.json

An attack by other options has another address, so that nothing is written over. Older versions kept all attacks on a
cell in one file, attacks/CELL.json, which is read as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dual_data.errors import InputError
from dual_data.ids import digest

ATTACKS: Mapping[str, tuple[str, ...]] = {
    "relearning": ("lr", "steps", "share"),
    "quantisation": ("bits",),
    "utility": ("panel",),
    "tasks": ("tasks", "task_folder", "shots"),
}
"""By name, the options that decide what an attack finds. Utility and tasks of lm-eval show what unlearning cost."""


class Found(NamedTuple):
    """What one attack on a cell found."""

    attack: str
    options: Mapping[str, Any]
    layout: int
    """Version of what is kept: of two files by the same options the higher one counts."""
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
    return folder / "attacks" / cell / f"{attack}-{digest(key_of(options))}.json"


def read_attacks(folder: Path, cell: str) -> list[Found]:
    """All that was found on a cell, by attack and options. Raises InputError for a broken file."""
    paths = [folder / "attacks" / f"{cell}.json", *sorted((folder / "attacks" / cell).glob("*.json"))]
    best: dict[tuple[str, str], Found] = {}
    for one in (found for path in paths if path.exists() for found in _read(path)):
        held = best.get((one.attack, one.key))
        if held is None or held.layout < one.layout:
            best[one.attack, one.key] = one
    return [best[place] for place in sorted(best)]


def _read(path: Path) -> Iterator[Found]:
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not readable: {error}; remove it and run the attack again") from error
    options = whole.get("options", {})
    for attack, names in ATTACKS.items():
        if attack == "tasks" and "lm_eval" in whole.get("utility", {}):  # of the one file
            found, before = (whole[side]["lm_eval"] for side in ("utility", "utility_before"))
        elif attack in whole:
            found, before = whole[attack], whole.get(f"{attack}_before")
        else:
            continue
        own = {name: options[name] for name in names if name in options}
        yield Found(attack, own, options.get("layout", 0), found, before, path)
