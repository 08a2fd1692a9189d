"""Charts show each score where their axes say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dual_data.evaluation.report.analysis.collect import collect
from dual_data.evaluation.report.chart import Chart, chart
from dual_data.evaluation.report.sections import plots
from tests.evaluation.report.made_up import rescored, write_cell


def test_charts_put_each_score_where_their_axes_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cell(tmp_path, forget=1.0, retain=1.0)
    write_cell(tmp_path, method="NPO", lr=1e-4, forget=0.3, retain=0.9)
    drawn = list[tuple[Any, ...]]()

    def noted(title: str, *parts: Any) -> Chart:
        drawn.append(parts)
        return chart(title, *parts)

    monkeypatch.setattr(plots, "chart", noted)
    collection = collect([tmp_path])
    (group,) = collection.groups
    scores = {"contains_answer": 0.22, "worst": 0.44}
    run = rescored(group.runs[0], **{name: np.full(60, value) for name, value in scores.items()})
    collection = collection._replace(groups=(group._replace(runs=(run,)),))
    mean = {
        (name, score): float(values.mean())
        for name, items in run.sets.items()
        for score, values in items.scores.items()
    }
    for section in (plots.frontiers, plots.shifts, plots.worst_cases):
        section(collection)
    (x, y, frontier, *_), (_, _, shift, *_), _, (_, _, worst, *_) = drawn
    (spot,) = next(series for series in frontier if series.name == "NPO").spots
    assert (x.label[:6], y.label[:6]) == ("forget", "retain")
    assert (spot.x, spot.y) == (mean["forget", "rougeL_recall"], mean["retain_eval", "rougeL_recall"])
    assert spot.x != spot.y
    change = "change_mean_log_probability"
    assert {series.name: series.spots[0].y for series in shift} == pytest.approx(
        {name: mean[name, change] for name in ("forget", "retain_eval")}
    )
    assert mean["forget", change] != mean["retain_eval", change]
    assert [series.spots[0].y for series in worst] == pytest.approx([0.22, 0.44])
