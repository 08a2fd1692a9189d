"""Rows longer than a model takes are refused by name, and their cells fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from dual_data.errors import InputError
from dual_data.evaluation.grid.grid_run import RunOptions
from dual_data.evaluation.grid.run import run
from dual_data.evaluation.measuring.local_model import LocalModel
from dual_data.evaluation.measuring.workload import MeasureOptions, build_workload, check_workload
from dual_data.evaluation.models.tiny import tiny
from dual_data.evaluation.results import read_results
from dual_data.sources.chat.protocol import Chat, Sampling
from tests.evaluation.grid.small_grid import FILE, one_stage, opened
from tests.evaluation.questions import cities


def test_a_row_fits_to_the_token_with_its_answers_and_what_may_be_generated() -> None:
    loaded = tiny()
    workload = build_workload(loaded.tokenizer, {"forget": cities()}, "chat", MeasureOptions())
    most = max(
        len(request.prompt) + max([4, *(len(answer.ids) for answer in request.answers)])
        for request in workload.requests
    )
    loaded.model.config.max_position_embeddings = most
    check_workload(loaded.room, workload, 4)
    loaded.model.config.max_position_embeddings = most - 1
    with pytest.raises(
        InputError, match=rf"forget: item city-\d \('Which .*\), .* has {most} tokens, but tiny-llama-0 takes"
    ):
        check_workload(loaded.room, workload, 4)


@pytest.mark.parametrize("name", ["rare", "retain"])
def test_the_cells_of_a_row_that_is_too_long_fail_with_its_name(project: Path, name: str) -> None:
    path = project / "data" / f"{name}.jsonl"
    path.write_text(path.read_text().replace("Which", "Which " * 2100, 1))
    grid, cells = opened(project, file=one_stage(FILE))
    assert run(grid, cells, RunOptions()) == (0, 0, 5, 0)
    for _, result in read_results(grid.folder):
        assert "tiny-llama takes 2048: shorten the row or remove it" in result["reason"]


def test_a_chat_that_is_too_long_is_refused() -> None:
    model = LocalModel(tiny())
    long = Chat("Be brief.", "Why? " * 2100)
    with pytest.raises(InputError, match="takes 2048"):
        model.generate([long], Sampling(4))
    with pytest.raises(InputError, match="takes 2048"):
        model.log_probabilities([long], ["Because"])
    with pytest.raises(InputError, match="takes 2048"):
        model.label_log_probabilities([long], ["A"])
