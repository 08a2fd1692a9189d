"""Results of attacks on a cell: a file for each attack and the options that determine its result.

    attacks/CELL/relearning-HASH.json

An attack with other options has another path, so nothing is overwritten.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dual_data.errors import InputError
from dual_data.evaluation.results import json_files, read_json
from dual_data.ids import digest

ATTACKS = ("relearning", "quantisation", "tasks")
"""Names of the attacks. Tasks of lm-eval show what unlearning cost."""
ROUNDED_SCORES: Mapping[str, str] = {
    "rougeL_recall": "ROUGE-L recall",
    "probability": "probability",
    "mean_log_probability": "mean log-probability",
}
"""Scores of each fact that are kept of rounded models, as results of cells have them, with what tables call them.

Files of earlier versions have the first alone.
"""
RELEARNED_TOKENS = 16
"""Most tokens of a generated answer along a curve of relearning, which has many; most answers are shorter."""
LAYOUT = 7
"""Version of the files, raised when the same options give another result."""


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
    """All attack results of a cell, sorted by attack and options. Raises InputError for a file that is none."""
    results = list[AttackResult]()
    for path in json_files(folder / "attacks" / cell):
        content = read_json(path, "remove it and run the attack again")
        if not isinstance(content, dict) or content.get("layout") != LAYOUT:
            raise InputError(f"{path}: not the result of an attack, of layout {LAYOUT}; remove it and attack again")
        attack = content["attack"]
        results.append(AttackResult(attack, content["options"], content[attack], content.get(f"{attack}_before"), path))
    return sorted(results, key=lambda result: (result.attack, result.key))
