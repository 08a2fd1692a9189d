"""The matched recipes: every rule of theirs, on made-up worlds of a few hundred facts."""

from __future__ import annotations

import hashlib
import itertools
import math
import random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from dual_data.engine.stage import Tools
from dual_data.engine.tables import settle
from dual_data.sampling import SIDES, hash_rank
from dual_data.schema import Splits
from dual_data.text.words import fold
from tests.pipeline.worlds import (
    MATCHED,
    RELATIONS,
    SEEDS,
    TOPICS,
    Draw,
    by_split,
    draw,
    drawn_facts,
    drawn_world,
    families,
    few,
    make_splits,
    params,
    project,
    world,
)

__all__ = ["draw", "project"]


def entities(split: pl.DataFrame) -> set[frozenset[str]]:
    """The two entities of each fact, which its mirror image shares."""
    return {frozenset(pair) for pair in split.select("subject_qid", "object_qid").iter_rows()}


@few
@given(SEEDS)
def test_splits_of_a_family_are_disjoint(draw: Draw, seed: int) -> None:
    _, result = draw(seed)
    assert settle(result.rows, Splits, "splits").rejected.is_empty()
    for recipe in MATCHED:
        for splits in families(by_split(result, recipe)).values():
            whole = [name for name in splits if "_forget_" not in f"_{name}" or name.endswith("_8")]
            for index, first in enumerate(whole):
                for second in whole[index + 1 :]:
                    assert not entities(splits[first]) & entities(splits[second]), (recipe, first, second)
                    shared = {"fact_id", "question"}
                    if "neighbor_subject" not in (first, second):
                        shared.add("subject_qid")
                    for column in shared:
                        left, right = set(splits[first][column]), set(splits[second][column])
                        assert not left & right, (recipe, first, second, column)


def test_no_subject_to_forget_is_an_answer_in_another_split(project: Tools) -> None:
    rows = drawn_facts(5, 260)
    for row in rows:
        if row["relation"] == "P17":
            number = 2 * int(row["subject"][1:]) % 260
            row |= {"object": f"Q{9000 + number}", "object_label": f"NÂME{number}"}
    for recipe in MATCHED:
        for splits in families(by_split(make_splits(project, world(project, rows)), recipe)).values():
            forget = pl.concat([split for name, split in splits.items() if name.startswith("forget_")])
            others = pl.concat([split for name, split in splits.items() if not name.startswith("forget_")])
            names, answers = (set(map(fold, column)) for column in (forget["subject_label"], others["answer"]))
            assert set(map(fold, others["subject_label"])) & answers
            assert not names & answers, recipe


def test_no_split_holds_a_fact_and_its_mirror_image_of_a_relation_not_known_to_be_symmetric(project: Tools) -> None:
    rows = drawn_facts(5, 260)
    subjects = [row for row in rows if row["relation"] == "P17"]
    for row, other in zip(subjects[::2], subjects[1::2], strict=False):
        row |= {"object": other["subject"], "object_label": other["subject_label"]}
        other |= {"object": row["subject"], "object_label": row["subject_label"]}
    result = make_splits(project, world(project, rows))
    assert result.rows.height
    for recipe in MATCHED:
        for name, split in by_split(result, recipe).items():
            stated = split.select("relation", bond=pl.concat_list("subject_qid", "object_qid").list.sort())
            assert stated.is_unique().all(), (recipe, name)


@few
@given(SEEDS)
def test_forget_splits_are_nested_prefixes_of_exact_size(draw: Draw, seed: int) -> None:
    inputs, result = draw(seed)
    functional = inputs.questions.filter("functional").join(inputs.facts, on="fact_id")
    topics = {"city": TOPICS[0], "writer": TOPICS[1]}
    for recipe in MATCHED:
        for prefix, splits in families(by_split(result, recipe)).items():
            own = functional if prefix == "all" else functional.filter(pl.col("topic") == topics[prefix])
            for side in ("rare", "popular"):
                chain = [splits.get(f"forget_{side}_{percent}") for percent in (2, 4, 8)]
                for percent, split in zip((2, 4, 8), chain, strict=True):
                    if split is not None:
                        assert split.height == own.height * percent // 100
                for small, large in itertools.pairwise(chain):
                    if small is not None and large is not None:
                        assert small["fact_id"].to_list() == large["fact_id"].head(small.height).to_list()


@few
@given(SEEDS)
def test_pairs_are_matched_and_differ_in_popularity(draw: Draw, seed: int) -> None:
    inputs, result = draw(seed)
    pool = inputs.questions.filter("functional").join(inputs.facts, on="fact_id")
    for recipe in MATCHED:
        for splits in families(by_split(result, recipe)).values():
            for percent in (2, 4, 8):
                rare, popular = (splits.get(f"forget_{side}_{percent}") for side in ("rare", "popular"))
                if rare is None or popular is None:
                    continue
                assert rare["pair"].to_list() == popular["pair"].to_list()
                for column in ("topic", "relation"):
                    assert rare[column].to_list() == popular[column].to_list()
                assert rare["answer"].str.len_chars().to_list() == popular["answer"].str.len_chars().to_list()
                if recipe == "matched_answer":
                    assert rare["answer"].to_list() == popular["answer"].to_list()
                for side, split in (("rare", rare), ("popular", popular)):
                    assert split["subject_qid"].is_unique().all(), side
                    for topic, relation, mentions in split.select("topic", "relation", "subject_mentions").iter_rows():
                        cell = pool.filter((pl.col("topic") == topic) & (pl.col("relation") == relation))
                        ranked = sorted(cell["subject_mentions"])
                        third = len(ranked) // 3
                        limit = ranked[third - 1] if side == "rare" else ranked[-third]
                        assert mentions <= limit if side == "rare" else mentions >= limit


def test_codes_are_paired_on_what_stands_before_the_hyphen(project: Tools) -> None:
    rows = drawn_facts(4, 400)
    for number, row in enumerate(rows):
        popular = row["subject_mentions"] > 2
        row["object_label"] = f"{'US' if popular is (number % 4 > 0) else 'CH'}-{number:04}"
    result = make_splits(project, world(project, rows))
    splits = by_split(result, "matched")
    rare, popular = ([answer[:2] for answer in splits[f"city_forget_{side}_8"]["answer"]] for side in SIDES)
    assert rare == popular
    assert {*rare} == {"US", "CH"}
    measured = result.tables["balance"].filter(
        (pl.col("recipe") == "matched") & (pl.col("measure") == "answer_first_word")
    )
    assert measured["balanced"].any()
    assert measured["auc"].drop_nulls().max() == 0.5


@few
@given(SEEDS)
def test_no_answer_has_more_than_its_share(draw: Draw, seed: int) -> None:
    _, result = draw(seed)
    for recipe in MATCHED:
        for name, split in by_split(result, recipe).items():
            top = split["answer"].str.to_lowercase().value_counts()["count"].max()
            assert isinstance(top, int)
            assert top <= max(1, int(0.3 * split.height)), name


def test_an_answer_is_in_no_more_pairs_than_the_largest_forget_split_may_have_of_it(project: Tools) -> None:
    rows = [row for row in drawn_facts(5, 260) if row["relation"] == "P36"]
    for number, row in enumerate(rows):
        row |= {"object": f"Q{5000 + number % 2}", "object_label": ("Lima", "Oslo")[number % 2]}
    chosen = params(percents=(2,), matched=params().matched.model_dump() | {"answer_share": 0.05})
    capacity = make_splits(project, world(project, rows), chosen).tables["capacity"]
    for recipe in MATCHED:
        forget = capacity.filter(recipe=recipe, split="city_forget_rare_2").row(0, named=True)
        assert (forget["rows"], forget["holds"]) == (2, 2)


def test_a_split_that_lacks_pairs_holds_those_within_its_own_share_of_an_answer(project: Tools) -> None:
    rows = [row for row in drawn_facts(5, 260) if row["relation"] == "P36"]
    for number, row in enumerate(rows):
        row |= {"object": f"Q{5000 + number % 2}", "object_label": ("Lima", "Oslo")[number % 2]}
    capacity = make_splits(project, world(project, rows), params(percents=(4, 40))).tables["capacity"]
    small, large = (
        capacity.filter(recipe="matched", split=f"city_forget_rare_{percent}").row(0, named=True) for percent in (4, 40)
    )
    # An answer may be in one pair of the small split, and in more of the large one.
    assert small["holds"] == 2 < small["wanted"] == 4 < large["holds"]
    few = "only 2 pairs can be matched, or 4 if an answer may be in more than 1 row"
    assert small["reason"].endswith(f"; {few} (splits.matched.answer_share)")


def test_few_answers_echo_their_subjects_in_the_other_splits(project: Tools) -> None:
    rows = drawn_facts(4, 260)
    for number, row in enumerate(rows):
        if number % 3 == 0:
            row["object_label"] = f"{row['subject_label']}s Old {row['object_label']}"
    rows = [row | {"subject_label": f"{row['subject_label']}s"} for row in rows]
    inputs = world(project, rows)
    echoing = pl.col("answer").str.starts_with(pl.col("subject_label"))
    assert inputs.facts.select(pl.col("object_label").str.starts_with(pl.col("subject_label")).mean()).item() > 0.3
    result = make_splits(project, inputs)
    for recipe in MATCHED:
        for name, split in by_split(result, recipe).items():
            if "_forget_" not in name:
                assert split.filter(echoing).height <= max(1, int(0.04 * split.height)), name


def test_a_split_that_the_largest_share_leaves_too_small_says_so(project: Tools) -> None:
    rows = [row | {"subject_label": f"{row['subject_label']}s"} for row in drawn_facts(4, 260)]
    rows = [row | {"object_label": f"{row['subject_label']} Old {row['object_label']}"} for row in rows]
    capacity = make_splits(project, world(project, rows)).tables["capacity"]
    row = capacity.filter((pl.col("recipe") == "matched") & (pl.col("split") == "city_retain_eval"))
    assert row["reason"].to_list() == [
        "1 row within the largest share of an answer (splits.matched.answer_share) or echo, fewer than 2 "
        "(splits.smallest)"
    ]


def test_a_split_that_the_largest_share_of_an_answer_leaves_smaller_says_so(project: Tools) -> None:
    rows = drawn_facts(5, 260)
    for row in rows:
        if row["relation"] == "P36":
            row |= {"object": "Q5000", "object_label": "Lima"}
    capacity = make_splits(project, world(project, rows)).tables["capacity"].filter("made", recipe="matched")
    beside = capacity.filter(~pl.col("split").str.contains("_forget_"))
    smaller = pl.col("rows") < pl.min_horizontal("wanted", "holds")
    assert 0 < beside.filter(smaller).height < beside.height
    for row in beside.filter(smaller).iter_rows(named=True):
        relation = ", relation" if row["split"].endswith("neighbor_relation") else ""
        assert row["reason"] == (
            f"{row['rows']} rows within the largest share of an answer (splits.matched.answer_share){relation} or echo"
        )
    assert set(capacity.join(beside.filter(smaller), on="split", how="anti")["reason"]) == {""}


@few
@given(SEEDS)
def test_the_other_splits_are_what_their_names_say(draw: Draw, seed: int) -> None:
    inputs, result = draw(seed)
    topics = {"city": TOPICS[0], "writer": TOPICS[1]}
    for recipe in MATCHED:
        for prefix, splits in families(by_split(result, recipe)).items():
            forget = pl.concat([split for name, split in splits.items() if name.startswith("forget_")])
            for name, split in splits.items():
                if prefix != "all" and name not in {"world_facts", "neighbor_subject"}:
                    assert set(split["topic"]) == {topics[prefix]}
                assert split["functional"].all()
            if "world_facts" in splits:
                assert topics[prefix] not in set(splits["world_facts"]["topic"])
                own = inputs.facts.filter(pl.col("topic") == topics[prefix])
                assert not set(splits["world_facts"]["subject_qid"]) & set(own["subject_qid"])
            if "neighbor_relation" in splits:
                assert set(splits["neighbor_relation"]["relation"]) <= set(forget["relation"])
            if "neighbor_subject" in splits:
                assert set(splits["neighbor_subject"]["subject_qid"]) <= set(forget["subject_qid"])
                pair_of = dict(forget.select("subject_qid", "pair").iter_rows())
                for subject, pair in splits["neighbor_subject"].select("subject_qid", "pair").iter_rows():
                    assert pair_of[subject] == pair


def test_a_subjects_hash_draws_its_split_and_half_of_them_are_for_training(draw: Draw) -> None:
    roles = ("retain_train", "retain_train", "retain_eval", "neighbor_relation")
    for splits in families(by_split(draw(5)[1], "matched")).values():
        for name in splits.keys() & {*roles}:
            digests = [hashlib.sha256(f"role|{qid}".encode()).digest() for qid in splits[name]["subject_qid"]]
            drawn = {int.from_bytes(digest[:8], "big") % 4 for digest in digests}
            assert drawn == {number for number, role in enumerate(roles) if role == name}


@pytest.fixture(scope="module")
def few_beside(project: Tools) -> dict[str, dict[str, pl.DataFrame]]:
    """Families whose splits beside the forget splits have fewer rows than the world could fill."""
    matched = params().matched.model_dump() | {
        "retain_train": 12, "retain_eval": 6, "neighbor_relation": 10, "neighbor_subject": 8, "world_facts": 7,
    }  # fmt: skip
    return families(by_split(make_splits(project, drawn_world(project, 3, 260), params(matched=matched)), "matched"))


def test_splits_beside_the_forget_splits_have_the_rows_asked_for(
    few_beside: dict[str, dict[str, pl.DataFrame]],
) -> None:
    sizes = {"retain_train": 12, "retain_eval": 6, "neighbor_relation": 10, "neighbor_subject": 8, "world_facts": 7}
    for splits in few_beside.values():
        assert all(split.height <= sizes[name] for name, split in splits.items() if name in sizes)
    assert {name: split.height for name, split in few_beside["city"].items() if name in sizes} == sizes


def test_neighbours_by_relation_are_in_the_proportions_of_the_forget_splits(
    few_beside: dict[str, dict[str, pl.DataFrame]],
) -> None:
    for splits in few_beside.values():
        forget = pl.concat([splits[f"forget_{side}_8"] for side in SIDES])["relation"].value_counts()
        shares = {relation: count / forget["count"].sum() for relation, count in forget.iter_rows()}
        for relation, count in splits["neighbor_relation"]["relation"].value_counts().iter_rows():
            assert count <= math.ceil(10 * shares[relation])


def test_rows_beyond_the_proportions_count_among_those_to_choose_from(project: Tools) -> None:
    matched = params().matched.model_dump() | {"neighbor_relation": 5}
    capacity = make_splits(project, drawn_world(project, 3, 260), params(matched=matched)).tables["capacity"]
    row = capacity.filter(recipe="matched", split="city_neighbor_relation").row(0, named=True)
    assert row["rows"] == 5
    assert row["holds"] > 5 + len(RELATIONS)  # each relation's share of 5 is rounded up


def test_the_share_of_a_relation_is_rounded_up(project: Tools) -> None:
    chosen = params(matched=params().matched.model_dump() | {"neighbor_relation": 1}, smallest=1)
    splits = by_split(make_splits(project, drawn_world(project, 3, 260), chosen), "matched")
    forget = pl.concat([splits[f"city_forget_{side}_8"] for side in SIDES])["relation"]
    assert forget.value_counts()["count"].max() < forget.len() / 2  # type: ignore[operator]
    assert splits["city_neighbor_relation"].height == 1


@pytest.mark.parametrize(("relations", "count"), [(RELATIONS, 400), (("P36",), 1600)])
def test_a_common_answer_leaves_the_place_of_its_relation_to_others(
    project: Tools, relations: tuple[str, ...], count: int
) -> None:
    rows = [row for row in drawn_facts(3, count) if row["relation"] in relations]
    for number, row in enumerate(rows):
        if row["relation"] != "P26" and number % 5:
            row |= {"object": "Q5000", "object_label": "PlaceQ5000"}
    chosen = params(matched=params().matched.model_dump() | {"answer_share": 0.2, "neighbor_relation": 20})
    neighbours = by_split(make_splits(project, world(project, rows), chosen), "matched")["city_neighbor_relation"]
    assert neighbours.height == 20
    assert neighbours.filter(pl.col("answer") == "PlaceQ5000").height == 4


def test_neighbours_by_subject_stand_in_the_order_of_the_forget_splits(draw: Draw) -> None:
    for splits in families(by_split(draw(5)[1], "matched")).values():
        order = splits["forget_rare_8"]["pair"].to_list()
        places = [order.index(pair) for pair in splits["neighbor_subject"]["pair"]]
        ranked = list(zip(places, hash_rank(splits["neighbor_subject"]["fact_id"], "facts"), strict=True))
        assert ranked == sorted(ranked)
        assert len(set(places)) > 2


def test_answers_are_paired_by_words_and_within_a_bin_of_lengths(project: Tools) -> None:
    rows = drawn_facts(6, 300)
    for number, row in enumerate(rows):
        # Of one length with and without a space; so long that bins of four hold several lengths.
        row["object_label"] = f"Pl{' ' if number % 2 else 'a'}{'x' * (number % 7)}{row['object_label'][-4:]}"
    chosen = params(matched=params().matched.model_dump() | {"length_step": 4})
    splits = by_split(make_splits(project, world(project, rows), chosen), "matched")
    rare, popular = (splits[f"city_forget_{side}_8"]["answer"] for side in SIDES)
    assert [len(text) // 4 for text in rare] == [len(text) // 4 for text in popular]
    assert [len(text.split()) for text in rare] == [len(text.split()) for text in popular]
    assert {len(text.split()) for text in rare} == {1, 2}
    assert rare.str.len_chars().to_list() != popular.str.len_chars().to_list()


def test_answers_are_paired_by_characters_and_in_any_case(project: Tools) -> None:
    rows = drawn_facts(6, 300)
    for number, row in enumerate(rows):
        row["object_label"] = f"{('place', 'PLACE', 'placé', 'PLACÉ')[number % 4]}{row['object_label'][-2:]}"
    result = make_splits(project, world(project, rows))
    sides = [by_split(result, "matched")[f"city_forget_{side}_8"]["answer"] for side in SIDES]
    characters, sizes = ([measure(answers).to_list() for answers in sides] for measure in (_characters, _bytes))
    assert characters[0] == characters[1]
    assert sizes[0] != sizes[1]
    rare, popular = (by_split(result, "matched_answer")[f"city_forget_{side}_8"]["answer"].to_list() for side in SIDES)
    assert [answer.lower() for answer in rare] == [answer.lower() for answer in popular]
    assert rare != popular


def _characters(texts: pl.Series) -> pl.Series:
    return texts.str.len_chars()


def _bytes(texts: pl.Series) -> pl.Series:
    return texts.str.len_bytes()


def test_a_subject_of_two_topics_is_outside_neither(project: Tools) -> None:
    rows = drawn_facts(5, 260)
    for row in rows:
        if row["topic"] == TOPICS[0] and row["relation"] == "P17" and int(row["subject"][1:]) % 3 == 0:
            row["topic"] = TOPICS[1]
    inputs = world(project, rows)
    splits = by_split(make_splits(project, inputs), "matched")
    eligible = inputs.questions.filter("functional").join(inputs.facts, on="fact_id")
    cities, writers = (set(eligible.filter(topic=topic)["subject_qid"]) for topic in TOPICS)
    assert cities & writers
    assert not set(splits["city_world_facts"]["subject_qid"]) & cities
    assert set(splits["city_neighbor_subject"]["topic"]) == {*TOPICS}, "all other facts of its subjects"


def test_what_no_forget_split_holds_is_not_forgotten(project: Tools) -> None:
    result = make_splits(project, drawn_world(project, 5, 260), params(percents=(2, 4, 40)))
    splits = by_split(result, "matched")
    assert "city_forget_rare_40" not in splits
    pairs = set(splits["city_forget_rare_4"]["pair"])
    assert set(splits["city_neighbor_subject"]["pair"]) <= pairs
    assert splits["city_retain_train"]["pair"].null_count() == splits["city_retain_train"].height
    capacity = result.tables["capacity"].filter(recipe="matched")
    holds = dict(capacity.filter(pl.col("split").str.starts_with("city_forget_rare_")).select("split", "holds").rows())
    assert holds["city_forget_rare_2"] == holds["city_forget_rare_4"] >= holds["city_forget_rare_40"] > len(pairs)
    (reason,) = capacity.filter(split="all_world_facts")["reason"]
    assert reason == "the pool has every topic, so none is left outside"


@settings(max_examples=4, deadline=None)
@given(SEEDS, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_nothing(project: Tools, seed: int, shuffler: random.Random) -> None:
    inputs = drawn_world(project, seed, 120)

    def shuffled(frame: pl.DataFrame) -> pl.DataFrame:
        return frame[shuffler.sample(range(frame.height), frame.height)]

    other = inputs._replace(facts=shuffled(inputs.facts), questions=shuffled(inputs.questions))
    first, second = make_splits(project, inputs), make_splits(project, other)
    assert first.rows.equals(second.rows)
    for name, table in first.tables.items():
        assert_frame_equal(table, second.tables[name])


@pytest.mark.parametrize("seed", [1, 2])  # not any: by chance a split may keep less, as with 415084
def test_an_extended_dataset_keeps_almost_all_members(project: Tools, seed: int) -> None:
    rows = drawn_facts(seed, 700)
    subjects = sorted({row["subject"] for row in rows}, key=lambda qid: int(qid[1:]))
    new = set(subjects[::20])
    before = make_splits(project, world(project, [row for row in rows if row["subject"] not in new])).rows
    after = make_splits(project, world(project, rows)).rows
    # The last two have 30 or 40 rows, of which by chance more may change than the 5 % of new subjects.
    shares = {"city_forget_rare_8": 0.85, "city_forget_popular_8": 0.85}
    shares |= {"city_retain_train": 0.6, "city_fast_retain_30": 0.6}
    for recipe in (*MATCHED, "paper"):
        for split, least in shares.items():
            members = [
                set(frame.filter((pl.col("recipe") == recipe) & (pl.col("split") == split))["fact_id"])
                for frame in (before, after)
            ]
            if all(members):
                assert len(members[0] & members[1]) >= least * len(members[0]), (recipe, split)
