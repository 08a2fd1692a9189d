"""The recipes `matched` and `matched_answer`: rare and popular facts of the same relations and answer lengths.

`matched` pairs on relation and length, and codes such as US-CA on what stands before the hyphen too, which would name
the country. It does not balance which answer is given: where popular subjects have answers of their own, as cities of
large countries have, the table `balance` says by how much. `matched_answer` pairs on the answer itself. Where counting
links stopped at a cap, a relation takes part in a topic only if no higher count could change who is rare or popular.

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

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from dual_data import sampling
from dual_data.config import Strict
from dual_data.rouge import share_a_word
from pipeline.recipes.popularity import Side, Signal, stopped

ROLES = ("retain_train", "retain_train", "retain_eval", "neighbor_relation")
"""A subject's hash draws one: half of the subjects beside the forget splits go to retain_train."""
ECHO_SHARE = 0.04
"""Largest share of the rows of the splits beside the forget splits whose answers echo their subjects: about half of
such an answer stands in its subject, so that copying subjects scores 0.02 at most."""
CODE = r"^([A-Z]+)-"
"""A code of parts, of which the first is shared by many."""


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
    facts: Sequence[str]
    """Ids in order; none where it was not made."""
    pairs: Sequence[str | None]
    """What each shares with the other member of its matched pair; None where it has none."""
    holds: int
    """Rows that the data could give."""
    wanted: int
    """Rows asked for."""
    reason: str
    """Why it was not made; empty where it was."""


class Pool(NamedTuple):
    """The eligible facts in the order of rank, one array a column; values that are only compared are numbers.

    Splits are chosen as arrays of places: of frames of so few rows, most of the time would go into the calls.
    """

    facts: NDArray[np.object_]
    """Ids."""
    sided: pl.DataFrame
    """The lowest and the highest third of each relation in each topic: fact_id, place, side, rank, length (of a code,
    its first part too), and the numbers of topic, relation, subject, bond and answer."""
    unsided: NDArray[np.int64]
    """The relations in a topic that have no thirds because counting links stopped at the cap: topics, relations."""
    topics: Mapping[str, int]
    """The number of each topic."""
    topic: NDArray[np.int64]
    relation: NDArray[np.int64]
    subject: NDArray[np.int64]
    bond: NDArray[np.int64]
    answer: NDArray[np.int64]
    role: NDArray[np.int64]
    """Place in ROLES; of a role that stands there more than once the first."""
    echo: NDArray[np.bool_]
    """Whether giving the subject as the answer scores something."""

    def of(self, topic: str | None) -> NDArray[np.int64]:
        """Places of the facts of a topic, or of all."""
        if topic is None:
            return np.arange(len(self.facts))
        return np.flatnonzero(self.topic == self.topics.get(topic, -1))

    def stopped(self, topic: str | None) -> str:
        """Why a topic, or the pool, lacks pairs that it might have, as the end of a reason; empty where it does not."""
        topics, relations = self.unsided
        found = len(np.unique(relations if topic is None else relations[topics == self.topics.get(topic, -1)]))
        return f"; {stopped(f'in {found} relation(s) before it told rare from popular')}" if found else ""


def eligible(facts: pl.DataFrame, params: MatchedParams) -> Pool:
    """The pool of the facts that may be chosen.

    `facts` has the columns of `pipeline.recipes.examples`, popularity, capped (whether that is the least that it may
    be) and rank, and stands in the order of rank.
    """
    answer = pl.col("answer")
    words, characters = answer.str.count_matches(r"\S+"), answer.str.len_chars() // params.length_step
    compared = {
        "topic": "topic", "relation": "relation", "subject": "subject_qid", "bond": "bond", "answer": "answer_key",
    }  # fmt: skip
    keyed = facts.with_columns(answer_key=answer.str.to_lowercase())
    numbers = keyed.select(sampling.numbered(column).alias(name) for name, column in compared.items())
    length = pl.concat_str(words, pl.lit("w"), characters, answer.str.extract(CODE).fill_null(""))
    chosen_by = facts.select("fact_id", "rank", "popularity", "capped", length=length).with_row_index("place")
    keys = ["topic", "relation"]
    ranked = chosen_by.hstack(numbers)
    sided = sampling.thirds(ranked, "popularity", keys, "capped")
    # Fewer than three have no thirds, however far they are counted.
    cut = ranked.group_by(keys).agg(pl.col("capped").any() & (pl.len() > 2)).filter("capped")
    role = (sampling.hash_rank(facts["subject_qid"], "role") % len(ROLES)).to_numpy()
    return Pool(
        facts=np.array(facts["fact_id"].to_list(), dtype=object),
        sided=sided,
        unsided=cut.join(sided, on=keys, how="anti").select(keys).to_numpy().T,
        topics=dict(facts.select("topic", number=numbers["topic"]).unique().iter_rows()),
        role=np.array([ROLES.index(name) for name in ROLES])[role],
        echo=np.array(share_a_word(facts["answer"], facts["subject_label"])),
        **{name: numbers[name].to_numpy() for name in compared},
    )


def splits(pool: Pool, families: Sequence[Family], by: str) -> list[Made]:
    """All splits of all families, matched on relation and column `by`: length or answer."""
    made: list[Made] = []
    for family, pairs in zip(families, _rankings(pool, families, by), strict=True):
        forget, chosen, names = _forget(pool, pairs, family)
        made += forget
        if chosen.size:
            made += _others(pool, chosen, names, family)
    return made


def _rankings(pool: Pool, families: Sequence[Family], by: str) -> list[NDArray[np.int64]]:
    """The pairs of each family in rank order, as places: the rare members in the first row, the popular in the second.

    All are found in one go: a pass over each small topic would cost more.
    """
    columns = ("fact_id", "place", "side", "rank", "topic", "relation", "length")

    def named(index: int, family: Family, largest: int) -> pl.DataFrame:
        topic = family.topic
        rows = pool.sided if topic is None else pool.sided.filter(pl.col("topic") == pool.topics.get(topic, -1))
        most = sampling.most_of(largest, family.params.answer_share)
        # Numbers of their own for each family: what two families have in common does not touch.
        apart = pl.col("subject", "bond", "answer") + index * len(pool.facts)
        return rows.select(*columns, apart, family=pl.lit(index), most=pl.lit(most))

    sizes = [len(pool.of(family.topic)) * max(family.percents) // 100 for family in families]
    rows = [
        named(index, family, size)
        for index, (family, size) in enumerate(zip(families, sizes, strict=True))
        if size >= family.smallest
    ]
    keyed = pl.concat(rows or [named(0, families[0], 0).head(0)])
    cell = ["family", "topic", "relation", by]
    found = sampling.matched_pairs(keyed, cell, subject="subject", bond="bond", answer="answer", most="most")
    places = found.select("place_rare", "place_popular").to_numpy().T.astype(np.int64)
    family = found["family"].to_numpy()
    return [places[:, family == index] for index in range(len(families))]


def _forget(pool: Pool, pairs: NDArray[np.int64], family: Family) -> tuple[list[Made], NDArray[np.int64], list[str]]:
    """The forget splits; the pairs of the largest of them, and their names."""
    own = len(pool.of(family.topic))
    sizes = {percent: own * percent // 100 for percent in family.percents}
    # An answer counts for each side of its own.
    answers = (2 * pool.answer[pairs] + [[0], [1]]).T.tolist()
    choice = sampling.nested(answers, sizes.values(), family.params.answer_share)
    chosen = pairs[:, choice.chosen]
    facts = [pool.facts[places].tolist() for places in chosen]
    names = [f"{rare[:8]}-{popular[:8]}" for rare, popular in zip(*facts, strict=True)]
    made: list[Made] = []
    largest = 0
    for side, ids in zip(sampling.SIDES, facts, strict=True):
        for percent, size in sizes.items():
            basis = f"{percent} % of {own} eligible facts"
            reason = _too_few(choice.filled[size], size, family.smallest, basis, pool.stopped(family.topic))
            kept = 0 if reason else size
            largest = max(largest, kept)
            holds = choice.filled[size] if reason else pairs.shape[1]
            split = f"{family.prefix}_forget_{side}_{percent}"
            made.append(Made(split, ids[:kept], names[:kept], holds, size, reason))
    return made, chosen[:, :largest], names


def _too_few(found: int, size: int, smallest: int, basis: str, lacking: str) -> str:
    if size < smallest:
        return f"{basis} are {size} rows, fewer than {smallest}"
    if found < size:
        return f"{basis} are {size} rows; only {found} pairs can be matched{lacking}"
    return ""


def _others(pool: Pool, chosen: NDArray[np.int64], names: Sequence[str], family: Family) -> list[Made]:
    """The splits beside the forget splits."""
    own, forget = pool.of(family.topic), chosen.ravel()
    # The place of each subject's pair in the ranking; no subject stands in two.
    order = np.full(len(pool.facts), -1)
    order[pool.subject[forget]] = np.tile(np.arange(chosen.shape[1]), 2)
    free = own[order[pool.subject[own]] < 0]
    near = np.setdiff1d(np.flatnonzero(order[pool.subject] >= 0), forget)
    outside = np.ones(len(pool.facts), dtype=np.bool_)
    outside[pool.subject[own]] = False
    candidates = {
        **{name: free[pool.role[free] == ROLES.index(name)] for name in dict.fromkeys(ROLES)},
        "world_facts": np.flatnonzero(outside[pool.subject]),
        "neighbor_subject": near[np.argsort(order[pool.subject[near]], kind="stable")],
    }
    held = np.zeros(len(pool.facts), dtype=np.bool_)
    held[pool.bond[forget]] = True
    share = family.params.answer_share
    made = []
    for name, found in candidates.items():
        fresh = found[~held[pool.bond[found]]]
        wanted: int = getattr(family.params, name)
        fitting = _in_proportion(pool, fresh, forget, wanted, share) if name == "neighbor_relation" else fresh
        columns = (pool.answer[fitting], np.where(pool.echo[fitting], 0, -1))
        taken = fitting[sampling.within_share(columns, (share, ECHO_SHARE), wanted)]
        within = " within the largest share of an answer or echo" if len(fitting) > len(taken) else ""
        reason = f"{len(taken)} rows{within}, fewer than {family.smallest}" if len(taken) < family.smallest else ""
        if family.topic is None and name == "world_facts":
            reason = "the pool has every topic, so none is left outside"
        if reason:
            taken = taken[:0]
        held[pool.bond[taken]] = True
        pairs = [names[place] if name == "neighbor_subject" else None for place in order[pool.subject[taken]]]
        made.append(Made(f"{family.prefix}_{name}", pool.facts[taken].tolist(), pairs, len(fresh), wanted, reason))
    return made


def _in_proportion(
    pool: Pool, found: NDArray[np.int64], forget: NDArray[np.int64], wanted: int, answer_share: float
) -> NDArray[np.int64]:
    """Facts of which `wanted` are to be taken: each relation at most in its share of the forget splits (rounded up).

    What an answer has beyond its share is left out first, so that other answers fill the relation's place.
    """
    found = found[sampling.nth(pool.answer[found]) < sampling.most_of(wanted, answer_share)]
    shares = np.bincount(pool.relation[forget], minlength=len(pool.facts))
    quota = np.ceil(shares * wanted / len(forget))
    relation = pool.relation[found]
    return found[sampling.nth(relation) < quota[relation]]
