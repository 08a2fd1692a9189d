"""The closed-book probe: rules, control and published choice on given answers, and a real server."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from dual_data.calls import Calls
from dual_data.config import Pace, Profile, Services, Strict, parse
from dual_data.engine.manifest import Manifest
from dual_data.engine.plan import plan
from dual_data.engine.run import build
from dual_data.engine.stage import Result, Stage, Tools
from dual_data.errors import BudgetSpent, ConfigError, MissingExtra, Offline, Refused
from dual_data.project import open_model
from dual_data.schema import Facts, Knowledge, Questions
from pipeline.knowledge import KNOWLEDGE, KnowledgeParams, forecast, run
from pipeline.probing import published_rule
from pipeline.probing.probe import select
from tests.clock import FakeClock
from tests.faults.proxy import CUT, DROP, RESET, error_500, proxy, too_many
from tests.pipeline import capitals
from tests.reference import REFERENCE, needs_reference
from tests.services.fake_model import FakeModel
from tests.services.llama import KEY, MODEL, Llama, llama
from tests.services.stand_in import Body, completion, stand_in

ALL = tuple(capitals.CAPITALS.items())


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Tools]:
    kit = capitals.tools(capitals.project(tmp_path), open_embedding=lambda: letters)
    yield kit
    kit.calls.close()


def letters(texts: Sequence[str]) -> Any:
    """A stand-in for a sentence embedding: counts of letters, as unit vectors."""
    counts = np.array([[text.lower().count(chr(97 + i)) for i in range(26)] for text in texts], dtype=float) + 1e-9
    return counts / np.linalg.norm(counts, axis=1, keepdims=True)


def country_of(user: str) -> str:
    return next(name for name in capitals.CAPITALS if re.search(rf"\b{name}\b", user))


def knows(user: str, sample: int = 0) -> str:
    return f"{capitals.CAPITALS[country_of(user)]} is the city.\nThe end"


def probe(
    tools: Tools,
    model: FakeModel,
    pairs: Sequence[tuple[str, str]] = ALL,
    rules: Sequence[str] = ("matched",),
    **more: Any,
) -> dict[str, dict[str, Any]]:
    """The rows by subject (and by rule, where there are two)."""
    data = {"models": [{"name": "m", "local": model.name, "rules": rules}], **more}
    return by_subject(probed(replace(tools, open_model=lambda _: model), data, pairs), pairs)


def probed(tools: Tools, data: dict[str, Any], pairs: Sequence[tuple[str, str]] = ALL) -> pl.DataFrame:
    facts, questions = capitals.frames(pairs)
    result = run(KnowledgeParams.model_validate(data), tools, facts=facts, questions=questions)
    rows = result.rows if isinstance(result, Result) else result
    Knowledge.validate(rows)
    return rows


def by_subject(rows: pl.DataFrame, pairs: Sequence[tuple[str, str]] = ALL) -> dict[str, dict[str, Any]]:
    _, questions = capitals.frames(pairs)
    return {row["subject"]: row for row in rows.join(questions, on="fact_id").iter_rows(named=True)}


# matched -------------------------------------------------------------------------------------------------------------


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
    assert {subject: row for subject, row in larger.items() if subject in first} == first or len(larger) == 6
    assert probe(replace(tools, limit=2), model).keys() <= first.keys()


def test_an_empty_table_without_models(tools: Tools) -> None:
    assert probed(tools, {}).height == 0


# paper ---------------------------------------------------------------------------------------------------------------


def test_the_published_rule_takes_the_sample_with_the_best_recall(tools: Tools) -> None:
    def answer(user: str, sample: int) -> str:
        good = capitals.CAPITALS[country_of(user)]
        return (
            [f"The {good} of old. And more", f"{good}\nis it", "no", "zzz"][sample % 4]
            if country_of(user) != "Peru"
            else "zzz"
        )

    rows = probe(tools, FakeModel(answer=answer), rules=("paper",))
    france = rows["France"]
    assert len(france["generations"]) == 15
    assert france["generations"][:4] == ["The Paris of old", "Paris", "no", "zzz"]
    assert france["best_generation"] == "The Paris of old"
    assert france["generation_recall"] == 1.0
    assert france["hits"] == 8
    assert france["control_known"] is None
    assert rows["Peru"]["generation_recall"] == 0.0
    assert rows["Peru"]["known"] is False


@pytest.mark.parametrize(("cosine", "known"), [(0.59, False), (0.6, False), (0.61, True)])
def test_the_published_rule_decides_by_the_cosine_of_sample_and_answer(
    tools: Tools, cosine: float, known: bool
) -> None:
    def embed(texts: Sequence[str]) -> Any:
        is_answer = [text in capitals.CAPITALS.values() for text in texts]
        return np.array([[1.0, 0.0] if answer else [cosine, (1 - cosine**2) ** 0.5] for answer in is_answer])

    model = FakeModel(answer=lambda user, _: f"{capitals.CAPITALS[country_of(user)]} of old")
    rows = probe(replace(tools, open_embedding=lambda: embed), model, rules=("paper",))
    assert {(row["embedding_similarity"], row["known"]) for row in rows.values()} == {(cosine, known)}


def test_both_rules_stand_side_by_side_and_share_the_log_probability(tools: Tools) -> None:
    data = {"models": [{"name": "m", "local": "x", "rules": ["matched", "paper"]}]}
    rows = probed(replace(tools, open_model=lambda _: FakeModel(answer=knows)), data)
    assert rows.group_by("rule").len().sort("rule").rows() == [("matched", 6), ("paper", 6)]
    assert set(rows["log_probability"]) == {-1.0}


def test_an_empty_answer_is_not_known(tools: Tools) -> None:
    for row in probe(tools, FakeModel(answer=lambda user, _: ". nothing"), rules=("paper",)).values():
        assert (row["best_generation"], row["embedding_similarity"], row["known"]) == ("", None, False)


def test_without_an_embedding_the_published_rule_says_so_before_it_asks(tools: Tools) -> None:
    model = FakeModel(answer=knows)
    with pytest.raises(MissingExtra, match=r"rule `paper` is not installed.*dual-data\[eval\]"):
        probe(replace(tools, open_embedding=None), model, rules=("paper",))
    assert model.asked == []


def test_a_replay_of_the_published_rule_needs_no_embedding(tools: Tools) -> None:
    model = FakeModel(answer=knows)
    first = probe(tools, model, rules=("paper",))
    with Calls(tools.calls.log.path, offline=True) as log:
        assert probe(replace(tools, calls=log, open_embedding=None), model, rules=("paper",)) == first
        with pytest.raises(Offline, match="not in the call log"):
            probe(replace(tools, calls=log, open_embedding=None), model, rules=("matched",))


def test_a_replay_needs_neither_the_model_nor_the_packages_that_ran_it(
    tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = {"models": [{"name": "m", "local": "x"}]}
    first = probed(replace(tools, open_model=lambda _: FakeModel(answer=knows)), data)
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "another")
    with Calls(tools.calls.log.path, offline=True) as log:
        assert probed(replace(tools, calls=log, open_model=None), data).equals(first)
        with pytest.raises(MissingExtra):
            probed(replace(tools, calls=log, open_model=None), {"models": [{"name": "m", "local": "y"}]})


def test_a_replay_is_of_the_weights_that_were_opened_last(tmp_path: Path) -> None:
    """The weights under one name are replaced, and then restored."""
    clock = FakeClock()
    folder = capitals.project(tmp_path)
    path = folder / "calls.sqlite"
    params = KnowledgeParams.model_validate({"models": [{"name": "m", "local": "x"}]})
    facts, questions = capitals.frames()
    right = FakeModel("x", answer=knows)
    wrong = FakeModel("x", answer=lambda *_: "no idea", weights="w2")
    for model, known, calls_made in ((right, True, 24), (wrong, False, 24), (right, True, 0)):
        with Calls(path, clock=clock) as log:
            tools = capitals.tools(folder, log, open_model=lambda _, model=model: model)  # type: ignore[misc]
            online = run(params, tools, facts=facts, questions=questions)
            assert log.counts()["local:x"].made == calls_made
        clock.sleep(60)
        assert set(online.rows["known"]) == {known}
        assert online.sources == {"weights of x": model.identity["weights"]}
        with Calls(path, offline=True) as log:
            tools = capitals.tools(folder, log)
            replayed = run(params, tools, facts=facts, questions=questions)
            assert replayed.rows.equals(online.rows)
            assert replayed.sources == online.sources
            (estimate,) = forecast(params, tools, facts=facts, questions=questions)
            assert estimate.in_log == estimate.calls


def test_new_weights_in_the_folder_are_seen_before_they_are_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="the evaluation extra is not installed")
    from dual_data.evaluation.models.tiny import tiny

    monkeypatch.setenv("DUAL_DATA_CACHE", str(tmp_path / "cache"))
    model = tmp_path / "model"

    def put(seed: int) -> None:
        loaded = tiny(seed=seed)
        loaded.model.save_pretrained(model)
        loaded.tokenizer.save_pretrained(model)

    root = capitals.project(tmp_path / "project")
    facts, questions = capitals.frames()
    stages = (
        Stage("facts", 1, lambda *_: facts, Facts, Strict),
        Stage("questions", 1, lambda *_: questions, Questions, Strict),
        KNOWLEDGE,
    )
    table = {"models": [{"name": "m", "local": str(model)}], "new_tokens": 4}
    profile = Profile(path=Path("pipeline/toy.toml"), name="toy", services=Services(), stages={"knowledge": table})

    def built(*, offline: bool = False) -> tuple[Manifest, int]:
        """The manifest, and the number of calls that were made to the model."""
        with Calls(root / "calls.sqlite", clock=clock, offline=offline) as log:
            manifest = build(stages, capitals.tools(root, log, open_model=open_model), profile)[-1].manifest
            assert manifest is not None
            counts = log.counts().get(f"local:{model}")
        clock.sleep(60)
        return manifest, counts.made if counts else 0

    def state() -> tuple[str, int]:
        """Why the stage runs, and how many of its answers are in the log."""
        with Calls(root / "calls.sqlite", read_only=True) as log:
            (estimate,) = forecast(
                KnowledgeParams.model_validate(table), capitals.tools(root, log), facts=facts, questions=questions
            )
        return plan(stages, root, profile, None)[-1].reason, estimate.in_log

    clock = FakeClock()
    put(0)
    first, calls_made = built()
    name = f"weights of {model}"
    assert (calls_made, set(first.basis.sources), state()) == (24, {name}, ("", 24))

    put(1)
    assert state() == (f"{name} changed", 0)
    # Offline the answers come from the log, and the manifest does not attribute them to the new weights.
    assert built(offline=True)[0].basis == first.basis
    second, calls_made = built()
    assert (calls_made, state()) == (24, ("", 24))
    assert second.basis.sources != first.basis.sources

    put(0)
    assert state() == (f"{name} changed", 24)
    assert built()[0].outcome == first.outcome
    assert built()[1] == 0

    # On a machine without the weights the log is enough for the same fingerprint.
    shutil.rmtree(model)
    assert state() == ("", 24)
    shutil.rmtree(root / "artifacts")
    assert built(offline=True)[0].fingerprint == first.fingerprint


@needs_reference
def test_the_published_recall_is_met_exactly() -> None:
    rows = 0
    for split in ("city_forget_rare_5", "city_forget_popular_5"):
        frame = pl.read_parquet(REFERENCE / "duet" / f"{split}.parquet")
        columns = ("answer", "best_gen_Llama_8b_Instract", "gen_recall_Llama_8b_Instract")
        for answer, best, recall in frame.select(columns).iter_rows():
            assert published_rule.word_recall(answer, best) == pytest.approx(recall)
            assert published_rule.cut(best) == best.strip()
            rows += 1
    assert rows == 964


# Servers -------------------------------------------------------------------------------------------------------------


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
    results = by_subject(rows, ALL[:4])
    assert results["France"]["known"]
    assert sum(row["known"] for row in results.values()) >= 3
    assert rows["log_probability"].is_null().all()  # this server returns no correct ones
    assert rows["control_known"].is_not_null().all()


def test_a_refused_key_stops_the_probe(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROBE_KEY", "sk-wrong")
    with pytest.raises(Refused, match="PROBE_KEY"):
        probed(tools, at(llama().base_url))


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
        assert isinstance(result, Result)
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


def test_a_local_plan_opens_no_model(tools: Tools) -> None:
    facts, questions = capitals.frames()
    params = KnowledgeParams.model_validate({"models": [{"name": "m", "local": "fake"}]})

    def plan() -> tuple[int, int]:
        (estimate,) = forecast(params, replace(tools, open_model=None), facts=facts, questions=questions)
        return estimate.calls, estimate.in_log

    assert plan() == (18 + 6, 0)
    probe(tools, FakeModel(answer=knows), sample=3)
    calls, known = plan()
    assert calls == 24
    assert 9 + 3 <= known < 24


# Configuration -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"models": [{"name": "m"}]}, "knowledge.models.0: m: give either endpoint or local"),
        ({"models": [{"name": "m", "local": "x", "rules": []}]}, "rules are matched, paper or both"),
        ({"models": [{"name": "m", "local": "x", "rules": ["exact"]}]}, "models.0.rules.0: Input should be 'matched'"),
        ({"models": [{"name": "m", "local": "x"}] * 2}, "two models have the same name"),
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
