"""The closed-book probe: its rule and its control, on given answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from dual_data.config import parse
from dual_data.engine.stage import Tools
from dual_data.errors import ConfigError
from dual_data.project.loading import open_model
from dual_data.sampling import hash_rank
from pipeline.knowledge import KNOWLEDGE, KnowledgeParams, forecast
from pipeline.probing.probe import is_majority, sampled, select
from tests.pipeline import capitals
from tests.pipeline.knowledge.probed import ALL, country_of, knows, probe, probed
from tests.services.fake_model import FakeModel
from tests.tools import no_model


def test_what_is_answered_rightly_is_known(tools: Tools) -> None:
    rows = probe(tools, FakeModel(answer=knows, log_probability=lambda user, answer: -len(answer) - 1e-9))
    assert set(rows) == set(capitals.CAPITALS)
    for subject, row in rows.items():
        assert row["known"] is True
        assert row["control_known"] is False
        assert row["hits"] == 3
        assert row["generations"] == [f"{capitals.CAPITALS[subject]} is the city."] * 3
        assert row["log_probability"] == -len(row["answer"])
        assert (row["model"], row["rule"]) == ("m", "matched")
        assert row["best_generation"] is None


@pytest.mark.parametrize(("right", "known"), [(0, False), (1, False), (2, True), (3, True)])
def test_the_majority_of_the_paraphrases_decides(tools: Tools, right: int, known: bool) -> None:
    wordings = ["Which city is", "Name the", "What city serves"]

    def answer(user: str, _: int) -> str:
        return knows(user) if any(user.startswith(w) for w in wordings[:right]) else "I do not know"

    for row in probe(tools, FakeModel(answer=answer)).values():
        assert (row["hits"], row["known"]) == (right, known)


@pytest.mark.parametrize(("right", "wrong", "most"), [(1, 0, True), (1, 1, False), (2, 3, False), (3, 2, True)])
def test_most_of_the_texts_are_more_than_half_however_many_there_are(right: int, wrong: int, most: bool) -> None:
    facts, questions = capitals.frames([("France", "Paris")])
    (fact,) = select(facts, questions, set(questions["fact_id"]), 0).facts
    assert is_majority(fact, ["It is Paris."] * right + ["Lyon"] * wrong) is most


def test_an_answer_that_is_given_whatever_the_subject_is_no_knowledge(tools: Tools) -> None:
    rows = probe(tools, FakeModel(answer=lambda user, _: "Paris"))
    assert rows["France"]["hits"] == 3
    assert rows["France"]["control_known"] is True
    assert rows["France"]["known"] is False
    assert rows["Peru"]["known"] is False
    assert rows["Peru"]["control_known"] is False


def test_an_answer_that_half_of_the_others_get_is_knowledge(tools: Tools) -> None:
    def answer(user: str, _: int) -> str:
        return "Paris" if "Peru" in user else knows(user)

    pairs = [(country, capitals.CAPITALS[country]) for country in ("France", "Peru", "Japan")]
    rows = probe(tools, FakeModel(answer=answer), pairs, controls=2)
    assert (rows["France"]["control_known"], rows["France"]["known"]) == (False, True)


def test_the_control_can_be_switched_off(tools: Tools) -> None:
    rows = probe(tools, FakeModel(answer=lambda user, _: "Paris"), controls=0)
    assert rows["France"]["control_known"] is None
    assert rows["France"]["known"] is True


def test_only_the_validation_paraphrases_are_asked(tools: Tools) -> None:
    model = FakeModel(answer=knows)
    probe(tools, model)
    users = [chat.user for group in model.asked for chat in group]
    assert not any("has which city as its capital" in user for user in users)
    # Each country three times by paraphrase; once by the canonical question, for the log-probability.
    assert len(users) == len(ALL) * 4
    assert all(chat.system.startswith("You are terse") for group in model.asked for chat in group)


def test_partners_have_other_subjects_and_other_answers(tools: Tools) -> None:
    pairs = [*ALL, ("Gaul", "Paris"), ("Francia", "paris")]
    facts, questions = capitals.frames(pairs)
    selection = select(facts, questions, set(questions["fact_id"]), 3)
    for fact in selection.facts:
        partners = selection.partners[fact.fact_id]
        assert len(partners) == 3
        assert all(partner.subject_id != fact.subject_id for partner in partners)
        assert all(partner.answer.lower() != fact.answer.lower() for partner in partners)
    assert selection.extras == []


def test_no_partner_is_one_whose_right_answer_would_count(tools: Tools) -> None:
    facts, questions = capitals.frames([*ALL[:3], ("Gaul", "Lutetia"), ("Anglia", "York"), ("Albany", "New York")])
    questions = questions.with_columns(
        answers=pl.when(pl.col("subject") == "Gaul").then(pl.lit(["Lutetia", "Paris"])).otherwise("answers")
    )
    selection = select(facts, questions, set(questions["fact_id"]), 5)
    partners = {fact.answer: {other.answer for other in selection.partners[fact.fact_id]} for fact in selection.facts}
    others = {"Berlin", "Rome", "Lutetia", "York", "New York"}
    assert partners["Paris"] == others - {"Lutetia"}
    assert partners["York"] == others - {"York", "New York"} | {"Paris"}
    assert partners["New York"] == others - {"New York"} | {"Paris"}


def test_a_fact_that_is_alone_in_the_sample_borrows_a_partner(tools: Tools) -> None:
    model = FakeModel(answer=knows)
    rows = probe(tools, model, sample=1)
    ((subject, row),) = rows.items()
    assert row["control_known"] is False
    assert len({country_of(chat.user) for group in model.asked for chat in group}) == 2
    parrot = FakeModel("parrot", answer=lambda *_: capitals.CAPITALS[subject])
    assert probe(tools, parrot, sample=1)[subject]["control_known"] is True, "one partner is most of one"
    facts, questions = capitals.frames(ALL[:1])
    selection = select(facts, questions, set(questions["fact_id"]), 3)
    assert selection.partners == {selection.facts[0].fact_id: []}


@given(st.permutations(range(len(ALL))))
def test_the_choice_is_blind_to_the_order_of_the_rows(order: list[int]) -> None:
    facts, questions = capitals.frames()
    ids = set(questions["fact_id"].sort().head(4))
    assert select(facts[order], questions[order[::-1]], ids, 2) == select(facts, questions, ids, 2)


def test_answers_of_a_local_model_are_asked_once(tools: Tools) -> None:
    model = FakeModel(answer=knows)
    first = probe(tools, model, sample=4, batch=5)
    groups = len(model.asked)
    assert max(len(group) for group in model.asked) == 5
    assert probe(tools, model, sample=4) == first
    assert len(model.asked) == groups
    larger = probe(tools, model, sample=6)
    assert {subject: row for subject, row in larger.items() if subject in first} == first
    assert len(larger) == 6
    assert probe(replace(tools, limit=2), model).keys() <= first.keys()


@pytest.mark.parametrize(("sample", "limit"), [(2, 4), (4, 2)])
def test_the_smaller_of_sample_and_limit_is_asked(tools: Tools, sample: int, limit: int) -> None:
    assert len(probe(replace(tools, limit=limit), FakeModel(answer=knows), sample=sample)) == 2


def test_the_first_by_hash_are_asked_in_whatever_order_they_come() -> None:
    _, questions = capitals.frames()
    chosen = sampled(questions, 4, None)["fact_id"].to_list()
    assert sampled(questions.reverse(), 4, None)["fact_id"].to_list() == chosen
    assert hash_rank(sampled(questions, None, None)["fact_id"], "sample").is_sorted()
    assert sampled(questions, 2, None)["fact_id"].to_list() == chosen[:2]


def test_an_empty_table_without_models(tools: Tools) -> None:
    assert probed(tools, {}).height == 0


def test_a_local_plan_opens_no_model(tools: Tools) -> None:
    facts, questions = capitals.frames()
    params = KnowledgeParams.model_validate({"models": [{"name": "m", "local": "fake"}]})

    def plan() -> tuple[int, int]:
        (estimate,) = forecast(params, replace(tools, open_model=no_model), facts=facts, questions=questions)
        return estimate.calls, estimate.in_log

    assert plan() == (18 + 6, 0)
    probe(tools, FakeModel(answer=knows), sample=3)
    calls, known = plan()
    assert calls == 24
    assert 9 + 3 <= known < 24


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"models": [{"name": "m"}]}, "knowledge.models.0: m: give either endpoint or local"),
        ({"models": [{"name": "m", "local": "x", "rules": []}]}, "rules are matched, paper or both"),
        ({"models": [{"name": "m", "local": "x", "rules": ["exact"]}]}, "models.0.rules.0: must be 'matched'"),
        ({"models": [{"name": "m", "local": "x"}] * 2}, "two models have the same name"),
        (
            {"models": [{"name": "m", "local": "/a/x"}, {"name": "n", "local": "/b/x"}]},
            "two folders of local models have the same name",
        ),
        ({"models": [{"name": "m", "local": "x", "budget": {"money": 1}}]}, "budget.money needs endpoint.price"),
        ({"model": []}, "knowledge.model: unknown key"),
        ({"controls": -1}, "knowledge.controls"),
    ],
)
def test_a_bad_parameter_is_named(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(KnowledgeParams, data, Path("dual.toml"), prefix="knowledge")


def test_a_prompt_with_more_than_the_question_is_refused(tools: Tools) -> None:
    path = tools.project / "prompts" / "closed_book.md"
    path.write_text(path.read_text().replace('"text"', '"text"\nhint = "json"') + "{hint}")
    with pytest.raises(ConfigError, match="the probe gives the model nothing else"):
        probe(tools, FakeModel(answer=knows))


def test_the_stage_declares_what_it_reads() -> None:
    assert KNOWLEDGE.inputs == ("facts", "questions")
    assert KNOWLEDGE.files == ("prompts/closed_book.md",)


def test_a_real_local_model_answers_through_the_same_door(tools: Tools) -> None:
    """Two layers of random weights: no fact is known, and all log-probabilities are numbers."""
    pytest.importorskip("torch", reason="the evaluation extra is not installed")
    data = {"models": [{"name": "tiny", "local": "tiny-llama", "rules": ["matched", "paper"]}], "new_tokens": 4}
    rows = probed(replace(tools, open_model=open_model), data)
    assert rows.height == 2 * len(ALL)
    assert (rows["log_probability"] < 0).all()
    assert not rows.filter(pl.col("rule") == "matched")["known"].any()
    assert set(rows.filter(pl.col("rule") == "paper")["generations"].list.len()) == {15}
    assert_frame_equal(probed(replace(tools, open_model=open_model), data), rows)
