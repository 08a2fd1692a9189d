"""The recipes `matched` and `matched_answer`: rare and popular facts that differ in popularity and in little else.

A family is the set of splits of one topic, such as `city_forget_rare_5`, or of all topics pooled: `all_forget_rare_5`.
Its splits are disjoint by fact, question and bond (two facts about the same two entities, such as a fact and its
mirror image), and by subject; only `neighbor_subject` shares the subjects of the forget splits. Families are separate
experiments: a fact may stand in those of a topic and of the pool. No answer has more than its share of any split.

forget_{rare,popular}_{1,5,10}  prefixes of one ranking of pairs
retain_train                    same topic, other subjects: may be trained on
retain_eval                     same topic, subjects that stand in no other split
neighbor_relation               relations of the forget splits, in their proportions, other subjects; never trained on
world_facts                     other topics; never trained on
neighbor_subject                other facts of the forget subjects, in the order of the forget ranking and with its pair
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl
from pydantic import Field

from dual_data import sampling
from dual_data.config import Strict
from dual_data.rouge import share_a_word
from pipeline.popularity import Side, Signal

ROLES = ("retain_train", "retain_train", "retain_eval", "neighbor_relation")
"""A subject's hash draws one: half of the subjects beside the forget splits go to retain_train."""
POOLED = "all"
COLUMNS = (
    "fact_id",
    "topic",
    "relation",
    "subject_qid",
    "bond",
    "popularity",
    "rank",
    "role",
    "answer_key",
    "length",
    "echo",
)
"""What the recipes choose by: a frame of these moves many times faster than one with the texts."""
ECHO_SHARE = 0.04
"""Largest share of the rows of the splits beside the forget splits whose answers echo their subjects: about half of
such an answer stands in its subject, so that copying subjects scores 0.02 at most."""
NUMBERED = ("subject_qid", "bond", "answer_key")


class MatchedParams(Strict):
    """How rare and popular are told apart and matched."""

    signal: Signal = "inbound_links"
    """What popularity is: inbound_links, sitelinks, mentions (of the input, for tables without ids) or salience."""
    side: Side = "subject"
    """Whose popularity: subject, object, or the sum of both; salience is of the fact and has no sides."""
    models: tuple[str, ...] = ()
    """Only facts that all of these models know, by the rule `matched` of the stage knowledge; none asks for none."""
    answer_share: float = Field(default=0.05, gt=0, le=1)
    """Largest share of a split that one answer may have. Splits beside the forget splits have fewer rows for it."""
    length_step: int = Field(default=1, ge=1)
    """Width in characters of an answer-length bin; 1 pairs answers of equal length. Words are always equally many."""
    retain_train: int = Field(default=1000, ge=1)
    """Most rows of retain_train."""
    retain_eval: int = Field(default=500, ge=1)
    """Most rows of retain_eval."""
    neighbor_subject: int = Field(default=500, ge=1)
    """Most rows of neighbor_subject."""
    neighbor_relation: int = Field(default=500, ge=1)
    """Most rows of neighbor_relation."""
    world_facts: int = Field(default=500, ge=1)
    """Most rows of world_facts."""


class Family(NamedTuple):
    """What the splits of one family are made by."""

    prefix: str
    """What their names begin with."""
    topic: str | None
    """None for the pool of all topics."""
    params: MatchedParams
    percents: tuple[int, ...]
    smallest: int
    """A split of fewer rows is not made."""


class Made(NamedTuple):
    """A split that was made, or was not."""

    split: str
    rows: pl.DataFrame
    """Columns fact_id and pair, in order; empty where it was not made."""
    holds: int
    """Rows that the data could give."""
    wanted: int
    """Rows asked for."""
    reason: str
    """Why it was not made; empty where it was."""


def with_cells(pool: pl.DataFrame, params: MatchedParams) -> pl.DataFrame:
    """The pool with the columns that the recipes choose by: rank, role, answer_key, length and echo.

    echo is true where giving the subject as the answer scores something, else null.
    """
    ranked = sampling.with_rank(pool, "fact_id", "facts")
    echoes = [shared or None for shared in share_a_word(pool["answer"], pool["subject_label"])]
    role = sampling.hash_rank(pool["subject_qid"], "role") % len(ROLES)
    return ranked.with_columns(
        role=role.cast(pl.Int64).replace_strict(dict(enumerate(ROLES)), return_dtype=pl.String),
        answer_key=pl.col("answer").str.to_lowercase(),
        length=pl.concat_str(
            pl.col("answer").str.count_matches(r"\S+"),
            pl.lit("w"),
            pl.col("answer").str.len_chars() // params.length_step,
        ),
        echo=pl.Series(echoes, dtype=pl.Boolean),
    )


def splits(pool: pl.DataFrame, families: Sequence[Family], by: str) -> list[Made]:
    """All splits of all families, matched on relation and column `by`: length or answer_key.

    `pool` holds the eligible facts of all topics with the columns COLUMNS.
    """
    # What is only ever compared is numbered: numbers are looked up many times faster than texts.
    pool = pool.with_columns(pl.col(NUMBERED).rank("dense").cast(pl.Int64)).sort("rank")
    sided = sampling.thirds(pool, "popularity", ["topic", "relation"])
    owned = [pool if one.topic is None else pool.filter(pl.col("topic") == one.topic) for one in families]
    ranked = _rankings(sided, families, [own.height for own in owned], by)
    made = []
    for family, own in zip(families, owned, strict=True):
        forget = _forget(ranked.filter(pl.col("family") == family.prefix), own.height, family)
        chosen = _longest(forget)
        made += forget if chosen.is_empty() else forget + _others(pool, own, chosen, family)
    return made


def _rankings(sided: pl.DataFrame, families: Sequence[Family], eligible: Sequence[int], by: str) -> pl.DataFrame:
    """The pairs of all families, in rank order, found in one go: a pass over each small topic would cost more."""
    # Numbers of their own for each family: what two families have in common does not touch.
    numbers: int = sided.select(pl.max_horizontal(pl.col(NUMBERED).max())).item() or 0

    def named(index: int, family: Family, size: int) -> pl.DataFrame:
        rows = sided if family.topic is None else sided.filter(pl.col("topic") == family.topic)
        most = sampling.most_of(size * max(family.percents) // 100, family.params.answer_share)
        apart = pl.col(NUMBERED) + index * numbers
        columns = ("fact_id", "side", "rank", "topic", "relation", "length")
        return rows.select(*columns, apart, family=pl.lit(family.prefix), most=pl.lit(most))

    rows = [
        named(index, family, size)
        for index, (family, size) in enumerate(zip(families, eligible, strict=True))
        if size * max(family.percents) // 100 >= family.smallest
    ]
    keyed = pl.concat(rows or [named(0, families[0], 0).head(0)])
    cell = ["family", "topic", "relation", by]
    return sampling.matched_pairs(keyed, cell, subject="subject_qid", bond="bond", answer="answer_key", most="most")


def _forget(ranking: pl.DataFrame, eligible: int, family: Family) -> list[Made]:
    sizes = {percent: eligible * percent // 100 for percent in family.percents}
    names = ["answer_key" if "answer_key" in ranking.columns else f"answer_key_{side}" for side in sampling.SIDES]
    answers = [
        (f"rare:{rare}", f"popular:{popular}") for rare, popular in zip(*(ranking[n] for n in names), strict=True)
    ]
    choice = sampling.nested(answers, sizes.values(), family.params.answer_share)
    ordered = ranking[choice.chosen]
    pair = pl.col("fact_id_rare").str.slice(0, 8) + "-" + pl.col("fact_id_popular").str.slice(0, 8)
    made = []
    for side in sampling.SIDES:
        rows = ordered.select(fact_id=f"fact_id_{side}", pair=pair)
        for percent, size in sizes.items():
            reason = _too_few(choice.filled[size], size, family.smallest, f"{percent} % of {eligible} eligible facts")
            split = f"{family.prefix}_forget_{side}_{percent}"
            holds = choice.filled[size] if reason else ranking.height
            made.append(Made(split, rows.head(0 if reason else size), holds, size, reason))
    return made


def _too_few(found: int, size: int, smallest: int, basis: str) -> str:
    if size < smallest:
        return f"{basis} are {size} rows, fewer than {smallest}"
    if found < size:
        return f"{basis} are {size} rows; only {found} pairs can be matched"
    return ""


def _longest(forget: Sequence[Made]) -> pl.DataFrame:
    """The rows of the largest rare and the largest popular split, with their position as column `order`."""
    found = [
        max((made.rows for made in forget if f"_forget_{side}_" in made.split), key=lambda rows: rows.height)
        for side in sampling.SIDES
    ]
    return pl.concat([rows.with_row_index("order") for rows in found])


def _others(pool: pl.DataFrame, own: pl.DataFrame, chosen: pl.DataFrame, family: Family) -> list[Made]:
    """The splits beside the forget splits. `pool` and `own` stand in the order of rank."""
    forget = own.join(chosen, on="fact_id")
    subjects = forget["subject_qid"].implode()
    free = own.filter(~pl.col("subject_qid").is_in(subjects))
    shares = forget.group_by("relation").len("share")
    near = pool.filter(pl.col("subject_qid").is_in(subjects) & ~pl.col("fact_id").is_in(forget["fact_id"].implode()))
    places = forget.select("subject_qid", "order", "pair")
    candidates = {
        "retain_train": free.filter(pl.col("role") == "retain_train"),
        "retain_eval": free.filter(pl.col("role") == "retain_eval"),
        "neighbor_relation": free.filter(pl.col("role") == "neighbor_relation"),
        "world_facts": pool.filter(
            (pl.col("topic") != (family.topic or ""))
            & ~pl.col("subject_qid").is_in(own["subject_qid"].unique().implode())
        ),
        "neighbor_subject": near.join(places, on="subject_qid").sort("order", "rank"),
    }
    bonds = forget["bond"]
    made = []
    for name, found in candidates.items():
        fresh = found.filter(~pl.col("bond").is_in(bonds.implode()))
        wanted: int = getattr(family.params, name)
        share = family.params.answer_share
        fitting = _in_proportion(fresh, shares, wanted, share) if name == "neighbor_relation" else fresh
        taken = sampling.within_share(fitting, {"answer_key": share, "echo": ECHO_SHARE}, wanted)
        within = " within the largest share of an answer or echo" if fitting.height > taken.height else ""
        reason = f"{taken.height} rows{within}, fewer than {family.smallest}" if taken.height < family.smallest else ""
        if family.topic is None and name == "world_facts":
            reason = "the pool has every topic, so none is left outside"
        pair = pl.col("pair") if "pair" in taken.columns else pl.lit(None, pl.String)
        rows = taken.select("fact_id", pair=pair)
        made.append(Made(f"{family.prefix}_{name}", rows.head(0) if reason else rows, fresh.height, wanted, reason))
        if not reason:
            bonds = pl.concat([bonds, taken["bond"]])
    return made


def _in_proportion(found: pl.DataFrame, shares: pl.DataFrame, wanted: int, answer_share: float) -> pl.DataFrame:
    """The rows of which `wanted` are to be taken: each relation at most in its share of the forget splits (rounded up).

    What an answer has beyond its share is left out first, so that other answers fill the relation's place.
    """
    answers = found.filter(pl.int_range(pl.len()).over("answer_key") < sampling.most_of(wanted, answer_share))
    quota = (pl.col("share") * wanted / shares["share"].sum()).ceil()
    shared = answers.join(shares, on="relation", maintain_order="left")
    return shared.filter(pl.int_range(pl.len()).over("relation") < quota)
