"""The README of the release benchmark agrees with the recorded results."""

from __future__ import annotations

import json

from benchmarks.readme import MEASURED
from benchmarks.release.__main__ import HERE, table


def test_the_readme_shows_the_recorded_results() -> None:
    shown = (HERE / "README.md").read_text(encoding="utf-8").partition(MEASURED)[2]
    assert shown == "\n" + table(json.loads((HERE / "results.json").read_text(encoding="utf-8")))
