"""Parameters and prompts of the judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dual_data.config import parse
from dual_data.engine.stage import Tools
from dual_data.errors import ConfigError
from pipeline.salience import SALIENCE, SalienceParams, forecast
from tests.pipeline import capitals
from tests.pipeline.salience.judged import judge


def test_without_a_judge_the_table_is_empty(tools: Tools) -> None:
    rows = judge(tools, {})
    assert rows.height == 0
    facts, questions = capitals.frames()
    assert forecast(SalienceParams(), tools, facts=facts, questions=questions) == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"local": "m", "endpoint": {"base_url": "http://h", "model": "m"}}, "two judges"),
        ({"budget": {"money": 1.0}}, "budget.money needs endpoint.price"),
        ({"endpoint": {"base_url": "h", "model": "m"}}, "salience.endpoint.base_url: 'h' is not a URL"),
        ({"mass": 2}, "salience.mass: "),
        ({"threshold": 0.5}, "salience.threshold: unknown key"),
        (
            {"endpoint": {"base_url": "http://h", "model": "m", "price": {"input": 1, "output": 1}}},
            "price.date: is missing",
        ),
        ({"endpoint": {"base_url": "http://h", "model": "m", "api_key": "sk-1"}}, "endpoint.api_key: unknown key"),
    ],
)
def test_a_bad_parameter_is_named(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(SalienceParams, data, Path("dual.toml"), prefix="salience")


def test_how_a_judge_is_asked_does_not_decide_what_it_says() -> None:
    def decides(batch: int = 64, **more: Any) -> dict[str, Any]:
        endpoint = {"base_url": "http://h", "model": "m", **more}
        return SalienceParams.model_validate({"endpoint": endpoint, "batch": batch}).model_dump()

    assert decides(8, timeout=600, api_key_env="KEY") == decides()
    assert decides(reasoning_tokens=9) != decides()
    assert decides(extra_body={"reasoning_effort": "none"}) != decides()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [("labels = ", "#", "labels: the scale's labels are missing"), ("object", "answer", "variables: must be subject")],
)
def test_a_prompt_without_a_scale_is_refused(tools: Tools, old: str, new: str, message: str) -> None:
    path = tools.project / "prompts" / "salience.md"
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        judge(tools, {"local": "m"})


def test_the_stage_declares_what_it_reads() -> None:
    assert SALIENCE.inputs == ("facts", "questions")
    assert SALIENCE.files == ("prompts/salience.md", "pipeline/relations/*.toml")
