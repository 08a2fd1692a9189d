"""The splits stage: the paper's splits, what is left out and why, its columns, balance and baselines."""

from __future__ import annotations

import math
import re
import statistics
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_data.audit.baselines import NAMES, baselines
from dual_data.config import Profile, Services
from dual_data.engine.stage import Tools
from dual_data.errors import ConfigError
from dual_data.sampling import hash_rank
from dual_data.schema import Knowledge
from pipeline.splits import check, short_names
from tests.pipeline.worlds import (
    MATCHED,
    MODEL,
    SEEDS,
    TOPICS,
    Draw,
    by_split,
    draw,
    drawn_world,
    few,
    make_splits,
    params,
    project,
    world,
)

__all__ = ["draw", "project"]


@few
@given(SEEDS)
def test_paper_takes_the_ends_of_the_popularity_ranking(draw: Draw, seed: int) -> None:
    inputs, result = draw(seed)
    splits = by_split(result, "paper")
    city = inputs.questions.join(inputs.facts, on="fact_id").filter(pl.col("topic") == TOPICS[0])
    sums = sorted(city["subject_mentions"] + city["object_mentions"])
    for percent in (2, 4, 8):
        size = len(sums) * percent // 100
        rare, popular = splits[f"city_forget_rare_{percent}"], splits[f"city_forget_popular_{percent}"]
        assert rare["pop_sum"].to_list() == sums[:size]
        assert popular["pop_sum"].to_list() == sums[len(sums) - size :], "ascending, as published"
        assert not set(rare["fact_id"]) & set(popular["fact_id"])
    retain = splits["city_fast_retain_30"]
    assert hash_rank(retain["fact_id"], "facts").is_sorted()
    assert splits["city_fast_retain_10"]["fact_id"].to_list() == retain["fact_id"].head(10).to_list()
    for side in ("rare", "popular"):
        assert not set(retain["question"]) & set(splits[f"city_forget_{side}_8"]["question"])
    assert splits["city_full"].height == city.height
    assert splits["full_"].height == inputs.questions.height
    for full in ("city_full", "full_"):
        assert splits[full]["pop_sum"].is_sorted()


def test_paper_has_the_published_columns(project: Tools) -> None:
    inputs = drawn_world(project, 1, 260)
    result = make_splits(project, inputs)
    assert result.tables["examples/paper"].columns[:13] == [
        *("source_csv", "subjectLabel", "relation", "objectLabel", "subject_qid", "property_pid", "object_qid"),
        *("question", "answer", "pop_subject", "pop_object", "pop_sum", "triple_pop"),
    ]
    assert result.tables["examples/paper"].columns[13:] == [
        *("split", "position", "fact_id", "answers", "paraphrases_test"),
    ]
    assert result.tables["examples/paper"]["source_csv"].unique().sort().to_list() == [
        "human_writer.csv",
        "places_city.csv",
    ]
    published = result.tables["examples/paper"].join(inputs.facts, on="fact_id")
    for end in ("subject", "object"):
        assert published[f"pop_{end}"].to_list() == published[f"{end}_mentions"].to_list()
    alike = Counter(inputs.facts.select("property_id", "object_qid").iter_rows())
    counts = result.tables["examples/paper"].select("property_pid", "object_qid", "triple_pop").rows()
    assert all(alike[property_id, qid] == count for property_id, qid, count in counts)


def knowledge(facts: pl.DataFrame, model: str, rule: str, known: set[str]) -> pl.DataFrame:
    rows = [
        {
            "fact_id": fact_id,
            "model": model,
            "rule": rule,
            "generations": ["x"],
            "hits": 1,
            "known": fact_id in known,
            "control_known": False,
            "log_probability": -1.0 if fact_id in known else -5.0,
            "best_generation": "x" if rule == "paper" else None,
            "generation_recall": 1.0 if rule == "paper" else None,
            "embedding_similarity": 0.9 if rule == "paper" else None,
        }
        for fact_id in facts["fact_id"]
    ]
    return Knowledge.validate(pl.DataFrame(rows, schema=Knowledge.create_empty().schema))


def test_only_facts_that_the_models_know_are_taken(project: Tools) -> None:
    inputs = drawn_world(project, 3, 400)
    known, known_to_paper = (set(inputs.facts["fact_id"].to_list()[::step]) for step in (2, 3))
    published = "meta-llama/Llama-3.1-8B-Instruct"
    probes = [
        knowledge(inputs.facts, MODEL, "matched", known),
        knowledge(inputs.facts, MODEL, "paper", set(inputs.facts["fact_id"])),
        knowledge(inputs.facts, published, "matched", set(inputs.facts["fact_id"])),
        knowledge(inputs.facts, published, "paper", known_to_paper),
    ]
    chosen = params(
        matched={"signal": "mentions", "answer_share": 0.3, "models": [MODEL]},
        paper={"signal": "mentions", "retain": (10,), "model": published},
    )
    result = make_splits(project, inputs._replace(knowledge=pl.concat(probes)), chosen)
    for recipe, facts in (("matched", known), ("matched_answer", known), ("paper", known_to_paper)):
        members = set(result.rows.filter(recipe=recipe)["fact_id"])
        assert members, recipe
        assert members <= facts, recipe
    assert "best_gen_Llama_8b_Instract" in result.tables["examples/paper"].columns
    matched = result.tables["examples/matched"]
    assert all(MODEL in models for models in matched["known_by"].to_list())
    balance = result.tables["balance"].filter(
        pl.col("recipe").is_in(MATCHED) & (pl.col("measure") == f"log_probability of {MODEL}")
    )
    assert set(balance["rare_mean"]) == {-1.0}
    assert balance["balanced"].all()
    models = {measure for measure in result.tables["balance"]["measure"] if measure.startswith("log_probability")}
    assert models == {f"log_probability of {model}" for model in (MODEL, published)}


def test_of_several_models_each_must_know_a_fact(project: Tools) -> None:
    inputs = drawn_world(project, 3, 400)
    known, known_to_other = (set(inputs.facts["fact_id"].to_list()[start::3]) for start in (0, 1))
    both = set(inputs.facts["fact_id"].to_list()[2::3])
    probes = [
        knowledge(inputs.facts, MODEL, "matched", known | both),
        knowledge(inputs.facts, "other", "matched", known_to_other | both),
    ]
    chosen = params(matched={"signal": "mentions", "answer_share": 0.3, "models": [MODEL, "other"]})
    result = make_splits(project, inputs._replace(knowledge=pl.concat(probes)), chosen)
    members = set(result.rows.filter(recipe="matched")["fact_id"])
    assert members
    assert members <= both


def test_facts_with_several_right_objects_are_left_to_the_recipe_paper(project: Tools) -> None:
    inputs = drawn_world(project, 3, 260)
    several = set(inputs.questions["fact_id"].to_list()[::3])
    questions = inputs.questions.with_columns(functional=~pl.col("fact_id").is_in(several))
    rows = make_splits(project, inputs._replace(questions=questions)).rows
    for recipe in MATCHED:
        assert several.isdisjoint(rows.filter(recipe=recipe)["fact_id"])
    assert several <= set(rows.filter(recipe="paper")["fact_id"])


@pytest.mark.parametrize(
    ("changes", "recipe", "reason"),
    [
        (
            {"matched": {"signal": "inbound_links"}},
            "matched",
            "value of inbound_links; set splits.matched.signal to one that has: mentions",
        ),
        ({"matched": {"signal": "salience"}}, "matched_answer", "no functional fact has a value of salience; set "),
        (
            {"matched": {"signal": "mentions", "models": [MODEL]}},
            "matched",
            f"no answer of {MODEL} by the rule matched",
        ),
        (
            {"paper": {"signal": "sitelinks"}},
            "paper",
            "of subject and object; set splits.paper.signal to one that has: mentions",
        ),
        ({"paper": {"signal": "mentions", "model": MODEL}}, "paper", f"no answer of {MODEL} by the rule paper"),
        ({"smallest": 10**6}, "matched", "no topic has enough pairs"),
    ],
)
def test_a_recipe_that_cannot_be_made_says_why(
    project: Tools, changes: dict[str, Any], recipe: str, reason: str
) -> None:
    inputs = drawn_world(project, 1, 120)
    # By the other rule the model knows everything, which is no answer by the one that is asked for.
    rule = "matched" if recipe == "paper" else "paper"
    probes = knowledge(inputs.facts, MODEL, rule, set(inputs.facts["fact_id"]))
    result = make_splits(project, inputs._replace(knowledge=probes), params(**changes))
    row = result.tables["recipes"].row(by_predicate=pl.col("recipe") == recipe, named=True)
    assert not row["made"]
    assert reason in row["reason"]
    assert result.rows.filter(pl.col("recipe") == recipe).is_empty()
    assert f"examples/{recipe}" in result.tables


@pytest.mark.parametrize("recipe", MATCHED)
def test_a_model_that_is_not_asked_is_refused_by_each_recipe_that_needs_it(project: Tools, recipe: str) -> None:
    profile = Profile(path=Path("mine.toml"), name="mine", services=Services(), stages={})
    models = {"signal": "mentions", "models": [MODEL]}
    with pytest.raises(ConfigError, match=f"does not ask '{MODEL}' by the rule matched; it asks: none"):
        check(params(recipes=(recipe,), matched=models), project.project, profile)
    check(params(recipes=("paper",), matched=models), project.project, profile)


def test_a_model_that_knows_nothing_is_the_reason(project: Tools) -> None:
    inputs = drawn_world(project, 1, 120)
    probes = [knowledge(inputs.facts, "ignorant", "matched", set()), knowledge(inputs.facts, MODEL, "matched", set())]
    chosen = params(matched={"signal": "mentions", "models": ["ignorant", MODEL]})
    recipes = make_splits(project, inputs._replace(knowledge=pl.concat(probes)), chosen).tables["recipes"]
    reason = recipes.row(by_predicate=pl.col("recipe") == "matched", named=True)["reason"]
    assert re.fullmatch(r"ignorant knows none of the \d+ facts that are left to choose from", reason)


def test_a_split_that_is_too_small_says_so(project: Tools) -> None:
    chosen = params(smallest=9)
    result = make_splits(project, drawn_world(project, 1, 260), chosen)
    capacity = result.tables["capacity"]
    small = capacity.filter(~pl.col("made"))
    assert small.height
    assert (small["rows"] == 0).all()
    assert (small["reason"].fill_null("").str.len_chars() > 0).all()
    whole = pl.col("rows") == pl.min_horizontal("wanted", "holds")
    assert capacity.filter("made").select(((pl.col("reason") == "") == whole).all()).item()
    for row in result.tables["recipes"].iter_rows(named=True):
        made = capacity.filter("made", recipe=row["recipe"])
        assert (row["splits"], row["rows"]) == (made.height, made["rows"].sum())
    assert "city_forget_rare_2" in small["split"].to_list()
    assert (capacity.filter("made")["rows"] >= 9).all()


def test_a_topic_without_popularity_is_the_reason_for_each_of_its_splits(project: Tools) -> None:
    inputs = drawn_world(project, 1, 260)
    counted = pl.when(topic=TOPICS[0]).then(pl.lit(5))
    facts = inputs.facts.with_columns(subject_sitelinks=counted, object_sitelinks=counted)
    chosen = params(matched={"signal": "sitelinks"}, paper={"signal": "sitelinks"})
    capacity = make_splits(project, inputs._replace(facts=facts), chosen).tables["capacity"]
    functional = inputs.questions.filter("functional").join(facts, on="fact_id")
    cities, writers = (functional.filter(topic=topic).height for topic in TOPICS)
    reasons = dict(capacity.filter(recipe="matched").select("split", "reason").iter_rows())
    assert reasons["writer_forget_rare_2"] == (
        f"2 % of 0 eligible facts ({writers} more have no popularity by sitelinks) are 0 rows, fewer than 2 "
        "(splits.percents, splits.smallest)"
    )
    assert f"2 % of {cities} eligible facts ({writers} more" in reasons["all_forget_rare_2"]
    assert f"2 % of {cities} eligible facts are" in reasons["city_forget_rare_2"]
    of_writers = capacity.filter(pl.col("split").str.starts_with("writer_"), recipe="paper")
    assert of_writers["reason"].unique().to_list() == [
        "no fact has sitelinks of subject and object; dates, numbers and texts have none"
    ]


def test_the_facts_that_are_no_candidates_for_lack_of_popularity_are_counted(project: Tools) -> None:
    inputs = drawn_world(project, 1, 260)
    counted = pl.when(pl.col("fact_id").str.slice(0, 1) == "0").then(pl.lit(5))
    facts = inputs.facts.with_columns(subject_sitelinks=counted, object_sitelinks=counted)
    result = make_splits(project, inputs._replace(facts=facts), params(paper={"signal": "sitelinks"}))
    (reason,) = result.tables["capacity"].filter(recipe="paper", split="writer_forget_rare_2")["reason"]
    asked = inputs.questions.join(facts, on="fact_id").filter(topic=TOPICS[1])
    candidates = asked["subject_sitelinks"].count()
    others = f"({asked.height - candidates} more have no sitelinks of subject and object)"
    assert reason.startswith(f"2 % of {candidates} candidates {others} are 0 rows, fewer than 2")


def test_a_split_of_just_the_smallest_size_is_made(project: Tools) -> None:
    inputs = drawn_world(project, 1, 260)
    capacity = make_splits(project, inputs).tables["capacity"]
    size = capacity.filter(recipe="matched", split="city_forget_rare_8")["rows"].item()
    matched = params().matched.model_dump() | {"retain_eval": size}
    splits = by_split(make_splits(project, inputs, params(smallest=size, matched=matched)), "matched")
    assert splits["city_forget_rare_8"].height == splits["city_retain_eval"].height == size > 0


def test_all_topics_are_pooled_where_there_is_more_than_one_and_it_is_asked_for(project: Tools) -> None:
    inputs = drawn_world(project, 1, 260)
    cities = inputs._replace(facts=inputs.facts.filter(topic=TOPICS[0]))
    for world_of, pooled, expected in ((inputs, True, True), (inputs, False, False), (cities, True, False)):
        capacity = make_splits(project, world_of, params(pooled=pooled)).tables["capacity"]
        assert capacity["split"].str.starts_with("all_").any() is expected


def test_no_facts_make_no_recipe(project: Tools) -> None:
    result = make_splits(project, world(project, []))
    assert result.rows.is_empty()
    assert not result.tables["recipes"]["made"].any()


@few
@given(SEEDS)
def test_balance_is_measured_as_stated_and_holds_for_what_is_matched(draw: Draw, seed: int) -> None:
    _, result = draw(seed)
    splits = {recipe: by_split(result, recipe) for recipe in MATCHED}
    for row in result.tables["balance"].filter(pl.col("recipe").is_in(MATCHED)).iter_rows(named=True):
        rare, popular = (splits[row["recipe"]][row[side]] for side in ("rare", "popular"))
        if row["measure"] in ("answer_length", "subject_length"):
            name = row["measure"].replace("subject_length", "subject_label").removesuffix("_length")
            lengths = [[len(text) for text in split[name]] for split in (rare, popular)]
            means, variances = (
                [statistic(side) for side in lengths] for statistic in (statistics.mean, statistics.variance)
            )
            assert (row["rare_mean"], row["popular_mean"]) == pytest.approx(tuple(means))
            if any(variances):
                spread = math.sqrt(sum(variances) / 2)
                assert row["difference"] == pytest.approx((means[1] - means[0]) / spread, abs=1e-9)
        within = [row["difference"] is None or abs(row["difference"]) <= 0.1]
        within.append(row["auc"] is None or abs(row["auc"] - 0.5) <= 0.02)
        undefined = row["difference"] is None and row["auc"] is None
        assert row["balanced"] is (None if undefined else all(within)), row
        if row["measure"] in ("relation", "answer_length", *(["answer"] if row["recipe"] == "matched_answer" else [])):
            assert row["balanced"] is not False, row


def test_baselines_are_those_of_the_audit(project: Tools) -> None:
    result = make_splits(project, drawn_world(project, 2, 200))
    table = result.tables["baselines"]
    for recipe in MATCHED:
        for split, rows in by_split(result, recipe).items():
            row = table.row(by_predicate=(pl.col("recipe") == recipe) & (pl.col("split") == split), named=True)
            expected = baselines(rows)
            assert row["rows"] == rows.height
            assert {name: row[name] for name in NAMES} == pytest.approx(expected)
            assert row["chance"] == pytest.approx(max(expected.values()))


def test_short_names_are_the_published_ones_and_unique() -> None:
    assert short_names(["places_city", "human_writer", "misc"]) == {
        "places_city": "city",
        "human_writer": "writer",
        "misc": "misc",
    }
    clash = short_names(["event_film", "art_film", "x_all"])
    assert clash == {"event_film": "event_film", "art_film": "art_film", "x_all": "x_all"}


@given(st.lists(st.text("ab_", min_size=1, max_size=5), unique=True))
def test_no_two_topics_share_a_name(topics: list[str]) -> None:
    names = short_names(topics)
    assert len({*names.values()}) == len(topics)
    assert all(name in (topic, topic.partition("_")[2]) for topic, name in names.items())


def test_a_whole_name_may_be_the_short_one_of_a_third_topic() -> None:
    topics = ["places_city", "old_city", "new_places_city"]
    assert short_names(topics) == dict(zip(topics, topics, strict=True))
