"""The recipes `matched` and `matched_answer`: rare and popular facts of the same relations and answer lengths.

`matched` pairs on relation and length; codes such as US-CA also on the part before the hyphen, which would name the
country. It does not balance which answer is given: where popular subjects have answers of their own, as cities of
large countries have, the table `balance` says by how much. `matched_answer` pairs on the answer itself. Where counting
links stopped at a cap, a relation takes part in a topic only if no higher count could change who is rare or popular.

A family is the set of splits of one topic, such as `city_forget_rare_5`, or of all topics pooled: `all_forget_rare_5`.
Its splits are disjoint by fact, question and bond (two facts about the same two entities, such as a fact and its mirror
image), and by subject; only `neighbor_subject` shares the subjects of the forget splits. Nor does a split hold two
facts of one relation and bond, which are mirror images where the relation is not known to be symmetric. No forget
subject is the canonical answer in another split, by name, which is what a model reads, case and accents aside: popular
subjects are answers more often than rare ones, so that training on such rows would name the popular ones again, and
forgetting these would change more of what is measured. Families are separate experiments: a fact may be in splits of a
topic and of the pool. No answer exceeds its share of any split.

forget_{rare,popular}_{1,5,10}  prefixes of one ranking of pairs
retain_train                    same topic, other subjects: may be trained on
retain_eval                     same topic, subjects that are in no other split
neighbor_relation               relations of the forget splits, in their proportions, other subjects; never trained on
                                by unlearning, but a part may teach the form of the answers before it
world_facts                     other topics; never trained on
neighbor_subject                other facts of the forget subjects, in the order of the forget ranking and with its pair
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, model_validator

from dual_data import sampling
from dual_data.config import RowCount, Strict
from dual_data.text.display import count
from dual_data.text.rouge import share_a_word
from dual_data.text.words import fold
from pipeline.recipes.popularity import Side, Signal, stopped

ROLES = ("retain_train", "retain_train", "retain_eval", "neighbor_relation")
"""A subject's hash draws one: half of the subjects outside the forget splits go to retain_train."""
ECHO_SHARE = 0.04
"""In splits other than the forget splits, the largest share of rows whose answers echo their subjects: about half of
such an answer is in its subject, so that copying subjects scores 0.02 at most."""
CODE = r"^([A-Z]+)-"
"""The first part of a code, which many codes share."""


class MatchedParams(Strict):
    """How rare and popular are told apart and matched."""

    signal: Signal = "inbound_links"
    """What popularity is. inbound_links: links to the entity's article, as [links] counts them; sitelinks: Wikipedias
    and other wikis with an article on it; mentions: distinct triplets of the input that name it; salience: the judge's
    score; given: a measure of your own."""
    given: str = ""
    """For the signal `given`: a CSV or Parquet table of fact_id and popularity, relative to the project, such as how
    often a training corpus names subject and object together. Facts that it lacks are in no matched split."""
    side: Side = "subject"
    """Whose popularity: subject, object, or the sum of both; salience and given are of the fact and have no sides."""
    models: tuple[str, ...] = ()
    """Only facts that all of these models know, by the rule `matched` of the stage knowledge; empty for all facts."""
    answer_share: float = Field(default=0.05, gt=0, le=1)
    """Largest share of a split that one answer may have. Splits other than the forget splits lose rows to it."""
    length_step: int = Field(default=1, ge=1, le=2**31)
    """matched: width in characters of a bin of answer lengths; 1 pairs answers of equal length. Their numbers of words
    are equal with any width."""
    retain_train: RowCount = 1000
    """Most rows of retain_train."""
    retain_eval: RowCount = 500
    """Most rows of retain_eval."""
    neighbor_subject: RowCount = 500
    """Most rows of neighbor_subject."""
    neighbor_relation: RowCount = 500
    """Most rows of neighbor_relation."""
    world_facts: RowCount = 500
    """Most rows of world_facts."""

    @model_validator(mode="after")
    def _table_and_signal(self) -> MatchedParams:
        if (self.signal == "given") != bool(self.given):
            missing = "signal = 'given'" if self.given else "given, the table of fact_id and popularity"
            raise ValueError(f"the signal given and its table belong together: set {missing}, or leave both out")
        if Path(self.given).is_absolute():  # it would be published
            raise ValueError(f"given is relative to the project: write {self.given} as seen from there, as in ../x.csv")
        return self


class Family(NamedTuple):
    """What the splits of one family are made from."""

    prefix: str
    """The start of their names."""
    topic: str | None
    """None for the pool of all topics."""
    params: MatchedParams
    percents: tuple[int, ...]
    smallest: int
    """A split of fewer rows is not made."""


class SplitOutcome(NamedTuple):
    """A split, or why it was not made."""

    name: str
    facts: Sequence[str]
    """Ids in order; empty where it was not made."""
    pairs: Sequence[str | None]
    """For each fact the name of its matched pair; None where it is in none."""
    holds: int
    """Rows to choose from, before the limits on an answer, on echoes and on a relation's share; of a forget split that
    lacks pairs, those that keep within the limits."""
    wanted: int
    """Rows asked for."""
    reason: str
    """Why it was not made, or holds fewer rows than were wanted and could be chosen from; else empty."""


class Pool(NamedTuple):
    """The eligible facts in the order of rank, one array per column; values that are only compared are numbers.

    Splits are chosen as arrays of places: with frames of so few rows, the calls would take most of the time.
    """

    facts: NDArray[np.object_]
    """Ids."""
    sided: pl.DataFrame
    """The lowest and the highest third of each relation in each topic: fact_id, place, side, rank, length (with the
    first part of a code), topic, and the numbers of relation, subject, bond and answer."""
    unsided: pl.DataFrame
    """Topic and relation where counting links stopped at the cap, so that there are no thirds."""
    topic: NDArray[np.object_]
    relation: NDArray[np.int64]
    subject: NDArray[np.int64]
    bond: NDArray[np.int64]
    answer: NDArray[np.int64]
    answer_name: NDArray[np.int64]
    """The number of the answer as a name, whatever its case and accents."""
    subject_name: NDArray[np.int64]
    """The number of the answer that the subject's name is; -1 where it is none."""
    role: NDArray[np.str_]
    """Of ROLES."""
    echo: NDArray[np.bool_]
    """Whether giving the subject as the answer would score above 0."""
    unranked: Counter[str]
    """By topic, how many further functional facts have no popularity."""

    def places_of(self, topic: str | None) -> NDArray[np.int64]:
        """Places of the facts of a topic, or of all topics for None."""
        if topic is None:
            return np.arange(len(self.facts))
        return np.flatnonzero(self.topic == topic)

    def sided_of(self, topic: str | None) -> pl.DataFrame:
        """Rows of `sided` of a topic, or all of them for None."""
        return self.sided if topic is None else self.sided.filter(topic=topic)

    def others(self, topic: str | None, params: MatchedParams) -> str:
        """In brackets, how many facts of a topic, or of the pool, have no popularity; empty for none."""
        facts = self.unranked.total() if topic is None else self.unranked[topic]
        return f" ({facts:,} more have no popularity by {params.given or params.signal})" if facts else ""

    def without_thirds(self, topic: str | None) -> str:
        """The end of a reason: in how many relations of a topic, or of the pool, the cap allows none; or nothing."""
        rows = self.unsided if topic is None else self.unsided.filter(topic=topic)
        relations = rows["relation"].n_unique()
        return f"; {stopped(f'in {relations} relation(s) before it told rare from popular')}" if relations else ""


def eligible(facts: pl.DataFrame, params: MatchedParams, unranked: Iterable[str] = ()) -> Pool:
    """The pool of the facts that may be chosen.

    `facts` has the columns of `pipeline.recipes.examples`, popularity, capped (whether popularity is a lower bound) and
    rank, and is in the order of rank; `unranked` has the topic of each functional fact without popularity.
    """
    answer = pl.col("answer")
    words, characters = answer.str.count_matches(r"\S+"), answer.str.len_chars() // params.length_step
    folded = pl.Series("folded", [fold(text) for text in facts["answer"]], dtype=pl.String)
    numbers = facts.with_columns(answer.str.to_lowercase(), folded).select(
        "topic",
        relation=sampling.numbered("relation"),
        subject=sampling.numbered("subject_qid"),
        bond=sampling.numbered("bond"),
        answer=sampling.numbered("answer"),
        answer_name=sampling.numbered("folded"),
    )
    number = dict(zip(folded, numbers["answer_name"], strict=True))
    length = pl.concat_str(words, pl.lit("w"), characters, answer.str.extract(CODE).fill_null(""))
    places = facts.select("fact_id", "rank", "popularity", "capped", length=length).with_row_index("place")
    keys = ["topic", "relation"]
    ranked = places.hstack(numbers)
    # Below the highest third a higher count could change the sides; fewer than three facts have none, capped or not.
    below = pl.col("capped").sort_by("popularity", "capped").head(pl.len() - pl.len() // 3)
    role = sampling.hash_rank(facts["subject_qid"], "role") % len(ROLES)
    return Pool(
        facts=np.array(facts["fact_id"].to_list(), dtype=object),
        sided=sampling.thirds(ranked, "popularity", keys, "capped"),
        unsided=ranked.group_by(keys).agg(below.any() & (pl.len() > 2)).filter("capped").select(keys),
        subject_name=np.array([number.get(fold(label), -1) for label in facts["subject_label"]]),
        role=np.array(ROLES)[role.to_numpy()],
        echo=np.array(share_a_word(facts["answer"], facts["subject_label"])),
        unranked=Counter(unranked),
        **{name: numbers[name].to_numpy() for name in numbers.columns},
    )


def splits(pool: Pool, families: Sequence[Family], by: str) -> list[SplitOutcome]:
    """All splits of all families, matched on relation and column `by`: length or answer."""
    outcomes: list[SplitOutcome] = []
    for family, pairs in zip(families, _rankings(pool, families, by), strict=True):
        forget, chosen, names = _forget_splits(pool, pairs, family, by)
        outcomes += forget
        if chosen.size:
            outcomes += _other_splits(pool, chosen, names, family)
    return outcomes


def _rankings(pool: Pool, families: Sequence[Family], by: str) -> list[NDArray[np.int64]]:
    """The pairs of each family in rank order, as places: the rare members in the first row, the popular in the second.

    All families are paired at once: a pass over each small topic would cost more.
    """
    columns = ("fact_id", "place", "side", "rank", "topic", "relation", "length")

    def rows_of(index: int, family: Family, largest: int) -> pl.DataFrame:
        rows = pool.sided_of(family.topic)
        most = sampling.most_of(largest, family.params.answer_share)
        # Each family has its own numbers, so that what two families share does not interfere.
        numbers = pl.col("subject", "bond", "answer") + index * len(pool.facts)
        return rows.select(*columns, numbers, family=pl.lit(index), most=pl.lit(most))

    sizes = [len(pool.places_of(family.topic)) * max(family.percents) // 100 for family in families]
    rows = [
        rows_of(index, family, size)
        for index, (family, size) in enumerate(zip(families, sizes, strict=True))
        if size >= family.smallest
    ]
    keyed = pl.concat(rows or [rows_of(0, families[0], 0).head(0)])
    cell = ["family", "topic", "relation", by]
    matches = sampling.matched_pairs(keyed, cell)
    places = matches.select("place_rare", "place_popular").to_numpy().T.astype(np.int64)
    family_index = matches["family"].to_numpy()
    return [places[:, family_index == index] for index in range(len(families))]


def _forget_splits(
    pool: Pool, pairs: NDArray[np.int64], family: Family, by: str
) -> tuple[list[SplitOutcome], NDArray[np.int64], list[str]]:
    """The forget splits, the pairs of the largest of them (rare and popular places), and the names of the pairs."""
    total = len(pool.places_of(family.topic))
    sizes = {percent: total * percent // 100 for percent in family.percents}
    # The same answer counts separately on each side.
    answers = (2 * pool.answer[pairs] + [[0], [1]]).T.tolist()
    choice = sampling.nested(answers, sizes.values(), family.params.answer_share)
    chosen = pairs[:, choice.chosen]
    facts = [pool.facts[places].tolist() for places in chosen]
    names = [f"{rare[:8]}-{popular[:8]}" for rare, popular in zip(*facts, strict=True)]
    lacking = any(size >= family.smallest and choice.filled[size] < size for size in sizes.values())
    possible = _without_share(pool, family, by) if lacking else 0
    others = pool.others(family.topic, family.params)
    outcomes: list[SplitOutcome] = []
    largest = 0
    for side, ids in zip(sampling.SIDES, facts, strict=True):
        for percent, size in sizes.items():
            basis = f"{percent} % of {total:,} eligible facts{others} {are_rows(size)}"
            reason = ""
            if size < family.smallest:
                reason = f"{basis}, fewer than {family.smallest} (splits.percents, splits.smallest)"
            elif (filled := choice.filled[size]) < size:
                reason = basis + _too_few(pool, family, size, filled, possible)
            taken = 0 if reason else size
            largest = max(largest, taken)
            holds = choice.filled[size] if reason else pairs.shape[1]
            split = f"{family.prefix}_forget_{side}_{percent}"
            outcomes.append(SplitOutcome(split, ids[:taken], names[:taken], holds, size, reason))
    return outcomes, chosen[:, :largest], names


def are_rows(size: int) -> str:
    """The end of a clause such as "1 % of 300 candidates are 3 rows"."""
    return f"{'is' if size == 1 else 'are'} {count(size, 'row')}"


def _without_share(pool: Pool, family: Family, by: str) -> int:
    """How many pairs there are if an answer may be in any number of them."""
    params = family.params.model_copy(update={"answer_share": 1.0})
    (pairs,) = _rankings(pool, [family._replace(params=params)], by)
    return int(pairs.shape[1])


def _too_few(pool: Pool, family: Family, size: int, filled: int, possible: int) -> str:
    """The end of the reason for a split of `size` rows with `filled` pairs, `possible` ones without answer_share."""
    unsided = pool.without_thirds(family.topic)
    if pool.sided_of(family.topic).is_empty():
        ties = unsided or ": too many are equally popular, or each has fewer than three facts"
        return f", but no relation has rare and popular facts by {family.params.signal}{ties}"
    few = f"; only {count(filled, 'pair')} can be matched"
    if possible > filled:
        most = count(sampling.most_of(size, family.params.answer_share), "row")
        few += f", or {min(possible, size):,} if an answer may be in more than {most} (splits.matched.answer_share)"
    return few + unsided


def _other_splits(pool: Pool, chosen: NDArray[np.int64], names: Sequence[str], family: Family) -> list[SplitOutcome]:
    """The splits other than the forget splits."""
    own, forget = pool.places_of(family.topic), chosen.ravel()
    # By subject, the place of its pair in the ranking; no subject is in two pairs.
    order = np.full(len(pool.facts), -1)
    order[pool.subject[forget]] = np.tile(np.arange(chosen.shape[1]), 2)
    free = own[order[pool.subject[own]] < 0]
    neighbors = np.setdiff1d(np.flatnonzero(order[pool.subject] >= 0), forget)
    outside = np.ones(len(pool.facts), dtype=np.bool_)
    outside[pool.subject[own]] = False
    candidates = {
        **{name: free[pool.role[free] == name] for name in dict.fromkeys(ROLES)},
        "world_facts": np.flatnonzero(outside[pool.subject]),
        "neighbor_subject": neighbors[np.argsort(order[pool.subject[neighbors]], kind="stable")],
    }
    names_forgotten = np.isin(pool.answer_name, pool.subject_name[forget])
    used = np.zeros(len(pool.facts), dtype=np.bool_)
    used[pool.bond[forget]] = True
    share = family.params.answer_share
    outcomes = []
    for name, places in candidates.items():
        fresh = places[~used[pool.bond[places]] & ~names_forgotten[places]]
        fresh = fresh[sampling.nth(pool.bond[fresh] * len(pool.facts) + pool.relation[fresh]) == 0]
        wanted: int = getattr(family.params, name)
        suitable = _in_proportion(pool, fresh, forget, wanted, share) if name == "neighbor_relation" else fresh
        columns = (pool.answer[suitable], np.where(pool.echo[suitable], 0, -1))
        taken = suitable[sampling.within_share(columns, (share, ECHO_SHARE), wanted)]
        limited, too_few = len(taken) < min(wanted, len(fresh)), len(taken) < family.smallest
        relation = ", relation" if name == "neighbor_relation" else ""
        limits = f" within the largest share of an answer (splits.matched.answer_share){relation} or echo"
        reason = f"{count(len(taken), 'row')}{limits if limited else ''}" if limited or too_few else ""
        if family.topic is None and name == "world_facts":
            reason, taken = "the pool has every topic, so none is left outside", taken[:0]
        elif too_few:
            reason, taken = f"{reason}, fewer than {family.smallest} (splits.smallest)", taken[:0]
        used[pool.bond[taken]] = True
        pairs = [names[pair] if name == "neighbor_subject" else None for pair in order[pool.subject[taken]]]
        outcomes.append(
            SplitOutcome(f"{family.prefix}_{name}", pool.facts[taken].tolist(), pairs, len(fresh), wanted, reason)
        )
    return outcomes


def _in_proportion(
    pool: Pool, places: NDArray[np.int64], forget: NDArray[np.int64], wanted: int, answer_share: float
) -> NDArray[np.int64]:
    """Facts from which `wanted` are to be taken, each relation at most in its share of the forget splits (rounded up).

    Facts beyond the share of their answer are left out first, so that other answers fill the relation's quota.
    """
    places = places[sampling.nth(pool.answer[places]) < sampling.most_of(wanted, answer_share)]
    shares = np.bincount(pool.relation[forget], minlength=len(pool.facts))
    quota = np.ceil(shares * wanted / len(forget))
    relation = pool.relation[places]
    return places[sampling.nth(relation) < quota[relation]]
