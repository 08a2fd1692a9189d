"""From statements and entities of any source to facts: the one place where rows become facts or rejects.

A source (SPARQL, dumps, tables with ids, tables with labels) delivers two frames:

    statements   topic, relation, property_id, subject_qid, object_kind, object_value, object_text, reason
    entities     qid, label, aliases, description, sitelinks, title

and this module counts, joins, and gives every row that cannot be a fact its reason:

    no_label     subject or object has no English label (nor one for all languages)
    duplicate    the same fact stands further up, in this topic or an earlier one
    mirrored     another fact says the same from the other side, and both relations are asked for one object

besides the reasons that the source gave itself.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping
from typing import NamedTuple

import polars as pl

from dual_data.config import Relation
from dual_data.ids import digests, number
from dual_data.schema import Facts

STATEMENTS = pl.Schema(
    {
        "topic": pl.String(),
        # Stem of the relation's file; what the source calls it where there is no file.
        "relation": pl.String(),
        "property_id": pl.String(),
        "subject_qid": pl.String(),
        "object_kind": pl.String(),
        "object_value": pl.String(),
        # What a reader calls a literal; null for entities.
        "object_text": pl.String(),
        "reason": pl.String(),
    }
)
"""One row per statement as delivered, repetitions and rejects included, the topics in the order of topics.toml."""

ENTITIES = pl.Schema(
    {
        "qid": pl.String(),
        "label": pl.String(),
        "aliases": pl.List(pl.String()),
        "description": pl.String(),
        "sitelinks": pl.Int64(),
        "title": pl.String(),
    }
)
"""One row per entity that a statement names."""


class Harvest(NamedTuple):
    """What a source delivers."""

    statements: pl.DataFrame
    """Of the form STATEMENTS."""
    entities: pl.DataFrame
    """Of the form ENTITIES."""


NO_OBJECT = ("somevalue", "empty", "other_language")
"""Reasons of rows that state no object at all, and so do not count among the objects of a pair."""


def assemble(harvest: Harvest, relations: Mapping[str, Relation], *, resolved: bool) -> pl.DataFrame:
    """Rows of `Facts` with the column `reason`: null for facts.

    Mentions and objects are counted over everything delivered, so that a reject still makes a pair ambiguous.
    """
    rows = harvest.statements.with_columns(fact_id=_fact_ids(harvest.statements), resolved=pl.lit(resolved))
    rows = _with_labels(_with_mentions(_with_objects_of_pair(rows)), harvest.entities)
    rows = reject(rows, pl.col("subject_label").is_null() | pl.col("object_label").is_null(), "no_label")
    fact = pl.when(pl.col("reason").is_null()).then("fact_id")
    rows = reject(rows, ~fact.is_first_distinct(), "duplicate")
    # Where several objects are right, each is needed as an answer; the stage questions rejects mirrored ones later.
    one_object = [stem for stem, relation in relations.items() if relation.unique == "one"]
    candidates = rows.filter(pl.col("reason").is_null() & pl.col("relation").is_in(one_object))
    rows = reject(rows, pl.col("fact_id").is_in(mirrored(candidates, relations).implode()), "mirrored")
    return rows.select(*Facts.columns(), "reason")


def _fact_ids(rows: pl.DataFrame) -> pl.Series:
    """`ids.fact_id` of every row at once; a missing column reads "None"."""
    columns = (pl.col(name).fill_null("None") for name in ("subject_qid", "property_id", "object_kind", "object_value"))
    texts = rows.select(pl.concat_str(*columns, separator="|").cast(pl.Binary)).to_series()
    return pl.Series(digests(texts.to_list()), dtype=pl.String)


def reject(rows: pl.DataFrame, wrong: pl.Expr | pl.Series, reason: str) -> pl.DataFrame:
    """Give `reason` to the rows in `wrong` that have none yet."""
    new = pl.when(pl.col("reason").is_null() & wrong).then(pl.lit(reason)).otherwise("reason")
    return rows.with_columns(reason=new)


def _with_objects_of_pair(statements: pl.DataFrame) -> pl.DataFrame:
    """How many distinct objects each pair has; dates are compared at one relation's precision only.

    A date that is too coarse, such as 1990, is no other object where a usable one lies in it, such as 1990-03-14.
    """
    rows = statements.with_columns(
        _scope=pl.when(pl.col("object_kind") == "date").then("relation").otherwise(pl.lit(""))
    )
    pair = ["subject_qid", "property_id", "_scope"]
    usable = rows.filter(pl.col("reason").is_null()).select(*pair, within="object_value")
    coarse = rows.filter(pl.col("reason") == "precision_too_low").join(usable, on=pair)
    agreeing = coarse.filter(pl.col("within").str.starts_with(pl.col("object_value") + "-"))
    counts = (
        rows.filter(pl.col("reason").is_null() | ~pl.col("reason").is_in(NO_OBJECT))
        .join(agreeing, on=["fact_id", "_scope"], how="anti")
        .filter(pl.concat_str("fact_id", "_scope").is_first_distinct())
        .group_by(pair)
        .agg(objects_of_pair=pl.len().cast(pl.Int64))
    )
    return rows.join(counts, on=pair, how="left", maintain_order="left").drop("_scope")


def _with_mentions(statements: pl.DataFrame) -> pl.DataFrame:
    """How many distinct triplets name the subject and the object, on either side."""
    object_key = ["object_kind", "object_value"]
    triplets = statements.select("fact_id", "subject_qid", *object_key).filter(pl.col("fact_id").is_first_distinct())
    entity = pl.col("object_kind") == "entity"
    self_reference = entity & (pl.col("object_value") == pl.col("subject_qid"))
    subjects, objects = triplets["subject_qid"], triplets.filter(entity & ~self_reference)["object_value"]
    entities = pl.concat([subjects, objects]).value_counts(name="mentions").rename({"subject_qid": "qid"})
    literals = triplets.filter(~entity).group_by(object_key).agg(literal_mentions=pl.len())
    rows = _beside_sides(statements.with_columns(object_qid=pl.when(entity).then("object_value")), entities)
    mentions = pl.coalesce("object_mentions", "literal_mentions")
    return rows.join(literals, on=object_key, how="left", maintain_order="left").with_columns(
        pl.col("subject_mentions").cast(pl.Int64), object_mentions=mentions.cast(pl.Int64)
    )


def _beside_sides(rows: pl.DataFrame, entities: pl.DataFrame) -> pl.DataFrame:
    """The rows with the columns of `entities` (by qid) for their subject and their object."""
    for side in ("subject", "object"):
        columns = entities.select(pl.all().name.prefix(f"{side}_"))
        rows = rows.join(columns, on=f"{side}_qid", how="left", maintain_order="left")
    return rows


def _with_labels(rows: pl.DataFrame, entities: pl.DataFrame) -> pl.DataFrame:
    rows = _beside_sides(rows, entities)
    return rows.with_columns(
        pl.col("subject_aliases", "object_aliases").fill_null([]),
        object_label=pl.coalesce("object_label", "object_text"),
    )


class Direction(NamedTuple):
    """How a property states what its family of inverse properties states."""

    root: str
    """The property of the family with the smallest number."""
    flipped: bool
    """Whether its subject is the root's object."""
    symmetric: bool
    """Whether subject and object may be exchanged."""


def directions(relations: Mapping[str, Relation]) -> dict[str, Direction]:
    """Families of properties that state the same facts, from `inverse` and `symmetric`; the others are left out."""
    symmetric = {relation.property for relation in relations.values() if relation.symmetric}
    neighbours = defaultdict[str, set[str]](set, {property_id: set() for property_id in symmetric})
    for relation in relations.values():
        for inverse in relation.inverse:
            neighbours[relation.property].add(inverse)
            neighbours[inverse].add(relation.property)
    result: dict[str, Direction] = {}
    for root in sorted(neighbours, key=number):
        if root in result:
            continue
        flipped, exchangeable = {root: False}, root in symmetric
        queue = deque([root])
        while queue:
            property_id = queue.popleft()
            for inverse in neighbours[property_id]:
                if inverse not in flipped:
                    flipped[inverse] = not flipped[property_id]
                    queue.append(inverse)
                # Its own inverse, directly or around a ring: the direction says nothing.
                exchangeable = exchangeable or inverse in symmetric or flipped[inverse] == flipped[property_id]
        result.update({property_id: Direction(root, flip, exchangeable) for property_id, flip in flipped.items()})
    return result


def mirrored(rows: pl.DataFrame, relations: Mapping[str, Relation]) -> pl.Series:
    """Ids of the facts of `rows` that others state from the other side, except one of each such group.

    The exception is the fact that can be asked (its pair has one object, or its relation allows several), then that of
    the property with the smaller number, then that whose subject has the smaller id. The order of the rows does not
    matter. No fact may stand in `rows` twice.
    """
    table = pl.DataFrame(
        [(property_id, *direction, number(property_id)) for property_id, direction in directions(relations).items()],
        schema={
            "property_id": pl.String,
            "_root": pl.String,
            "_flipped": pl.Boolean,
            "_symmetric": pl.Boolean,
            "_number": pl.Int64,
        },
        orient="row",
    )
    one_object = [stem for stem, relation in relations.items() if relation.unique == "one"]
    subject, target = pl.col("subject_qid"), pl.col("object_value")
    turn = pl.when(pl.col("_symmetric")).then(target < subject).otherwise("_flipped")
    stated = (
        rows.filter(pl.col("object_kind") == "entity")
        .join(table, on="property_id", how="inner")
        .select(
            "fact_id",
            "_root",
            "_number",
            subject,
            _left=pl.when(turn).then(target).otherwise(subject),
            _right=pl.when(turn).then(subject).otherwise(target),
            _several=pl.col("relation").is_in(one_object) & (pl.col("objects_of_pair") > 1),
        )
        .sort("_several", "_number", subject.str.len_bytes(), subject)
    )
    family = ["_root", "_left", "_right"]
    return stated.filter(pl.int_range(pl.len()).over(family) > 0)["fact_id"]
