"""The judge on a stand-in, for features that the real server lacks."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from dual_data.calls.fetching import Calls
from dual_data.engine.stage import Tools
from pipeline.salience import SalienceParams, forecast, run
from tests.pipeline import capitals
from tests.pipeline.salience.judged import ALL, HOSTILE, judge, open_endpoint, quoted
from tests.services.stand_in import Body, completion, error, stand_in


class Teacher:
    """A judge that scores by the length of the subject, 1 + letters % 9, with the probability `mass`."""

    def __init__(self, *, logprobs: bool = True, form: str = "", mass: float = 0.9) -> None:
        self.logprobs, self.form, self.mass = logprobs, form, mass
        self.facts: list[dict[str, str]] = []

    def __call__(self, body: Body) -> tuple[int, Body]:
        if "animal" in body["messages"][-1]["content"]:
            return self.probed(body)
        fact = quoted(body["messages"][-1]["content"])
        self.facts.append(fact)
        label = str(1 + len(fact["subject"]) % 9)
        if body.get("logprobs"):
            rest = (1 - self.mass) / 2
            top = {f" {label}": self.mass / 2, label: self.mass / 2, "The": rest, "I": rest / 2}
            return completion(label, [(label, top)])
        if self.form and body["response_format"]["type"] == self.form:
            return completion(json.dumps({"label": self.sampled(label, body)}))
        return completion(f"Score: {self.sampled(label, body)}/9")

    def sampled(self, label: str, body: Body) -> str:
        """The label, or for one seed in three the next one."""
        return str(min(9, int(label) + (body["seed"] % 3 == 0)))

    def probed(self, body: Body) -> tuple[int, Body]:
        form = body.get("response_format", {}).get("type")
        if form:
            return completion('{"label": "7"}') if form == self.form else error(400, f"{form} unsupported")
        story = [("A", {"A": 0.5, "The": 0.3}), (" cat", {" cat": 0.4, " dog": 0.3})] if self.logprobs else None
        return completion("A cat", story)


def expected(subject: str) -> int:
    return 1 + len(subject) % 9


def test_the_score_is_read_from_the_labels(tools: Tools) -> None:
    with stand_in(Teacher()) as fake:
        rows = capitals.by_subject(judge(tools, open_endpoint(fake.base_url)))
    for subject, row in rows.items():
        assert row["score"] == expected(subject)
        assert (row["spread"], row["entropy"], row["argmax"]) == (0.0, 0.0, expected(subject))
        assert row["mass"] == pytest.approx(0.9)
        assert (row["method"], row["samples"], row["low_mass"]) == ("logprobs", 0, False)


@pytest.mark.parametrize(
    ("teacher", "method", "low", "asked_first"),
    [
        (Teacher(mass=0.2), "samples", True, True),
        (Teacher(mass=0.2, form="json_object"), "structured", True, True),
        (Teacher(logprobs=False, form="json_schema"), "structured", False, False),
        (Teacher(logprobs=False, form="json_object"), "structured", False, False),
        (Teacher(logprobs=False), "samples", False, False),
    ],
)
def test_where_log_probabilities_do_not_tell(
    tools: Tools, teacher: Teacher, method: str, low: bool, asked_first: bool
) -> None:
    with stand_in(teacher) as fake:
        rows = capitals.by_subject(judge(tools, open_endpoint(fake.base_url, samples=6)))
        asked = [body for body in fake.bodies if "Fact:" in body["messages"][-1]["content"]]
        seeds = [body["seed"] for body in asked if "seed" in body]
        assert {(body["temperature"], "seed" in body) for body in asked} == {(1, True), *([(0, False)] * asked_first)}
        assert all("n" not in body for body in fake.bodies)
    assert sorted(set(seeds)) == [1, 2, 3, 4, 5, 6]
    assert len(teacher.facts) == (7 if asked_first else 6) * len(capitals.CAPITALS)
    for subject, row in rows.items():
        more = 0 if expected(subject) == 9 else 2 / 6
        assert row["score"] == pytest.approx(expected(subject) + more, abs=1e-6)
        assert (row["method"], row["samples"], row["low_mass"]) == (method, 6, low)
        assert (row["mass"] is not None) == asked_first


def test_one_fact_a_request_and_labels_stay_data(tools: Tools) -> None:
    teacher = Teacher()
    with stand_in(teacher) as fake:
        judge(tools, open_endpoint(fake.base_url), [*ALL, *HOSTILE])
        texts = [body["messages"][-1]["content"] for body in fake.bodies]
    # `quoted` has parsed every request already, so every label is within its line.
    pairs = [(fact["subject"], fact["object"]) for fact in teacher.facts]
    assert sorted(pairs) == sorted([*ALL, *HOSTILE])
    assert {fact["relation"] for fact in teacher.facts} == {"capital"}
    assert not any(re.search(r"<\||\|>|\[INST|</s>|\x1b|\u202e|\u2028", text) for text in texts)


def test_a_judge_that_never_answers_on_the_scale_has_no_score(tools: Tools) -> None:
    class Poet(Teacher):
        def sampled(self, label: str, body: Body) -> str:
            return "a rose"

    with stand_in(Poet(logprobs=False)) as fake:
        rows = judge(tools, open_endpoint(fake.base_url, samples=2))
    assert rows["score"].is_null().all()
    assert set(rows["samples"]) == {0}
    assert rows["argmax"].is_null().all()


def test_a_declined_fact_is_a_reject_and_the_rest_goes_on(tools: Tools) -> None:
    class Prude(Teacher):
        def __call__(self, body: Body) -> tuple[int, Body]:
            if '"Peru"' in body["messages"][-1]["content"]:
                return error(400, "blocked", "content_filter")
            return super().__call__(body)

    with stand_in(Prude()) as fake:
        rows = capitals.by_subject(judge(tools, open_endpoint(fake.base_url)))
    assert rows["Peru"]["reason"] == "content_filter"
    assert rows["Peru"]["score"] is None
    assert all(row["reason"] is None for subject, row in rows.items() if subject != "Peru")
    assert sum('"Peru"' in body["messages"][-1]["content"] for body in fake.bodies) == 1, "no samples are asked for"


def test_a_declined_sample_leaves_the_others(tools: Tools) -> None:
    class Moody(Teacher):
        def __call__(self, body: Body) -> tuple[int, Body]:
            if body.get("seed") == 1 and '"Peru"' in body["messages"][-1]["content"]:
                return error(400, "blocked", "content_filter")
            return super().__call__(body)

    with stand_in(Moody(logprobs=False)) as fake:
        peru = capitals.by_subject(judge(tools, open_endpoint(fake.base_url)))["Peru"]
    assert (peru["reason"], peru["samples"]) == (None, 4)
    assert peru["score"] == pytest.approx(expected("Peru") + 1 / 4)


def test_a_reasoning_judge_gets_room_and_its_thoughts_are_not_read(tools: Tools) -> None:
    def reply(body: Body) -> tuple[int, Body]:
        if "max_tokens" in body or "temperature" in body or "logprobs" in body:
            return error(400, "Unsupported parameter")
        assert body["max_completion_tokens"] > 500
        if "animal" in body["messages"][-1]["content"]:
            if "response_format" in body:
                return error(400, "unsupported response_format")
            usage = {"completion_tokens": 90, "completion_tokens_details": {"reasoning_tokens": 80}}
            return completion("A cat.", usage=usage)
        return completion("<think>It is 3 or 4.</think>7")

    with stand_in(reply) as fake:
        rows = judge(tools, open_endpoint(fake.base_url, samples=2))
    assert rows["score"].to_list() == [7.0] * rows.height


def test_a_plan_knows_what_is_in_the_log(tools: Tools, tmp_path: Path) -> None:
    teacher = Teacher(mass=0.2)
    facts, questions = capitals.frames()
    with stand_in(teacher) as fake:
        params = SalienceParams.model_validate(open_endpoint(fake.base_url, samples=2))
        (before,) = forecast(params, tools, facts=facts, questions=questions)
        assert (before.source, before.calls, before.in_log) == ("judge", 6, 0)
        assert 6 * 300 < before.tokens < 6 * 600
        assert "find out what the server supports" in before.note
        assert fake.bodies == []
        judge(tools, open_endpoint(fake.base_url, samples=2))
        count = len(fake.bodies)
        with Calls(tmp_path / "calls.sqlite", read_only=True) as log:
            (after,) = forecast(params, replace(tools, calls=log), facts=facts, questions=questions)
            assert (after.calls, after.in_log, after.tokens) == (18, 18, 0)
            larger = params.model_copy(update={"samples": 3})
            (more,) = forecast(larger, replace(tools, calls=log), facts=facts, questions=questions)
            assert (more.calls, more.in_log) == (24, 18)
        with Calls(tmp_path / "calls.sqlite", offline=True) as log:
            run(params, replace(tools, calls=log), facts=facts, questions=questions)
        assert len(fake.bodies) == count


def test_a_plan_says_what_a_server_without_log_probabilities_takes(tools: Tools) -> None:
    facts, questions = capitals.frames()
    with stand_in(Teacher(logprobs=False)) as fake:
        params = SalienceParams.model_validate(open_endpoint(fake.base_url))
        (before,) = forecast(params, tools, facts=facts, questions=questions)
        assert "; where the server gives no log-probabilities, 5 in all for every fact; " in before.note
        judge(tools, open_endpoint(fake.base_url, sample=1))
        (after,) = forecast(params, tools, facts=facts, questions=questions)
    assert (before.calls, after.calls, after.in_log) == (6, 5 * 6, 5)
    assert "log-probabilities" not in after.note


def test_a_plan_counts_the_tokens_that_its_requests_grant(tools: Tools) -> None:
    """A sampled label in JSON takes more tokens than a bare one, and a judge that reasons may use all it is granted."""

    def thinker(body: Body) -> tuple[int, Body]:
        return completion("<think>4?</think>4")

    facts, questions = capitals.frames()
    for teacher, granted, noted in ((Teacher(logprobs=False, form="json_schema"), 48, False), (thinker, 2054, True)):
        with stand_in(teacher) as fake:
            judge(tools, open_endpoint(fake.base_url, samples=1, sample=1))
            params = SalienceParams.model_validate(open_endpoint(fake.base_url, samples=1))
            (plan,) = forecast(params, tools, facts=facts, questions=questions)
            bodies = [body for body in fake.bodies if "Fact:" in body["messages"][-1]["content"]]
        assert {body["max_tokens"] for body in bodies} == {granted}
        prompts = plan.tokens - (plan.calls - plan.in_log) * granted
        assert 5 * 300 < prompts < 5 * 600
        assert ("reasoning_tokens" in plan.note) == noted


def test_the_sample_is_a_prefix_by_hash_and_blind_to_order(tools: Tools) -> None:
    facts, questions = capitals.frames()
    with stand_in(Teacher()) as fake:
        data = open_endpoint(fake.base_url)
        small = set(judge(tools, {**data, "sample": 2})["fact_id"])
        large = set(judge(tools, {**data, "sample": 4})["fact_id"])
        limited = judge(replace(tools, limit=2), data)
        assert len(small) == 2
        assert small < large
        assert set(limited["fact_id"]) == small
        params = SalienceParams.model_validate({**data, "sample": 4})
        shuffled = run(
            params, tools, facts=facts.reverse(), questions=questions.sample(fraction=1, shuffle=True, seed=1)
        )
        assert set(shuffled.rows["fact_id"]) == large
        assert len(fake.bodies) == 3 + 4
