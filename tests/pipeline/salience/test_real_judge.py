"""The judge on a real llama.cpp server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dual_data.calls.fetching import Calls
from dual_data.config import Pace
from dual_data.engine.stage import Tools
from dual_data.errors import BudgetSpent
from pipeline.salience import SalienceParams, run
from tests.clock import FakeClock
from tests.faults.proxy import CUT, DROP, RESET, error_500, html_200, proxy, too_many, unavailable
from tests.pipeline import capitals
from tests.pipeline.salience.judged import FEW, HOSTILE, assert_same, endpoint, judge
from tests.services.llama import KEY, MODEL, Llama, llama


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Llama:
    monkeypatch.setenv("JUDGE_KEY", KEY)
    return llama()


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Tools]:
    """Tools of a project with a short prompt."""
    kit = capitals.tools(capitals.project(tmp_path, short=True))
    yield kit
    kit.calls.close()


def usage(tools: Tools, data: dict[str, Any]) -> dict[str, Any]:
    facts, questions = capitals.frames(FEW)
    result = run(SalienceParams.model_validate(data), tools, facts=facts, questions=questions)
    return dict(result.tables["salience_usage"].row(0, named=True))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """The rows of a build without faults. Only rows are compared, since the log has the server's address."""
    folder = capitals.project(tmp_path_factory.mktemp("salience"), short=True)
    with pytest.MonkeyPatch.context() as patch, Calls(folder / "calls.sqlite") as calls:
        patch.setenv("JUDGE_KEY", KEY)
        return judge(capitals.tools(folder, calls), endpoint(llama().base_url, mass=0.0), FEW)


def test_a_real_judge_gives_the_expected_value(undisturbed: pl.DataFrame) -> None:
    assert undisturbed.height == len(FEW)
    assert set(undisturbed["method"]) == {"logprobs"}
    assert undisturbed["score"].is_between(1, 9).all()
    assert undisturbed["mass"].is_between(0, 1).all()
    assert undisturbed["samples"].to_list() == [0] * undisturbed.height
    assert set(undisturbed["judge"]) == {MODEL}
    assert set(undisturbed["prompt_version"]) == {"short"}
    assert (undisturbed["argmax"].is_between(1, 9)).all()


def test_the_prompt_of_the_project_works_too(real: Llama, tools: Tools) -> None:
    (row,) = judge(tools, endpoint(real.base_url, mass=0.0, sample=1)).to_dicts()
    assert 1 <= row["score"] <= 9
    assert row["prompt_version"] == "1"


def test_faults_change_nothing(real: Llama, tmp_path: Path, undisturbed: pl.DataFrame) -> None:
    faults = [too_many(7), too_many(None), error_500(), unavailable(503), html_200(), CUT, DROP, RESET]
    clock = FakeClock()
    folder = capitals.project(tmp_path, short=True)
    with (
        proxy(real.root, *faults) as between,
        Calls(folder / "calls.sqlite", {"judge": Pace(concurrency=2, attempts=12)}, clock=clock) as calls,
    ):
        rows = judge(capitals.tools(folder, calls), endpoint(f"{between.url}/v1", mass=0.0), FEW)
        assert sum(bool(name) for name in between.faults_made) >= len(faults)
    assert_same(rows, undisturbed)
    assert 7.0 in clock.slept


def test_a_low_mass_falls_back_to_samples(real: Llama, quick: Tools) -> None:
    """Unconstrained, the small model gives the labels almost no probability; its samples are constrained."""
    rows = judge(quick, endpoint(real.base_url, mass=1.0, samples=3, sample=1))
    assert rows.height == 1
    assert set(rows["method"]) == {"structured"}
    assert rows["low_mass"].all()
    assert rows["mass"].is_not_null().all()
    assert rows["samples"].to_list() == [3]
    assert rows["score"].is_between(1, 9).all()


def test_a_spent_budget_stops_and_a_larger_one_goes_on(real: Llama, quick: Tools, undisturbed: pl.DataFrame) -> None:
    with proxy(real.root) as between:
        url = f"{between.url}/v1"
        tight = endpoint(url, mass=0.0, budget={"tokens": 160})
        tight["endpoint"]["reasoning_tokens"] = 0
        with pytest.raises(BudgetSpent, match=r"Raise salience.budget in the profile"):
            judge(quick, tight, FEW)
        count = between.count
        answered = quick.calls.counts()["judge"].made
        assert 3 <= answered < 2 + len(FEW)
        with pytest.raises(BudgetSpent, match="= 160 "):
            judge(quick, tight, FEW)
        assert between.count <= count + 2
        rows = judge(quick, endpoint(url, mass=0.0), FEW)
        assert quick.calls.counts()["judge"].made == 2 + len(FEW)
        assert_same(rows, undisturbed)
        spent = usage(quick, endpoint(url, mass=0.0))
    assert spent["answers"] == len(FEW) + 2  # and two that found out what the server supports
    assert spent["prompt_tokens"] > 50 * len(FEW)
    assert spent["cost"] is None


def test_a_hostile_label_moves_no_other_score(real: Llama, quick: Tools, undisturbed: pl.DataFrame) -> None:
    rows = judge(quick, endpoint(real.base_url, mass=0.0), [*FEW, *HOSTILE])
    assert rows.height == undisturbed.height + len(HOSTILE)
    assert rows["score"].is_between(1, 9).all()
    assert_same(rows.filter(pl.col("fact_id").is_in(undisturbed["fact_id"].implode())), undisturbed)
