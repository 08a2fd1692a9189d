"""The table of prompts that bring facts out, by kind."""

from __future__ import annotations

import json
from pathlib import Path

from dual_data.evaluation.report.analysis.collect import collect
from dual_data.evaluation.report.document import Table
from dual_data.evaluation.report.sections.prompts import by_prompt
from dual_data.evaluation.results import cell_path
from tests.evaluation.report.made_up import write_cell


def _ask(folder: Path, name: str, wordings: list[float], prompts: dict[str, list[float]]) -> None:
    """Give the facts to forget of a result other wordings with these scores, and every second one these prompts."""
    path = cell_path(folder, name)
    result = json.loads(path.read_text())
    for index, row in enumerate(result["items"]["forget"]):
        wording = {"question": "?", "generation": "", "scores": row["scores"]}
        row["paraphrases"] = [
            wording | {"scores": wording["scores"] | {"contains_answer": score}} for score in wordings
        ]
        row["attacks"] = [
            wording | {"attack": attack, "scores": {"contains_answer": score}}
            for attack, scores in prompts.items()
            for score in scores
            if index % 2
        ]
    path.write_text(json.dumps(result))


def test_each_kind_of_prompt_has_its_share_of_the_facts_that_were_asked_so(tmp_path: Path) -> None:
    """The mean over wordings and the worst of them differ; facts without a prompt do not count for its kind."""
    base = write_cell(tmp_path, forget=1.0, retain=1.0)
    _ask(tmp_path, base, [1.0, 1.0], {"reverse": [1.0], "in_context": [1.0, 1.0]})
    for seed, in_context in ((0, [0.0, 1.0]), (1, [0.0, 0.0])):
        cell = write_cell(tmp_path, method="NPO", lr=1e-4, seed=seed, forget=0.0, retain=1.0)
        _ask(tmp_path, cell, [0.0, 1.0], {"reverse": [0.0], "in_context": in_context})
    (table,) = by_prompt(collect([tmp_path]))
    assert isinstance(table, Table)
    shares = ("other wordings", "any other wording", "reverse", "in_context")
    found = [
        [str(text).split(" [")[0] for name, text in zip(table.header, row, strict=True) if name in shares]
        for row in table.rows
    ]
    assert [name for name in table.header if name in shares] == list(shares)
    assert found == [["1.000"] * 4, ["0.500", "1.000", "0.000", "0.500"]]


def test_there_is_no_table_where_only_the_questions_were_asked(tmp_path: Path) -> None:
    for method, lr in (("none", 0.0), ("NPO", 1e-4)):
        _ask(tmp_path, write_cell(tmp_path, method=method, lr=lr, forget=1.0, retain=1.0), [], {})
    assert by_prompt(collect([tmp_path])) == []
