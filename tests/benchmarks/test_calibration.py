"""The benchmark of the intervals runs, and its README agrees with the recorded results."""

from __future__ import annotations

import json

import pytest

from benchmarks.calibration.__main__ import APART, HERE, SEEDS, main, table
from benchmarks.readme import MEASURED


def test_the_readme_shows_the_recorded_results() -> None:
    shown = (HERE / "README.md").read_text(encoding="utf-8").partition(MEASURED)[2]
    assert shown == "\n" + table(json.loads((HERE / "results.json").read_text(encoding="utf-8")))


def test_every_kind_of_study_is_simulated(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--repeat", "1"])
    header, _, *rows = (line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines())
    assert len(header) == 1 + len(SEEDS) * len(APART)
    recorded = json.loads((HERE / "results.json").read_text(encoding="utf-8"))
    assert [row[0].strip() for row in rows] == list(recorded)
