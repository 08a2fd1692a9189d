"""The judge in this process."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from dual_data.calls.fetching import Calls
from dual_data.engine.stage import Tools
from dual_data.errors import MissingExtra
from dual_data.project.loading import open_model
from pipeline.salience import SalienceParams, forecast, run
from tests.pipeline import capitals
from tests.pipeline.salience.judged import ALL, judge
from tests.services.fake_model import FakeModel


def local(tools: Tools, model: FakeModel, **more: Any) -> pl.DataFrame:
    return judge(replace(tools, open_model=lambda spec: model), {"local": model.name, **more})


def test_a_local_judge_is_exact_and_low_mass_is_flagged(tools: Tools) -> None:
    def labels(user: str) -> list[float]:
        mass = 0.8 if '"France"' in user else 0.1
        return [math.log(mass / 2), math.log(mass / 2), *[-math.inf] * 6, math.nan]

    model = FakeModel(labels=labels)
    rows = local(tools, model, batch=4)
    row_of = capitals.by_subject(rows)
    assert [len(group) for group in model.asked] == [4, 2]
    assert row_of["France"]["mass"] == pytest.approx(0.8)
    assert not row_of["France"]["low_mass"]
    assert row_of["Peru"]["low_mass"]
    assert set(rows["score"]) == {1.5}
    assert set(rows["method"]) == {"logits"}
    assert set(rows["samples"]) == {0}
    assert_frame_equal(local(tools, model), rows)
    assert len(model.asked) == 2


def test_other_weights_are_other_calls_and_a_plan_opens_no_model(tools: Tools) -> None:
    facts, questions = capitals.frames()
    params = SalienceParams(local="fake")

    def plan() -> tuple[str, int, int]:
        (estimate,) = forecast(params, tools, facts=facts, questions=questions)
        return estimate[:3]

    assert plan() == ("local:fake", 6, 0)
    local(tools, FakeModel(labels=lambda _: [-1.0] * 9), sample=4)
    assert plan() == ("local:fake", 6, 4)
    other = FakeModel(labels=lambda _: [-3.0] * 9, weights="w2")
    assert set(local(tools, other, sample=4)["mass"]) == {round(9 * math.exp(-3), 6)}
    result = run(params, replace(tools, open_model=lambda _: other), facts=facts, questions=questions)
    assert result.sources == {"weights of fake": "w2"}


def test_without_the_extra_a_local_judge_is_a_clear_message(tools: Tools) -> None:
    with pytest.raises(MissingExtra, match=r"pip install -e .*\[eval\]"):
        judge(tools, {"local": "smollm2"})


def test_a_real_local_model_judges_through_the_same_door(tools: Tools) -> None:
    """Two layers of random weights: the numbers mean nothing, but they are made as for every local judge."""
    pytest.importorskip("torch", reason="the evaluation extra is not installed")
    rows = judge(replace(tools, open_model=open_model), {"local": "tiny-llama", "batch": 4})
    assert rows.height == len(ALL)
    assert rows["score"].is_between(1, 9).all()
    assert rows["low_mass"].all()
    alone = judge(
        replace(tools, open_model=open_model, calls=Calls(tools.project / "b.sqlite")),
        {"local": "tiny-llama", "batch": 1},
    )
    assert_frame_equal(alone, rows, abs_tol=1e-4)
