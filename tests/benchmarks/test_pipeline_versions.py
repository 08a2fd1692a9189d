"""The measured versions of the pipeline on made-up tables: two implementations of the rules give the same result."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks.pipeline import embedded, ours, with_pandas
from benchmarks.pipeline.__main__ import times
from benchmarks.pipeline.outcome import Outcome, read

ROOT = Path(__file__).resolve().parents[2]


def write_tables(folder: Path) -> None:
    """Cities in countries and places named after them, some rows twice, some pairs with several objects.

    Regions with codes; some names begin with their answer; writers whose parents say the same from the other side.
    """
    rng = random.Random(4)
    for topic, count in (("places_city", 900), ("places_region", 300)):
        lines = ["subjectLabel,relation,objectLabel"]
        for number in range(count):
            subject = f"{topic[7:].title()}a{number}e"
            for _ in range(rng.randint(1, 3)):
                lines.append(f"{subject},country,Land{int(rng.paretovariate(0.5)) % 40}")
            if rng.random() < 0.6:
                lines.append(f"{subject},continent,Part{rng.randrange(9)}")
            if rng.random() < 0.5:
                city = f"{topic[7:].title()}a{int(rng.paretovariate(0.7)) % count}"
                # Some lack the last letter, and so are the beginning of another name; some have it with an accent.
                lines.append(f"{subject},named after,{city}{rng.choices(('e', 'é', ''), (6, 3, 1))[0]}")
            if topic == "places_region":
                code = f"{rng.choice(('US', 'CH', 'RU'))}-{number:03d}"
                lines.append(f"{subject},ISO 3166-2 code,{code}")
        (folder / f"{topic}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    lines = ["subjectLabel,relation,objectLabel"]
    for number in range(0, 300, 3):
        parent, *children = (f"Writer{index}e" for index in range(number, number + 3))
        lines += [f"{parent},child,{child}" for child in children]
        lines += [f"{child},father,{parent}" for child in children if rng.random() < 0.5]
        lines += [f"{children[0]},sibling,{children[1]}", f"{children[1]},sibling,{children[0]}"]
    (folder / "human_writer.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_pandas_and_ours_choose_the_same_members(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tables(tmp_path)
    monkeypatch.setattr("sys.argv", ["benchmark", str(ROOT), str(tmp_path)])
    outcomes: dict[str, Outcome] = {}
    for name, version in (("ours", ours), ("with_pandas", with_pandas)):
        version.main()
        outcomes[name] = read(capsys.readouterr().out)
    first, second = outcomes.values()
    assert first.members > 500
    assert (first.rows, first.facts, first.questions, first.members) == (
        *(second.rows, second.facts, second.questions, second.members),
    )
    assert first.removed == second.removed
    assert {"answer_is_prefix", "mirrored", "further_object"} <= set(first.removed)
    assert first.digest == second.digest
    assert times(outcomes)[-1].endswith("the members are equal")


@pytest.mark.parametrize(("option", "code"), [("--help", 0), ("--repeat=2", 2)])
def test_the_embedded_benchmark_builds_nothing_for_an_option(
    option: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        embedded.main([option])
    assert ended.value.code == code
    assert "usage: python -m benchmarks.pipeline.embedded [-h]\n" in "".join(capsys.readouterr())
