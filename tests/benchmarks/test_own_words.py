"""What unlearning does to answers in the model's own words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks.evaluation.study import own_words
from dual_data.evaluation.results import read_result, write_result
from dual_data.evaluation.rows.data import Item
from tests.cli.command import dual_data
from tests.evaluation.attacking.attacked_grid import GRID
from tests.evaluation.questions import other_cities, write_rows

COUNTRIES = ("Poland", "India", "Peru", "Turkey")


def _cities(kind: str) -> list[Item]:
    cities = [f"{kind}{number}" for number in range(12)]
    return [
        Item(f"{city}", f"Where is {city}?", COUNTRIES[number % 4], (COUNTRIES[number % 4],), subject=city)
        for number, city in enumerate(cities)
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Results of a random model, in which it answered in sentences before unlearning."""
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "__init__.py").write_text("PIPELINE = ()\n")
    grid = GRID.replace('rare = "forget.jsonl"', 'rare = "rare.jsonl"\npopular = "popular.jsonl"').replace(
        "lrs = [1e-3, 1e-2]", "lrs = [1e-2]"
    )
    (tmp_path / "pipeline" / "evaluation.toml").write_text(grid)
    for name in ("rare", "popular"):
        write_rows(tmp_path / f"{name}.jsonl", _cities(name))
    write_rows(tmp_path / "retain.jsonl", other_cities())
    write_rows(tmp_path / "neighbours.jsonl", other_cities()[:2])
    assert (
        dual_data("eval", "run", "--grid", "one", "--project", str(tmp_path), "--device", "cpu", "--save-adapters").code
        == 0
    )
    results = tmp_path / "artifacts" / "evaluation" / "one"
    for path in (results / "cells").iterdir():
        result: Any = read_result(path)
        if result["cell"]["method"] != "none":
            continue
        for row in result["items"]["forget"]:
            row["generation"] = f"It is in {row['ground_truth']}, I think."
            row["scores"] |= {"contains_answer": 1.0, "own_words_log_probability": -0.5}
        write_result(results, path.stem, result)
    return results


def _compared(folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    options = ["--model", "tiny-llama", "--dtype", "float32", "--device", "cpu"]
    assert own_words.main([str(folder), *options]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    compared: dict[str, Any] = json.loads(line)
    return compared


def test_answers_are_scored_in_the_sentences_of_before(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compared = _compared(folder, capsys)
    assert (compared["method"], compared["lr"], compared["seeds"]) == ("GradDiff", 1e-2, 1)
    assert compared["pairs"] == compared["answered"] == 12
    texts = compared["texts without the answer, and those of which it is likeliest in own words"]
    assert texts == {"popular": [12, 0], "rare": [12, 0]}
    lost = compared["nats lost in own words"]
    assert lost["difference"][0] == pytest.approx(lost["popular"][0] - lost["rare"][0])
    assert lost["rare"][0] > 0.1  # gradient ascent at a high rate
    # Adapters that change nothing lose nothing.
    for path in folder.glob("adapters/*/adapter_model.safetensors"):
        save_file({name: torch.zeros_like(weight) for name, weight in load_file(path).items()}, path)
    unchanged = _compared(folder, capsys)
    assert unchanged["nats lost in own words"]["popular"] == pytest.approx([0, 0, 0], abs=1e-5)
    likeliest = {1 - unchanged["not likeliest in own words"][name][0] for name in ("popular", "rare")}
    assert likeliest == {0.0}  # a random model would have said something else
    assert unchanged["recall lost"] == compared["recall lost"]  # that of the results


def test_results_without_adapters_are_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in folder.glob("adapters/*/*"):
        path.unlink()
    with pytest.raises(SystemExit):
        own_words.main([str(folder), "--model", "tiny-llama", "--dtype", "float32", "--device", "cpu"])
    assert "adapter" in capsys.readouterr().err
