"""Examples: facts, links, questions, knowledge and salience joined into one table, the rows that splits are made of."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from dual_data.config import Relation
from pipeline.recipes.popularity import EntitySignal, popularity, signals


def pooled(
    facts: pl.DataFrame, links: pl.DataFrame, questions: pl.DataFrame, knowledge: pl.DataFrame, salience: pl.DataFrame
) -> pl.DataFrame:
    """One row per question, with the columns of its fact, every popularity signal, and a summary of the probes.

    bond       the two entities of the fact in either order: what a fact shares with its mirror image; the fact's id
               where the object is a literal
    known_by   the models that know the fact by the rule `matched`; probed_by those that were asked
    knowledge  per model and rule: known, control_known, log_probability
    triple_pop how many facts of the dataset have the same property and object
    """
    triples = facts.group_by("property_id", "object_value").agg(pl.len().cast(pl.Int64).alias("triple_pop"))
    low, high = pl.min_horizontal("subject_qid", "object_qid"), pl.max_horizontal("subject_qid", "object_qid")
    bond = pl.when(pl.col("object_qid").is_not_null()).then(low + "|" + high).otherwise("fact_id")
    return (
        questions.join(facts, on="fact_id", maintain_order="left")
        .join(triples, on=["property_id", "object_value"], how="left", maintain_order="left")
        .join(signals(facts, links, salience), on="fact_id", how="left", maintain_order="left")
        .join(_probes(knowledge), on="fact_id", how="left", maintain_order="left")
        .with_columns(pl.col("known_by", "probed_by").fill_null(pl.lit([], dtype=pl.List(pl.String))), bond=bond)
    )


def _probes(knowledge: pl.DataFrame) -> pl.DataFrame:
    matched = pl.col("rule") == "matched"
    return (
        knowledge.sort("model", "rule")
        .group_by("fact_id", maintain_order=True)
        .agg(
            known_by=pl.col("model").filter(matched & pl.col("known")),
            probed_by=pl.col("model").filter(matched),
            knowledge=pl.struct("model", "rule", "known", "control_known", "log_probability"),
        )
    )


def with_published(pool: pl.DataFrame, signal: EntitySignal, relations: Mapping[str, Relation]) -> pl.DataFrame:
    """The pool with pop_subject, pop_object, their sum, and relation_label, the relation's name in tables of labels."""
    labels = {stem: relation.labels[0] if relation.labels else relation.name for stem, relation in relations.items()}
    return pool.with_columns(
        pop_subject=popularity(signal, "subject"),
        pop_object=popularity(signal, "object"),
        pop_sum=popularity(signal, "sum"),
        relation_label=pl.col("relation").replace_strict(labels, default=pl.col("relation"), return_dtype=pl.String),
    )


def joined(members: pl.DataFrame, pool: pl.DataFrame) -> pl.DataFrame:
    """The rows of the splits of one recipe, with split, position and pair in front, in the order of the splits."""
    return members.select("split", "position", "pair", "fact_id").join(pool, on="fact_id", maintain_order="left")
