"""The probe of models on a server."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from dual_data.calls.fetching import Calls
from dual_data.config import Pace
from dual_data.engine.stage import Tools
from dual_data.errors import BudgetSpent, Refused
from pipeline import knowledge, salience
from pipeline.knowledge import KnowledgeParams, forecast, run
from tests.clock import FakeClock
from tests.faults.proxy import CUT, DROP, RESET, error_500, proxy, too_many
from tests.pipeline import capitals
from tests.pipeline.knowledge.probed import ALL, knows, probed
from tests.services.llama import KEY, MODEL, Llama, llama
from tests.services.stand_in import Body, completion, error, stand_in


def at(url: str, **more: Any) -> dict[str, Any]:
    model = {"name": "small", "endpoint": {"base_url": url, "model": MODEL, "api_key_env": "PROBE_KEY"}}
    return {"models": [{**model, **more}], "new_tokens": 12}


def test_a_real_server_through_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROBE_KEY", KEY)
    real: Llama = llama()
    folder = capitals.project(tmp_path)
    faults = [too_many(2), error_500(), CUT, DROP, RESET]
    with proxy(real.root, *faults) as between:
        pace = {"probe": Pace(concurrency=2, attempts=9)}
        data = at(f"{between.url}/v1")
        with Calls(folder / "calls.sqlite", pace, clock=FakeClock()) as log:
            tools = capitals.tools(folder, log)
            rows = probed(tools, data, ALL[:4])
            assert sum(bool(name) for name in between.faults_made) == len(faults)
            count = between.count
            facts, questions = capitals.frames(ALL[:4])
            (plan,) = forecast(KnowledgeParams.model_validate(data), tools, facts=facts, questions=questions)
            assert (plan.source, plan.calls, plan.in_log, plan.tokens) == ("probe", 12, 12, 0)
            assert_frame_equal(probed(tools, data, ALL[:4]), rows)
            assert between.count == count
    results = capitals.by_subject(rows, ALL[:4])
    assert results["France"]["known"]
    assert sum(row["known"] for row in results.values()) >= 3
    assert rows["log_probability"].is_null().all()  # this server returns no correct ones
    assert rows["control_known"].is_not_null().all()


def test_how_a_model_is_asked_does_not_decide_what_it_knows() -> None:
    def decides(**more: Any) -> dict[str, Any]:
        return KnowledgeParams.model_validate({**at("http://h"), **more}).model_dump()

    endpoint = {"base_url": "http://h", "model": MODEL, "timeout": 600, "api_key_env": "OTHER_KEY"}
    assert decides(batch=8, models=[{"name": "small", "endpoint": endpoint}]) == decides()
    assert decides(new_tokens=9) != decides()


@pytest.mark.parametrize("stage", [knowledge, salience])
def test_a_server_is_asked_once_before_all_others_are_asked_much(
    stage: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = capitals.project(tmp_path)
    clock = FakeClock()
    log = Calls(folder / "calls.sqlite", {name: Pace(attempts=99) for name in ("probe", "judge")}, clock=clock)
    tools = capitals.tools(folder, log)

    def greet(url: str, **more: Any) -> None:
        endpoint = {"base_url": url, "model": MODEL, **more}
        if stage is knowledge:
            knowledge.greet(KnowledgeParams.model_validate({"models": [{"name": "m", "endpoint": endpoint}]}), tools)
        else:
            salience.greet(salience.SalienceParams.model_validate({"endpoint": endpoint}), tools)

    with (
        stand_in(lambda _: error(404, f"The model `{MODEL}` does not exist")) as fake,
        pytest.raises(Refused, match="does not exist"),
    ):
        greet(fake.base_url)
    with stand_in(oracle) as fake:
        greet(fake.base_url)
        asked = len(fake.bodies)
        greet(fake.base_url)
        assert 0 < asked == len(fake.bodies)
    assert capsys.readouterr().err == ""
    greet("http://127.0.0.1:9/v1", api_key_env="NO_SUCH_KEY")  # where it is needed, `lacks` has told
    assert capsys.readouterr().err == ""
    greet("http://127.0.0.1:9/v1")  # nobody is there yet
    log.close()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"http://127.0.0.1:9/v1 ({MODEL}): does not answer yet; its stage will ask again (")
    assert clock.slept == [], "the other stages need not wait for it"


def test_every_server_is_asked_once_before_the_first_model_is_asked_much(tools: Tools) -> None:
    def reply(body: Body) -> tuple[int, Body]:
        return oracle(body) if body["model"] == MODEL else error(404, f"The model `{body['model']}` does not exist")

    with stand_in(reply) as fake:
        absent = {"name": "absent", "endpoint": {"base_url": fake.base_url, "model": "absent"}}
        present = {**absent, "name": "present", "endpoint": {"base_url": fake.base_url, "model": MODEL}}
        params = KnowledgeParams.model_validate({"models": [present, absent]})
        facts, questions = capitals.frames()
        with pytest.raises(Refused, match="`absent` does not exist"):
            run(params, tools, facts=facts, questions=questions)
        assert [body["model"] for body in fake.bodies] == ["absent"]
        run(params, tools, facts=facts.clear(), questions=questions.clear())  # it asks nobody
        assert len(fake.bodies) == 1


def oracle(body: Body) -> tuple[int, Body]:
    """Knows every capital."""
    text = body["messages"][-1]["content"]
    return completion("A cat" if "animal" in text else knows(text), usage={"prompt_tokens": 40, "completion_tokens": 4})


def test_a_plan_before_and_after_and_a_budget(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROBE_KEY", "k")
    facts, questions = capitals.frames()
    with stand_in(oracle) as fake:
        data = at(fake.base_url, rules=["matched", "paper"])
        params = KnowledgeParams.model_validate(data)
        plans = forecast(params, tools, facts=facts, questions=questions)
        assert [(plan.source, plan.calls, plan.in_log) for plan in plans] == [("probe", 24, 0), ("probe", 90, 0)]
        assert "6 calls only where it gives log-probabilities of a prompt" in plans[0].note
        assert all(plan.tokens > 20 * plan.calls for plan in plans)
        assert fake.bodies == []
        with pytest.raises(BudgetSpent, match=r"knowledge.models \(small\).budget.tokens = 600"):
            probed(tools, at(fake.base_url, budget={"tokens": 600}))
        result = run(params, tools, facts=facts, questions=questions)
        assert result.rows.filter(pl.col("rule") == "matched")["known"].all()
        assert (result.rows["hits"] > 0).all()
        plans = forecast(params, tools, facts=facts, questions=questions)
        assert [(plan.calls, plan.in_log, plan.tokens) for plan in plans] == [(18, 18, 0), (90, 90, 0)]
        (usage,) = result.tables["knowledge_usage"].to_dicts()
        assert usage["model"] == "small"
        assert usage["answers"] >= 108
        seeds = [body["seed"] for body in fake.bodies if body.get("temperature") == 1.5]
        assert sorted(set(seeds)) == list(range(1, 16))
        assert {body["max_tokens"] for body in fake.bodies if body.get("temperature") == 1.5} == {10}
        assert {body["top_p"] for body in fake.bodies if body.get("temperature") == 1.5} == {0.95}
