"""What counts as popularity in the splits: the signals, counts that stopped at the cap, and a table of one's own."""

from __future__ import annotations

import itertools
import operator
import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from dual_data.config import Profile, Services
from dual_data.engine.stage import Tools
from dual_data.errors import InputError
from dual_data.sampling import SIDES
from dual_data.schema import Links, Salience
from dual_data.text.display import count
from pipeline.recipes.matched import MatchedParams, eligible
from pipeline.recipes.popularity import capped, popularity, signals
from pipeline.splits import SplitsParams, check, sources
from tests.pipeline.frames import facts_frame
from tests.pipeline.worlds import (
    MATCHED,
    TOPICS,
    World,
    by_split,
    drawn_facts,
    drawn_world,
    make_splits,
    params,
    project,
    world,
)

__all__ = ["project"]


PROFILE = Profile(path=Path("mine.toml"), name="mine", services=Services(), stages={})


def with_link_counts(inputs: World, cap: int) -> tuple[World, dict[str, int]]:
    """The inputs with link counts that stop at the cap, and the true counts."""
    qids = sorted({*inputs.facts["subject_qid"], *inputs.facts["object_qid"]})
    rng = random.Random(len(qids))
    true = {qid: int(100 * rng.paretovariate(0.7)) for qid in qids}
    rows = [
        {"qid": qid, "title": qid, "inbound_links": min(count, cap), "capped": count > cap, "sitelinks": None}
        | {"method": "linkshere", "counted_on": "2024-01-01"}
        for qid, count in true.items()
    ]
    return inputs._replace(links=Links.validate(pl.DataFrame(rows, schema=Links.create_empty().schema))), true


def test_sides_that_popularity_does_not_tell_apart_are_not_laid_to_the_cap(project: Tools) -> None:
    rows = [row | ({"subject_mentions": 7} if row["relation"] != "P36" else {}) for row in drawn_facts(1, 260)]
    result = make_splits(project, world(project, rows), params(percents=(2, 40)))
    reasons = [reason for reason in result.tables["capacity"].filter(recipe="matched")["reason"] if "pairs" in reason]
    assert len(reasons) >= 4
    assert not any("links.cap" in reason for reason in reasons)


def test_facts_of_equal_popularity_are_the_reason_why_there_is_no_pair(project: Tools) -> None:
    inputs = world(project, [row | {"subject_mentions": 2} for row in drawn_facts(1, 260)])
    for share in (0.05, 1.0):
        chosen = params(percents=(8,), matched={"signal": "mentions", "answer_share": share})
        capacity = make_splits(project, inputs, chosen).tables["capacity"]
        for recipe in MATCHED:
            row = capacity.filter(recipe=recipe, split="all_forget_rare_8").row(0, named=True)
            assert row["reason"] == (
                f"8 % of {inputs.questions.filter('functional').height} eligible facts are {row['wanted']} rows, but "
                "no relation has rare and popular facts by mentions: too many are equally popular, or each has fewer "
                "than three facts"
            )


def test_the_share_of_an_answer_is_a_reason_only_where_another_share_gives_more_pairs(project: Tools) -> None:
    inputs = drawn_world(project, 1, 260)

    def rows(recipe: str, share: float) -> dict[str, dict[str, Any]]:
        chosen = params(percents=(40,), matched={"signal": "mentions", "answer_share": share})
        capacity = make_splits(project, inputs, chosen).tables["capacity"].filter(recipe=recipe)
        return {row["split"]: row for row in capacity.iter_rows(named=True) if "_forget_rare_" in row["split"]}

    named = []
    for recipe, share in (("matched", 0.05), ("matched", 0.3), ("matched_answer", 0.05)):
        limited, free = rows(recipe, share), rows(recipe, 1.0)
        for split, row in limited.items():
            if row["made"]:
                continue
            few = f"{row['wanted']} rows; only {count(row['holds'], 'pair')} can be matched"
            possible = min(free[split]["holds"], row["wanted"])
            if more := possible > row["holds"]:
                most = count(max(1, int(row["wanted"] * share)), "row")
                few += f", or {possible} if an answer may be in more than {most} (splits.matched.answer_share)"
            named.append(more)
            assert row["reason"].endswith(f" eligible facts are {few}")
        assert not any("answer_share" in row["reason"] for row in free.values())
    assert set(named) == {True, False}


def test_sides_that_no_higher_count_would_tell_apart_are_not_laid_to_the_cap(project: Tools) -> None:
    inputs, _ = with_link_counts(drawn_world(project, 1, 260), 10**9)
    famous = pl.col("qid") == inputs.facts["subject_qid"][0]
    links = inputs.links.with_columns(inbound_links=pl.when(famous).then(2000).otherwise(7), capped=famous)
    result = make_splits(project, inputs._replace(links=links), params(matched={"signal": "inbound_links"}))
    (reason,) = result.tables["recipes"].filter(recipe="matched")["reason"]
    assert reason == "no topic has enough pairs"


@pytest.mark.parametrize(("cap", "open_ends"), [(110, 12), (170, 8), (1000, 6), (20_000, 3), (10**9, 0)])
def test_paper_makes_no_forget_split_that_a_higher_count_would_change(project: Tools, cap: int, open_ends: int) -> None:
    inputs, true = with_link_counts(drawn_world(project, 1, 260), cap)
    result = make_splits(project, inputs, params(paper={"signal": "inbound_links", "retain": (10,)}))
    capacity = {row["split"]: row for row in result.tables["capacity"].filter(recipe="paper").iter_rows(named=True)}
    facts = inputs.questions.join(inputs.facts, on="fact_id")
    sums = pl.col("subject_qid").replace_strict(true) + pl.col("object_qid").replace_strict(true)
    splits, unmade = by_split(result, "paper"), 0
    for prefix, topic in (("city", TOPICS[0]), ("writer", TOPICS[1])):
        known = sorted(facts.filter(topic=topic).select(sums).to_series())
        stopped = inputs.links.filter("capped")["qid"].implode()
        open_ended = facts.filter(
            pl.col("topic") == topic, pl.any_horizontal(pl.col("subject_qid", "object_qid").is_in(stopped))
        )
        for side, percent in itertools.product(SIDES, (2, 4, 8)):
            name = f"{prefix}_forget_{side}_{percent}"
            size = len(known) * percent // 100
            if name in splits:
                expected = known[:size] if side == "rare" else known[len(known) - size :]
                assert sorted(splits[name].select(sums).to_series()) == expected
                continue
            unmade += 1
            assert capacity[name]["reason"] == (
                f"counting stopped at links.cap for {open_ended.height} of {len(known)} candidates, so the {size} "
                f"{'least' if side == 'rare' else 'most'} popular are not known; raise it, or set links.method to "
                "cirrusdoc or dump"
            )
            assert capacity[name]["holds"] < size
    assert unmade == open_ends


@pytest.mark.parametrize(
    ("side", "cap", "left_out"),
    [
        ("subject", 150, True), ("subject", 1000, False), ("object", 1000, False), ("sum", 1000, True),
        ("sum", 10**9, False),
    ],
)  # fmt: skip
def test_matched_pairs_no_relation_whose_sides_a_higher_count_would_change(
    project: Tools, side: str, cap: int, left_out: bool
) -> None:
    inputs, true = with_link_counts(drawn_world(project, 1, 260), cap)
    chosen = params(matched={"signal": "inbound_links", "side": side, "answer_share": 0.3}, percents=(8, 40))
    result = make_splits(project, inputs, chosen)
    links = [pl.col(f"{end}_qid").replace_strict(true) for end in (("subject", "object") if side == "sum" else (side,))]
    pool = inputs.questions.filter("functional").join(inputs.facts, on="fact_id")
    pool = pool.select("fact_id", "topic", "relation", true=pl.sum_horizontal(links))
    for name, split in by_split(result, "matched").items():
        for topic, relation, total in split.select("fact_id").join(pool, on="fact_id").drop("fact_id").iter_rows():
            known = sorted(pool.filter(topic=topic, relation=relation)["true"])
            third = len(known) // 3
            assert "_rare_" not in name or total <= known[third - 1]
            assert "_popular_" not in name or total >= known[-third]
    row = result.tables["capacity"].filter(recipe="matched", split="all_forget_rare_40").row(0, named=True)
    few = f"40 % of {pool.height} eligible facts are {row['wanted']} rows"
    if left_out:
        few += ", but no relation has rare and popular facts by inbound_links"
    else:
        few += f"; only {row['holds']} pairs can be matched"
    stopped = (
        "; counting stopped at links.cap in 3 relation(s) before it told rare from popular; raise it, or set "
        "links.method to cirrusdoc or dump"
    )
    assert row["reason"] == few + (stopped if left_out else "")
    recipe = result.tables["recipes"].row(by_predicate=pl.col("recipe") == "matched", named=True)
    assert recipe["reason"] == (f"no topic has enough pairs{stopped}" if left_out else "")
    assert not {"capped_subject", "capped_object", "capped"} & set(result.tables["examples/matched"].columns)


def test_a_topic_lays_its_lack_of_pairs_to_the_cap_in_its_own_relations_only(project: Tools) -> None:
    rows = drawn_facts(1, 260)
    spouses = [row for row in rows if row["topic"] == TOPICS[0] and row["relation"] == "P26"]
    rows = [row for row in rows if row not in spouses[2:]]  # two are too few for thirds, whatever their counts
    inputs, _ = with_link_counts(world(project, rows), 10**9)
    cities = inputs.facts.filter(topic=TOPICS[0])["subject_qid"].implode()
    inputs = inputs._replace(links=inputs.links.with_columns(capped=pl.col("qid").is_in(cities)))
    chosen = params(matched={"signal": "inbound_links"}, percents=(40,))
    capacity = make_splits(project, inputs, chosen).tables["capacity"].filter(recipe="matched")
    reasons = dict(capacity.select("split", "reason").iter_rows())
    assert "in 2 relation(s)" in reasons["city_forget_rare_40"]
    assert "links.cap" not in reasons["writer_forget_rare_40"]


@pytest.mark.parametrize(
    ("counts", "capped", "sided", "stopped"),
    [
        ((1, 2, 3), {2}, 2, False),
        ((1, 2, 3), {1}, 0, True),
        ((1, 2, 2), {1}, 2, False),  # the one that may be higher counts as the higher of two
        ((1, 2, 3, 4), {2}, 0, True),
        ((2, 2, 2), set(), 0, False),
        ((1, 2), {0, 1}, 0, False),  # too few for thirds
    ],
)
def test_a_relation_is_laid_to_the_cap_where_a_higher_count_would_change_its_thirds(
    counts: tuple[int, ...], capped: set[int], sided: int, stopped: bool
) -> None:
    places = range(len(counts))
    names = [str(place) for place in places]
    facts = pl.DataFrame(
        {
            **dict.fromkeys(("fact_id", "subject_qid", "subject_label", "bond", "answer"), names),
            "topic": ["city"] * len(counts),
            "relation": ["P36"] * len(counts),
            "popularity": counts,
            "capped": [place in capped for place in places],
            "rank": places,
        }
    )
    pool = eligible(facts, MatchedParams())
    assert pool.sided.height == sided
    assert ("in 1 relation(s)" in pool.without_thirds(None)) is stopped


@pytest.mark.parametrize("signal", ["inbound_links", "sitelinks", "salience"])
@pytest.mark.parametrize("side", ["subject", "object", "sum"])
def test_the_signal_and_its_side_can_be_chosen(project: Tools, signal: str, side: str) -> None:
    inputs = drawn_world(project, 5, 260)
    qids = sorted({*inputs.facts["subject_qid"], *inputs.facts["object_qid"]})
    links = [
        {"qid": qid, "title": qid, "inbound_links": (n * 37) % 211, "capped": False, "sitelinks": (n * 53) % 191}
        | {"method": "linkshere", "counted_on": "2024-01-01"}
        for n, qid in enumerate(qids)
    ]
    judgements = [
        {"fact_id": fact_id, "score": float((n * 29) % 101), "spread": 0.5, "entropy": 0.1, "mass": 1.0}
        | {"low_mass": False, "argmax": 1, "samples": 0, "method": "logits", "judge": "j", "prompt_version": "1"}
        for n, fact_id in enumerate(sorted(inputs.facts["fact_id"]))
    ]
    full = inputs._replace(
        links=Links.validate(pl.DataFrame(links, schema=Links.create_empty().schema)),
        salience=Salience.validate(pl.DataFrame(judgements, schema=Salience.create_empty().schema)),
    )
    chosen = params(matched={"signal": signal, "side": side, "answer_share": 0.3})
    splits = by_split(make_splits(project, full, chosen), "matched")
    rare, popular = splits["all_forget_rare_8"], splits["all_forget_popular_8"]
    expected = {
        "salience": pl.col("salience"),
        **{
            name: {
                "subject": pl.col(f"{name}_subject"),
                "object": pl.col(f"{name}_object"),
                "sum": pl.col(f"{name}_subject") + pl.col(f"{name}_object"),
            }[side]
            for name in ("inbound_links", "sitelinks")
        },
    }[signal]
    low, high = (split.select(expected.alias("x")) for split in (rare, popular))
    assert (low["x"] <= high["x"]).all()
    assert low["x"].cast(pl.Float64).to_list() == rare["popularity"].to_list()


def test_a_literal_has_no_popularity_and_neither_has_a_sum_with_it() -> None:
    known = {"subject_mentions": 4, "object_mentions": 3, "subject_sitelinks": 2}
    date = {"object": "1889", "relation": "P571", "object_kind": "date"}
    facts = facts_frame(
        [
            {"subject": "Q1", "object": "Q2", "object_sitelinks": 1, **known},
            {"subject": "Q1", **date, **known},
        ]
    )
    counted = {"qid": "Q1", "title": "Q1", "inbound_links": 50, "capped": True, "sitelinks": 20}
    links = pl.DataFrame([counted, counted | {"qid": "Q2", "inbound_links": 30}], schema=Links.create_empty().schema)
    rows = signals(facts, links, Salience.create_empty())
    of_side = {
        name: [rows.select(popularity(name, side)).to_series().to_list() for side in ("subject", "object", "sum")]
        for name in ("inbound_links", "sitelinks", "mentions")
    }
    assert of_side["inbound_links"] == [[50, 50], [30, None], [80, None]]
    assert rows.select(bound=capped("inbound_links", "sum"))["bound"].all()
    assert not rows.select("fact_id", bound=capped("sitelinks", "sum"))["bound"].any()
    assert of_side["mentions"] == [[4, 4], [3, None], [7, None]]
    assert of_side["sitelinks"] == [[20, 20], [20, None], [40, None]]  # those of the stage links before the fact's own


def test_a_popularity_of_your_own_can_be_given(project: Tools) -> None:
    inputs = drawn_world(project, 5, 260)
    facts = sorted(inputs.facts["fact_id"])
    own = {fact: -1.5 * (n * 31 % 103) for n, fact in enumerate(facts[10:])}  # the first ten facts have none
    table = project.project / "own.csv"
    pl.DataFrame({"popularity": own.values(), "fact_id": own.keys()}).write_csv(table)
    given = {"signal": "given", "given": "own.csv", "answer_share": 0.3}
    result = make_splits(project, inputs, params(matched=given))
    splits = by_split(result, "matched")
    rare, popular = splits["all_forget_rare_8"], splits["all_forget_popular_8"]
    assert rare["popularity"].to_list() == [own[fact] for fact in rare["fact_id"]]
    assert all(map(operator.lt, rare["popularity"], popular["popularity"]))
    assert not result.rows.filter(pl.col("recipe") == "matched", pl.col("fact_id").is_in(facts[:10])).height
    assert "given" not in rare.columns
    assert list(sources(params(matched=given), project.project, project.services)) == ["own.csv"]
    assert sources(params(), project.project, project.services) == {}


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ("fact_id,count\n", "own.csv: no column popularity; it has: fact_id, count. Needed: fact_id, popularity"),
        ("fact_id,popularity\nQ90,1\n", "line 2: fact_id 'Q90' is not the id of a fact, 16 hexadecimal digits"),
        ("fact_id,popularity\n,1\n", "line 2: fact_id is empty"),
        (f"fact_id,popularity\n{'0' * 16},many\n", "line 2: popularity 'many' is not a number"),
        (f"fact_id,popularity\n{'0' * 16},inf\n", "line 2: popularity 'inf' is not a number"),
        (f"fact_id,popularity\n{'0' * 16},\n", "line 2: popularity is empty; leave out facts"),
        (f"popularity,fact_id\n1,{'0' * 16}\n2,{'0' * 16}\n", "line 2: the fact 0000000000000000 has more than one"),
    ],
)
def test_a_given_popularity_that_cannot_be_used_is_refused_with_its_line(project: Tools, rows: str, fault: str) -> None:
    (project.project / "own.csv").write_text(rows)
    with pytest.raises(InputError, match=fault):
        check(params(matched={"signal": "given", "given": "own.csv"}), project.project, PROFILE)


def test_a_given_popularity_outside_the_project_is_named_as_seen_from_there() -> None:
    with pytest.raises(ValueError, match=r"given is relative to the project: write /home/me/own\.csv as seen from"):
        params(matched={"signal": "given", "given": "/home/me/own.csv"})


def test_a_given_popularity_in_text_without_the_ending_of_csv_is_told_to_have_it(project: Tools) -> None:
    (project.project / "own.tsv").write_text("fact_id\tpopularity\n")
    with pytest.raises(
        InputError, match=r"own\.tsv: not a readable Parquet file .*; if it is CSV, let its name end in"
    ):
        check(params(matched={"signal": "given", "given": "own.tsv"}), project.project, PROFILE)


def test_a_given_popularity_of_other_facts_is_told(project: Tools) -> None:
    (project.project / "own.csv").write_text(f"fact_id,popularity\n{'0' * 16},1\n")
    chosen = params(matched={"signal": "given", "given": "own.csv"})
    recipes = make_splits(project, drawn_world(project, 5, 260), chosen).tables["recipes"]
    reason = recipes.filter(recipe="matched")["reason"].item()
    assert reason == "own.csv names no functional fact; take the ids of facts/data.parquet of this build"


@pytest.mark.parametrize(
    ("matched", "missing"),
    [({"signal": "given"}, "set given, the table of fact_id"), ({"given": "own.csv"}, "set signal = 'given'")],
)
def test_the_signal_given_and_its_table_belong_together(matched: dict[str, str], missing: str) -> None:
    with pytest.raises(ValidationError, match=f"belong together: {missing}"):
        SplitsParams.model_validate({"matched": matched})
