"""Texts of a grid are tokenised once, whichever stages, seeds and methods share them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dual_data.evaluation.grid import tokenised
from dual_data.evaluation.grid.grid_run import RunOptions
from dual_data.evaluation.grid.run import run
from dual_data.evaluation.grid.tokenised import Tokenised
from dual_data.evaluation.measuring.workload import build_workload
from dual_data.evaluation.models.tiny import tiny
from dual_data.evaluation.rows.encoding import encode
from tests.evaluation.grid.small_grid import FILE, opened

IN_CONTEXT = FILE.replace('sets = ["rare"]', 'sets = ["rare"]\nattacks = ["in_context"]')
"""Its workloads depend on the demonstrations too."""
COUNTERFACTUAL = IN_CONTEXT.replace('["pretrained", "sft"]\nsets', '["pretrained", "sft", "sft_new"]\nsets')


def test_stages_share_token_ids_unless_they_change_the_answers(project: Path) -> None:
    grid, cells = opened(project, file=COUNTERFACTUAL)
    tokenizer = tiny("llama").tokenizer
    texts = Tokenised(grid, tokenizer)
    workloads = {stage: texts.workload(stage, "rare") for stage in ("pretrained", "sft", "sft_new")}
    assert workloads["pretrained"] is workloads["sft"]
    for stage, workload in workloads.items():
        expected = build_workload(
            tokenizer,
            grid.evaluated(stage, "rare"),
            grid.profile,
            grid.measure,
            demonstrations=grid.sets[stage].retain_train,
        )
        assert workload == expected
    assert workloads["sft_new"] != workloads["sft"]
    rows = {stage: texts.encoded(grid.sets[stage].forget["rare"]) for stage in workloads}
    assert rows["pretrained"] is rows["sft"]
    assert [row.answer_ids for row in rows["sft"]] != [row.answer_ids for row in rows["sft_new"]]
    by_seed = [
        texts.training_rows(cell) for cell in cells if (cell.stage, cell.method, cell.lr) == ("sft", "NPO", 1e-3)
    ]
    assert [data.seed for data in by_seed] == [0, 1]
    assert by_seed[0].forget is by_seed[1].forget
    assert by_seed[0].retain == encode(tokenizer, grid.sets["sft"].retain_train, grid.profile)


def test_a_run_tokenises_what_its_cells_are_asked_once(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid, cells = opened(project)
    calls = Counter[str]()

    def counting(name: str) -> Any:
        original = getattr(tokenised, name)

        def count(*arguments: Any, **keywords: Any) -> Any:
            calls[name] += 1
            return original(*arguments, **keywords)

        return count

    for name in ("build_workload", "encode", "tokenise_panel"):
        monkeypatch.setattr(tokenised, name, counting(name))
    assert run(grid, cells, RunOptions()).done == len(cells)
    # One set under two stages, of which one has two seeds; rows to forget, to retain, and preferred answers (none).
    assert calls == {"build_workload": 1, "encode": 3}
