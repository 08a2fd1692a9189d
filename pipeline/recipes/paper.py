"""The recipe `paper`: the published selection, so that results can be compared with published ones.

Within each topic the candidates are ordered by the popularity of subject and object together. The names are the
published ones, with the topic's short name in front:

    city_forget_rare_{1,5,10}        the first k %
    city_forget_popular_{1,5,10}     the last k %; both in ascending order, as published
    city_fast_retain_{500,1500}      rows of neither 10 % set and of none of their questions, by hash
    city_full, full_                 every candidate of the topic, and of all topics

The published rule for the retain rows is unknown; ours is the hash. Nothing is matched and no answer is capped: this
recipe has the confounds that `matched` removes, and its subjects and answers stand on both sides. Where counting links
stopped at a cap, a forget split is made only if no higher count could change its members.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from pydantic import Field, field_validator

from dual_data.config import Rows, Strict, each_once
from dual_data.sampling import SIDES
from pipeline.recipes.matched import Family, Made
from pipeline.recipes.popularity import EntitySignal, stopped

PUBLISHED_MODELS = {"Llama-3.1-8B-Instruct": "Llama_8b_Instract"}
"""How the published columns spell the model that was run."""


class PaperParams(Strict):
    """How the published selection is made."""

    signal: EntitySignal = "inbound_links"
    """What pop_subject, pop_object and their sum are made of."""
    model: str = ""
    """Only facts that this model passes by the rule `paper` of the stage knowledge; empty for all candidates."""
    retain: tuple[Rows, ...] = Field(default=(500, 1500), min_length=1)
    """Rows of the fast_retain splits."""

    _once = field_validator("retain")(each_once)


def splits(own: pl.DataFrame, family: Family, retain: tuple[int, ...]) -> list[Made]:
    """All splits of one topic. `own` has the columns fact_id, question, pop_sum and capped, in the order of rank."""
    ranked = own.sort("pop_sum", "capped", maintain_order=True)
    ranking, capped = ranked["fact_id"].to_list(), ranked["capped"].to_list()
    made = [full(ranking, f"{family.prefix}_full", family.smallest)]
    forget: set[str] = set()
    for side in SIDES:
        for percent in family.percents:
            one = _share(ranking, capped, side, percent, family)
            forget.update(one.facts)
            made.append(one)
    rows = list(own.select("fact_id", "question").iter_rows())
    asked = {question for fact, question in rows if fact in forget}
    others = [fact for fact, question in rows if fact not in forget and question not in asked]
    for wanted in retain:
        reason = "" if len(others) >= wanted else f"{len(others)} rows beside the forget splits; {wanted} are asked for"
        if not forget:
            reason = "no forget split could be made"
        chosen = others[: 0 if reason else wanted]
        made.append(_made(f"{family.prefix}_fast_retain_{wanted}", chosen, len(others), wanted, reason))
    return made


def full(ranking: Sequence[str], split: str, smallest: int) -> Made:
    """Every candidate. `ranking` has the rarest first."""
    size = len(ranking)
    reason = f"{size} rows, fewer than {smallest}" if size < smallest else ""
    return _made(split, ranking[: 0 if reason else size], size, size, reason)


def _share(ranking: Sequence[str], capped: Sequence[bool], side: str, percent: int, family: Family) -> Made:
    size = len(ranking) * percent // 100
    holds, reason = size, ""
    # Before it, all are counted to the end; from there on, the true order may be another.
    certain = capped.index(True) if any(capped) else len(ranking)
    if size < family.smallest:
        reason = f"{percent} % of {len(ranking)} candidates are {size} rows, fewer than {family.smallest}"
    elif certain < (size if side == "rare" else len(ranking) - size):
        end = "least" if side == "rare" else "most"
        holds = certain if side == "rare" else 0
        reason = stopped(f"for {sum(capped)} of {len(ranking)} candidates, so the {size} {end} popular are not known")
    kept = 0 if reason else size
    chosen = ranking[:kept] if side == "rare" else ranking[len(ranking) - kept :]
    return _made(f"{family.prefix}_forget_{side}_{percent}", chosen, holds, size, reason)


def _made(split: str, facts: Sequence[str], holds: int, wanted: int, reason: str) -> Made:
    """A split without pairs."""
    return Made(split, facts, [None] * len(facts), holds, wanted, reason)


def examples(rows: pl.DataFrame, probes: pl.DataFrame, model: str) -> pl.DataFrame:
    """The rows with the published columns first, under their published names, then split, position, fact_id, and what
    the other recipes' rows are asked and accepted by: answers and paraphrases_test.

    `rows` has the columns of `pipeline.recipes.examples.joined`; `probes` those of Knowledge. The three columns of the
    probe are named after the model, and absent where none was run.
    """
    published = rows.select(
        pl.col("topic") + ".csv",
        "subject_label",
        "relation_label",
        "object_label",
        "subject_qid",
        "property_id",
        "object_qid",
        "question",
        "answer",
        "pop_subject",
        "pop_object",
        "pop_sum",
        "triple_pop",
        "split",
        "position",
        "fact_id",
        "answers",
        "paraphrases_test",
    ).rename(
        {
            "topic": "source_csv",
            "subject_label": "subjectLabel",
            "relation_label": "relation",
            "object_label": "objectLabel",
            "property_id": "property_pid",
        }
    )
    found = probes.filter((pl.col("model") == model) & (pl.col("rule") == "paper"))
    if not model or found.is_empty():
        return published
    bare = model.rsplit("/", 1)[-1]
    name = PUBLISHED_MODELS.get(bare, bare.replace("-", "_").replace(".", "_"))
    columns = {
        "best_generation": f"best_gen_{name}",
        "generation_recall": f"gen_recall_{name}",
        "embedding_similarity": f"bert_sim_{name}",
    }
    probed = found.select("fact_id", *columns).rename(columns)
    last = ["split", "position", "fact_id", "answers", "paraphrases_test"]
    return published.join(probed, on="fact_id", how="left", maintain_order="left").select(pl.exclude(last), *last)
