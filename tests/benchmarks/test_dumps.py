"""The dump benchmark at a tiny size: its results, and that the README agrees with the recorded ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import ROOT
from benchmarks.dumps import report
from benchmarks.dumps.__main__ import main
from benchmarks.readme import MEASURED

HERE = ROOT / "benchmarks" / "dumps"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("dumps")
    sizes = ["--rows", "30000", "--titles", "5000", "--lines", "9000", "--links", "60000", "240000"]
    words = [
        "benchmark",
        str(folder),
        *sizes,
        "--plain-up-to",
        "60000",
        "--repeat",
        "1",
        "--out",
        str(folder / "r.json"),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", words)
        main()
    written: dict[str, Any] = json.loads((folder / "r.json").read_text(encoding="utf-8"))
    return written


def test_everything_is_written_down(results: dict[str, Any]) -> None:
    assert set(results["machine"]) >= {"date", "load", "processor", "cores", "memory_gigabytes", "packages"}
    assert [(table["name"], table["size"]) for table in results["tables"]] == [
        ("pagelinks", 30_000),
        ("linktarget", 5_000),
        ("truthy", 9_000),
        ("wiki", 60_000),
        ("wiki", 240_000),
    ]
    for table in results["tables"]:
        assert table["imported_megabytes"] > 0
        for work, run in table["measured"].items():
            assert run["seconds"] > 0
            assert run["ratio"] > 0
            assert run["peak_megabytes"] > 50
            if not work.startswith("unpack"):
                assert run["done"] > table["size"] * 0.9, work
    row_counts = {work: run["done"] for table in results["tables"] for work, run in table["measured"].items()}
    for work, plain in list(report.NAIVE.items())[:3]:
        assert row_counts[work] == row_counts[plain], "both read the same rows"


def test_the_report_states_targets_growth_and_what_is_unproven(results: dict[str, Any]) -> None:
    text = report.rendered(results)
    for phrase in ("| `parse_links`, M rows/s | 7 |", "ns a link at", "## Extrapolation", "Unproven", "1.5 G rows"):
        assert phrase in text
    assert "Spark" not in text, "it was not measured"
    largest = results["tables"][-1]
    spark = {"done": 200_000_000, "seconds": 100.0, "cpu": 1.0, "peak_megabytes": 2048.0, "start": 5.0, "ratio": 9.0}
    counts = {work: spark | {"seconds": 12.0} for work in report.COUNTS}
    on_spark = {"count_on_spark_1": spark | {"seconds": 180.0}, "count_on_spark_2": spark}
    full = {**largest, "size": 200_000_000, "measured": counts | on_spark}
    text = report.rendered({**results, "tables": [*results["tables"][:-1], full]})
    assert "| `count_all`, 200 M links | 20 s, 4 GB | 12.0 s, 2.0 GB | met |" in text
    assert "| 200 M | 5.0 | 180.0 | 100.0 | 1.80 | 12.0 | 8.3 |" in text
    assert "| `count_some` of them, from 200 M links | 1.5 |" in text


def test_the_readme_says_what_the_results_say() -> None:
    shown = (HERE / "README.md").read_text(encoding="utf-8").partition(MEASURED)[2]
    assert shown == "\n" + report.rendered(json.loads((HERE / "results.json").read_text(encoding="utf-8")))


@pytest.mark.parametrize("readme", sorted(ROOT.glob("benchmarks/*/README.md")), ids=lambda path: path.parent.name)
def test_every_benchmark_says_what_to_install_first(readme: Path) -> None:
    assert "`make .venv/.dev`" in readme.read_text(encoding="utf-8")
