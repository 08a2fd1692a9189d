"""The SPARQL texts: standard, stable, and halved without loss."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_data.sources.wikidata.queries import (
    PREFIXES,
    Batch,
    Entities,
    Members,
    Named,
    Statements,
    Subclasses,
    described_in,
    in_batches,
    literal,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "queries"
SUBJECTS = ("Q2", "Q10")
BATCHES: dict[str, Batch] = {
    "subclasses": Subclasses(("Q515", "Q3957")),
    "members_famous": Members("P31", ("Q515",), 100, None),
    "members_band": Members("P106", ("Q36180", "Q49757"), 10, 30),
    "members_rest": Members("P31", ("Q515",), 0, 3),
    "members_all": Members("P31", ("Q515",), 0, None),
    "statements_entity": Statements("entity", "P17", SUBJECTS),
    "statements_date": Statements("date", "P569", SUBJECTS),
    "statements_quantity": Statements("quantity", "P2044", SUBJECTS),
    "statements_text": Statements("text", "P1448", SUBJECTS),
    "entities": Entities(SUBJECTS),
    "named": Named("P31", ("Paris", 'The "Rock" \\ two\nlines')),
}


@pytest.mark.parametrize("name", BATCHES)
def test_queries_are_as_reviewed(name: str) -> None:
    """Set DUAL_DATA_UPDATE_GOLDEN=1 to write the files anew: a changed text makes every logged call a new one."""
    path = GOLDEN / f"{name}.rq"
    text = BATCHES[name].query() + "\n"
    if os.environ.get("DUAL_DATA_UPDATE_GOLDEN") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("name", BATCHES)
def test_who_is_described_can_be_read_from_a_query(name: str) -> None:
    assert described_in(BATCHES[name].query()) == (list(SUBJECTS) if name == "entities" else [])


VENDOR = (
    r"\bSERVICE\b",
    r"\bhint:",
    r"\bbd:",
    r"\bgas:",
    r"wikibase:label\b",
    r"wikibase:isSomeValue",
    r"\bWITH\b",
    r"\bORDER\s+BY\b",
    r"\bOFFSET\b",
    r"\bLIMIT\b",
)


@pytest.mark.parametrize("name", BATCHES)
def test_queries_are_standard_sparql(name: str) -> None:
    text = BATCHES[name].query()
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)
    for pattern in VENDOR:
        assert not re.search(pattern, bare, re.IGNORECASE), pattern
    declared = set(re.findall(r"PREFIX (\w+):", text))
    body = bare[bare.index("SELECT") :]
    assert set(re.findall(r"(?<![\w<:/])([a-z]+):", re.sub(r"<[^>]*>", "", body))) == declared
    assert declared <= set(PREFIXES)
    assert len(re.findall(r"VALUES", text)) == max(1, len(re.findall("UNION", text)) + 1)
    assert not re.search(r"VALUES[^}]*}[^}]*VALUES", text), "two VALUES in one group are slow"


@pytest.mark.parametrize("name", BATCHES)
def test_oxigraph_parses_every_query(name: str) -> None:
    oxigraph = pytest.importorskip("pyoxigraph")
    list(oxigraph.Store().query(BATCHES[name].query()))


def leaves(batch: Batch) -> Iterator[Batch]:
    halves = batch.halves()
    if not halves:
        yield batch
    for half in halves:
        yield from leaves(half)


QIDS = st.lists(st.integers(1, 10**9).map("Q{}".format), min_size=1, max_size=40, unique=True).map(tuple)


@given(QIDS)
def test_halves_hold_the_same_things_in_the_same_order(qids: tuple[str, ...]) -> None:
    for batch_of in (
        lambda group: Statements("entity", "P17", group),
        Entities,
        Subclasses,
        lambda group: Named("P31", group),
    ):
        assert list(leaves(batch_of(qids))) == [batch_of((qid,)) for qid in qids]


@given(QIDS.filter(lambda qids: len(qids) < 4), st.integers(0, 60), st.one_of(st.none(), st.integers(1, 80)))
def test_halves_of_members_cover_every_band_once(qids: tuple[str, ...], low: int, width: int | None) -> None:
    batch = Members("P31", qids, low, None if width is None else low + width)
    covered: dict[tuple[str, int], int] = {}
    for leaf in leaves(batch):
        assert isinstance(leaf, Members)
        for qid in leaf.classes:
            for count in range(leaf.low, 3000 if leaf.high is None else leaf.high):
                covered[qid, count] = covered.get((qid, count), 0) + 1
    expected = {(qid, n) for qid in qids for n in range(low, 3000 if width is None else low + width)}
    assert set(covered) == expected
    assert set(covered.values()) == {1}


@given(st.lists(st.text(), max_size=50), st.integers(1, 9))
def test_batches_keep_order_and_size(items: list[str], size: int) -> None:
    groups = in_batches(items, size)
    assert [item for group in groups for item in group] == items
    assert all(len(group) == size for group in groups[:-1])


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\\")))
def test_any_label_survives_as_a_literal(text: str) -> None:
    oxigraph = pytest.importorskip("pyoxigraph")
    (row,) = oxigraph.Store().query(f"SELECT (STR({literal(text)}@en) AS ?x) WHERE {{}}")
    assert row["x"].value == text
