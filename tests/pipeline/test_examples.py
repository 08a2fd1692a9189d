"""The pool from which every recipe chooses: what a fact shares with others."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from dual_data.config import load_relations
from dual_data.schema import Knowledge, Links, Salience
from pipeline.recipes.examples import pooled, with_published
from tests.pipeline.frames import facts_frame

RELATIONS = load_relations(Path(__file__).parents[2] / "pipeline" / "relations")


def test_a_bond_is_that_of_two_entities_and_a_literal_shares_none() -> None:
    date = {"object": "+1900-01-01", "object_kind": "date"}
    facts = facts_frame(
        [
            {"subject": "Q1", "relation": "P26", "object": "Q20"},
            {"subject": "Q20", "relation": "P26", "object": "Q1"},
            {"subject": "Q1", "relation": "P451", "object": "Q20"},
            {"subject": "Q2", "relation": "P26", "object": "Q20"},
            {"subject": "Q1", "relation": "P569", **date},
            {"subject": "Q1", "relation": "P570", **date},
            {"subject": "Q20", "relation": "P569", **date},
        ]
    )
    questions = facts.select("fact_id")
    pool = pooled(facts, Links.create_empty(), questions, Knowledge.create_empty(), Salience.create_empty())
    first, mirrored, of_another_relation, *others = pool["bond"].to_list()
    assert first == mirrored == of_another_relation
    assert len({first, *others}) == 5
    assert others[1:] == pool["fact_id"].to_list()[4:], "of a literal the fact's own id"
    assert pool["triple_pop"].to_list() == [2, 1, 1, 2, 2, 1, 2]


def test_a_relation_is_published_by_its_first_label_else_its_name() -> None:
    own = RELATIONS["P17"].model_copy(update={"name": "country", "labels": ()})
    relations = {"P17": own, "P17_river": own.model_copy(update={"labels": ("state", "nation")})}
    popularity = {"mentions_subject": [1, 2, 3], "mentions_object": [0, 0, 0]}
    pool = pl.DataFrame({"relation": ["P17_river", "P17", "P999"], **popularity})
    labels = with_published(pool, "mentions", relations)["relation_label"]
    assert labels.to_list() == ["state", "country", "P999"]  # a relation from elsewhere has no file
