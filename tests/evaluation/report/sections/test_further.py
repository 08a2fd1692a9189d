"""The table of further scores."""

from __future__ import annotations

import math
from pathlib import Path

from dual_data.evaluation.measuring.hidden import LAST_LAYERS
from dual_data.evaluation.report.analysis.collect import collect
from dual_data.evaluation.report.document import Table
from dual_data.evaluation.report.sections.further import further_scores
from tests.evaluation.report.made_up import FACTS, rescored, write_cell


def test_scores_that_were_measured_stand_in_a_table_of_their_own(tmp_path: Path) -> None:
    write_cell(tmp_path, forget=1.0, retain=1.0)
    write_cell(tmp_path, method="NPO", lr=1e-4, forget=0.3, retain=0.9)
    collection = collect([tmp_path])
    _, table = further_scores(collection)
    assert isinstance(table, Table)
    ended = ("ended", "ended, retain_eval")
    assert table.header[4:-1] == ("method", "lr", *ended, "exact answers", "extraction strength", "hidden cosine")
    before, after = table.rows
    all_ended = ("1.000 [0.884, 1.000]",) * 2
    others = ("0.000 [0.000, 0.116]", "1.000 [0.884, 1.000]", "0.500 [0.500, 0.500]")
    assert before[4:-1] == ("before", "", *all_ended, *others)
    assert (after[4], after[8]) == ("NPO", before[8])
    assert f"the outputs of the last {LAST_LAYERS} layers, before the final norm" in table.caption

    (group,) = collection.groups
    nothing = {name: [math.nan] * FACTS for name in ("exact_answer", "extraction_strength", "hidden_cosine")}
    runs = [tuple(rescored(run, **nothing) for run in runs) for runs in (group.runs, group.before)]
    ((key, _),) = collection.bases.items()
    bare = collection._replace(groups=(group._replace(runs=runs[0], before=runs[1]),), bases={key: runs[1]})
    _, table = further_scores(bare)
    assert isinstance(table, Table)
    assert table.header[5:-1] == ("lr", *ended)
