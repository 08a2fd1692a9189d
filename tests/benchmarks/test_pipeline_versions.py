"""The measured versions of the pipeline on a made-up table: two implementations of the rules, one result."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks.pipeline import ours, with_pandas
from benchmarks.pipeline.__main__ import times
from benchmarks.pipeline.outcome import Outcome, read

ROOT = Path(__file__).resolve().parents[2]


def write_tables(folder: Path) -> None:
    """Cities in countries and what is named after them, some rows twice, some pairs with several objects."""
    drawn = random.Random(4)
    for topic, count in (("places_city", 900), ("places_region", 300)):
        lines = ["subjectLabel,relation,objectLabel"]
        for number in range(count):
            subject = f"{topic[7:].title()}a{number}"
            for _ in range(drawn.randint(1, 3)):
                lines.append(f"{subject},country,Land{int(drawn.paretovariate(0.5)) % 40}")
            if drawn.random() < 0.6:
                lines.append(f"{subject},continent,Part{drawn.randrange(9)}")
            if drawn.random() < 0.5:
                lines.append(f"{subject},named after,{topic[7:].title()}a{int(drawn.paretovariate(0.7)) % count}")
        (folder / f"{topic}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_pandas_and_ours_choose_the_same_members(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tables(tmp_path)
    monkeypatch.setattr("sys.argv", ["benchmark", str(ROOT), str(tmp_path)])
    found: dict[str, Outcome] = {}
    for name, version in (("ours", ours), ("with_pandas", with_pandas)):
        version.main()
        found[name] = read(capsys.readouterr().out)
    first, second = found.values()
    assert first.members > 500
    assert (first.rows, first.facts, first.questions, first.members) == (
        *(second.rows, second.facts, second.questions, second.members),
    )
    assert first.removed == second.removed
    assert first.digest == second.digest
    assert times(found)[-1].endswith("the members are equal")
