"""One report that several files of tests read."""

from __future__ import annotations

from typing import Any

import pytest

from dual_data.evaluation.report.write import Written, write_report
from tests.evaluation.report.made_up import SFT, SFT_RETAIN, attacked, write_attacks, write_cell, write_grid
from tests.evaluation.report.page import Page


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The report of a grid with attacks, a retrained reference and a failed cell."""
    folder = tmp_path_factory.mktemp("grid")
    write_grid(folder, sft=SFT)
    write_cell(folder, stage="sft_retain", recipe=SFT_RETAIN, forget=0.1, retain=1.0, panel=0.7)
    write_cell(folder, method="NPO", lr=1e-2, forget=0, retain=0, status="failed")
    for stage, recipe, retain, shift in (("sft", SFT, 0.85, 0.0), ("sft_retain", SFT_RETAIN, 0.9, 0.1)):
        # Written again with the same content, for its id.
        scores: dict[str, Any] = {"forget": 0.2, "retain": retain, "panel": 0.7}
        identifier = write_cell(folder, stage=stage, recipe=recipe, method="NPO", lr=1e-4, **scores)
        write_attacks(folder, identifier, attacked(shift))
        write_attacks(folder, identifier, {"relearning": attacked(shift)["relearning"]}, lr=1e-3)
    return write_report([folder], folder / "report", title="A <grid>")


@pytest.fixture(scope="session")
def page(written: Written) -> Page:
    """Its HTML, which the tests only read."""
    return Page(written.html.read_text())
