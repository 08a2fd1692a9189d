"""Counting, labelling and telling mirrored facts, against plain Python."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from dual_data.config import Relation
from dual_data.ids import fact_id
from dual_data.sources.assembly import ENTITIES, STATEMENTS, Direction, Harvest, assemble, directions, mirrored
from tests.sources.test_values import relation

QIDS = tuple(f"Q{n}" for n in (2, 3, 10, 11))
RELATIONS: dict[str, Relation] = {
    "P26": relation("entity", property="P26", symmetric=True),
    "P36": relation("entity", property="P36", inverse=["P1376"]),
    "P1376": relation("entity", property="P1376", inverse=["P36"]),
    "P190": relation("entity", property="P190", symmetric=True, unique="any"),
    "P22": relation("entity", property="P22", inverse=["P40"]),
    "P40": relation("entity", property="P40", inverse=["P22"], unique="any"),
    "P569": relation("date", property="P569"),
    "P17": relation("entity", property="P17"),
}


def statement(
    subject: str, stem: str, value: str, reason: str | None = None, topic: str = "places"
) -> tuple[str | None, ...]:
    kind = RELATIONS[stem].object
    text = None if kind == "entity" else value
    return topic, stem, RELATIONS[stem].property, subject, kind, value, text, reason


def assembled(rows: list[tuple[str | None, ...]], named: tuple[str, ...] = QIDS) -> pl.DataFrame:
    entities: list[tuple[Any, ...]] = [(qid, f"label of {qid}", ["alias"], None, 3, None) for qid in named]
    harvest = Harvest(
        pl.DataFrame(rows, schema=STATEMENTS, orient="row"), pl.DataFrame(entities, schema=ENTITIES, orient="row")
    )
    return assemble(harvest, RELATIONS, resolved=True)


REASONS = st.sampled_from([None, "wrong_class", "somevalue"])
ROWS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(QIDS), st.sampled_from([s for s in RELATIONS if s != "P569"]), st.sampled_from(QIDS)),
        st.tuples(st.sampled_from(QIDS), st.just("P569"), st.sampled_from(["1889", "1890"])),
    ).flatmap(lambda row: REASONS.map(lambda reason: statement(*row, reason))),
    max_size=25,
)


def test_a_coarse_date_in_which_a_usable_one_lies_is_no_other_object() -> None:
    def counts(*dates: str) -> set[int]:
        reasons = ["precision_too_low" if len(date) < 10 else None for date in dates]
        rows = [statement("Q2", "P569", date, reason) for date, reason in zip(dates, reasons, strict=True)]
        return set(assembled(rows)["objects_of_pair"])

    assert counts("1990", "1990-03-14") == counts("1990-03-14", "1990-03", "1990") == {1}
    assert counts("1990", "1991-03-14") == counts("1990-04", "1990-03-14") == {2}
    assert counts("1990", "1990-03-14", "1990-03-15") == {2}
    assert counts("1990") == {1}


@given(ROWS)
def test_counts_are_those_of_plain_python(rows: list[tuple[str | None, ...]]) -> None:
    triplets = {row[2:6] for row in rows}

    def mentions(qid: str) -> int:
        return sum(subject == qid or (kind, value) == ("entity", qid) for _, subject, kind, value in triplets)

    facts = assembled(rows)
    assert facts.height == len(rows)
    for row, fact in zip(rows, facts.iter_rows(named=True), strict=True):
        names = ("property_id", "subject_qid", "object_kind", "object_value")
        property_id, subject, kind, value = (fact[name] for name in names)
        assert (property_id, subject, kind, value) == row[2:6]
        assert fact["fact_id"] == fact_id(subject, property_id, kind, value)
        objects = {r[4:6] for r in rows if r[2:4] == (property_id, subject) and r[7] != "somevalue"}
        assert (fact["objects_of_pair"] or 0) == len(objects)
        assert fact["subject_mentions"] == mentions(subject)
        if kind == "entity":
            assert fact["object_mentions"] == mentions(value)
        else:
            assert fact["object_mentions"] == sum(triplet[2:] == (kind, value) for triplet in triplets)


def meaning(row: dict[str, Any]) -> object:
    """What a fact says, from whichever side; for relations with several right objects, each side is a meaning."""
    subject, value = row["subject_qid"], row["object_value"]
    if row["property_id"] == "P26":
        return row["property_id"], frozenset((subject, value))
    if row["property_id"] == "P1376":
        return "P36", (value, subject)
    return row["property_id"], (subject, value)


@given(ROWS, st.randoms())
def test_every_meaning_is_kept_once_whatever_the_order(rows: list[tuple[str | None, ...]], random: Any) -> None:
    results = assembled(rows).to_dicts()
    facts = [result for result in results if result["reason"] is None]
    stated = {meaning(result) for result, (*_, reason) in zip(results, rows, strict=True) if reason is None}
    assert len(facts) == len(stated)
    assert {meaning(fact) for fact in facts} == stated
    shuffled = list(rows)
    random.shuffle(shuffled)
    again = assembled(shuffled).filter(pl.col("reason").is_null())
    assert set(again["fact_id"]) == {fact["fact_id"] for fact in facts}


def reasons(rows: pl.DataFrame) -> list[str | None]:
    return rows["reason"].to_list()


def test_the_side_that_can_be_asked_is_kept() -> None:
    rows = [
        statement("Q2", "P36", "Q10"),
        statement("Q2", "P36", "Q11"),
        statement("Q10", "P1376", "Q2"),
        statement("Q3", "P26", "Q2"),
        statement("Q2", "P26", "Q3"),
    ]
    assert reasons(assembled(rows)) == ["mirrored", None, None, "mirrored", None]


def test_an_object_of_several_stays_a_fact_whatever_is_said_from_the_other_side() -> None:
    rows = [
        statement("Q2", "P22", "Q3"),
        statement("Q3", "P40", "Q2"),
        statement("Q2", "P190", "Q3"),
        statement("Q3", "P190", "Q2"),
    ]
    assert reasons(assembled(rows)) == [None] * 4


def test_of_a_family_the_first_that_can_be_asked_is_left_out() -> None:
    rows = assembled([statement("Q3", "P40", "Q2"), statement("Q2", "P22", "Q3"), statement("Q2", "P22", "Q10")])
    child, father, _ = rows["fact_id"]
    # Q2 has two fathers, which is one too many to be asked for.
    assert mirrored(rows, RELATIONS).to_list() == [father]
    alone = rows.head(2).with_columns(objects_of_pair=pl.lit(1, pl.Int64))
    assert mirrored(alone, RELATIONS).to_list() == [child]


def test_a_fact_of_two_topics_belongs_to_the_first() -> None:
    rows = [
        statement("Q2", "P17", "Q10", "wrong_class", topic="first"),
        statement("Q2", "P17", "Q10", topic="second"),
        statement("Q2", "P17", "Q10", topic="third"),
    ]
    assert reasons(assembled(rows)) == ["wrong_class", None, "duplicate"]


def test_without_a_label_there_is_no_fact() -> None:
    rows = [statement("Q2", "P17", "Q10"), statement("Q10", "P17", "Q2"), statement("Q2", "P569", "1889")]
    assert reasons(assembled(rows, named=("Q2",))) == ["no_label", "no_label", None]
    assert assembled(rows, named=("Q2",))["object_label"].to_list() == [None, "label of Q2", "1889"]


def test_dates_of_other_precisions_do_not_make_a_pair_ambiguous() -> None:
    rows = [statement("Q2", "P569", "1889")]
    other = ("places", "P569_day", "P569", "Q2", "date", "1889-04-20", "20 April 1889", None)
    assert assembled([*rows, other])["objects_of_pair"].to_list() == [1, 1]


def test_families_of_inverse_properties() -> None:
    families = directions(RELATIONS)
    assert families["P36"] == Direction("P36", False, False)
    assert families["P1376"] == Direction("P36", True, False)
    assert families["P26"] == Direction("P26", False, True)
    assert "P17" not in families


def test_a_family_without_direction_is_symmetric() -> None:
    ring = {f"P{a}": relation("entity", property=f"P{a}", inverse=[f"P{b}"]) for a, b in [*pairwise((1, 2, 3)), (3, 1)]}
    assert all(direction.symmetric for direction in directions(ring).values())
    assert directions({"P7": relation("entity", property="P7", inverse=["P7"])})["P7"].symmetric


@given(ROWS)
def test_nothing_is_lost(rows: list[tuple[str | None, ...]]) -> None:
    for (*_, given_reason), reason in zip(rows, reasons(assembled(rows)), strict=True):
        assert reason == given_reason if given_reason is not None else reason in (None, "duplicate", "mirrored")
