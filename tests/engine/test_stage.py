"""How the stages of a pipeline depend on each other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dual_data.engine.stage import Stage, wiring_faults
from tests.engine.toy import NUMBERS, PIPELINE, TOTALS

FAULTS: dict[str, tuple[tuple[Stage, ...], str]] = {
    "before its input": (
        (TOTALS, NUMBERS),
        "totals: its input 'numbers' is not a stage before it; the stages before it are: none",
    ),
    "misspelt input": (
        (NUMBERS, replace(TOTALS, inputs=("number",))),
        "totals: its input 'number' is not a stage before it; the stages before it are: numbers",
    ),
    "input that is no tuple": (
        (NUMBERS, replace(TOTALS, inputs="numbers")),  # type: ignore[arg-type]
        "totals: inputs must be a tuple of names, such as ('numbers',)",
    ),
    "forgotten input": (
        (NUMBERS, replace(TOTALS, inputs=())),
        "totals: run(params, tools) fails: missing a required argument: 'numbers'",
    ),
    "input that is not taken": (
        (NUMBERS, TOTALS, replace(NUMBERS, name="more", inputs=("totals",))),
        "more: run(params, tools, totals) fails: got an unexpected keyword argument 'totals'",
    ),
    "name used twice": ((NUMBERS, NUMBERS), "two stages are called 'numbers'; the second would write over the first"),
    "name of the release": (
        (replace(NUMBERS, name="release"),),
        "'release' cannot be the name of a stage; dual-data uses it for something else",
    ),
    "name that is a path": (
        (replace(NUMBERS, name="my/lengths"),),
        "'my/lengths' is not a valid stage name (a small letter, then small letters, digits and _)",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_built_in_order_is_told(fault: str) -> None:
    stages, message = FAULTS[fault]
    (said,) = wiring_faults(stages)
    assert said.replace("required keyword-only argument", "required argument") == message  # as Python 3.13 calls it


def test_a_sound_pipeline_has_no_fault() -> None:
    assert list(wiring_faults(PIPELINE)) == []
