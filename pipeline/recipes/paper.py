"""The recipe `paper`: the published selection, so that results can be compared with published ones.

Within each topic the candidates are ordered by the summed popularity of subject and object. The names are the
published ones, with the topic's short name in front:

    city_forget_rare_{1,5,10}        the first k %
    city_forget_popular_{1,5,10}     the last k %; both in ascending order, as published
    city_fast_retain_{500,1500}      rows that are in no forget split and share no question with one, by hash
    city_full, full_                 every candidate of the topic, and of all topics

The published rule for the retain rows is unknown; ours is the hash. Nothing is matched and no answer is capped: this
recipe has the confounds that `matched` removes, and subjects and answers may be on both sides. Where counting links
stopped at a cap, a forget split is made only if no higher count could change its members.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from pydantic import Field, field_validator

from dual_data.config import RowCount, Strict, each_once
from dual_data.sampling import SIDES
from dual_data.text.display import count
from pipeline.recipes.matched import Family, SplitOutcome, are_rows
from pipeline.recipes.popularity import EntitySignal, stopped

PUBLISHED_MODELS = {"Llama-3.1-8B-Instruct": "Llama_8b_Instract"}
"""The spelling of the model's name in the published columns."""


class PaperParams(Strict):
    """How the published selection is made."""

    signal: EntitySignal = "inbound_links"
    """The popularity in the columns pop_subject, pop_object and pop_sum, as in [splits.matched]."""
    model: str = ""
    """Only facts that this model knows, by the rule `paper` of the stage knowledge; empty for all facts."""
    retain: tuple[RowCount, ...] = Field(default=(500, 1500), min_length=1)
    """Numbers of rows of the splits fast_retain_N, one for each number."""

    _once = field_validator("retain")(each_once)


def splits(candidates: pl.DataFrame, family: Family, retain: tuple[int, ...], others: str = "") -> list[SplitOutcome]:
    """All splits of one topic. `candidates` has fact_id, question, pop_sum and capped, in the order of rank; `others`
    says, in brackets, which facts of the topic are none."""
    ranked = candidates.sort("pop_sum", "capped", maintain_order=True)
    ranking, capped = ranked["fact_id"].to_list(), ranked["capped"].to_list()
    outcomes = [full(ranking, f"{family.prefix}_full", family.smallest)]
    forget: set[str] = set()
    for side in SIDES:
        for percent in family.percents:
            outcome = _share(ranking, capped, side, percent, family, others)
            forget.update(outcome.facts)
            outcomes.append(outcome)
    rows = list(candidates.select("fact_id", "question").iter_rows())
    forget_questions = {question for fact, question in rows if fact in forget}
    rest = [fact for fact, question in rows if question not in forget_questions]
    for wanted in retain:
        few = f"{count(len(rest), 'row')} beside the forget splits; {wanted} are asked for"
        reason = "" if len(rest) >= wanted else few
        if wanted < family.smallest:
            reason = f"{count(wanted, 'row')}, fewer than {family.smallest} (splits.smallest)"
        if not forget:
            reason = "no forget split could be made"
        chosen = rest[: 0 if reason else wanted]
        outcomes.append(_unpaired(f"{family.prefix}_fast_retain_{wanted}", chosen, len(rest), wanted, reason))
    return outcomes


def full(ranking: Sequence[str], split: str, smallest: int) -> SplitOutcome:
    """Every candidate. `ranking` has the rarest first."""
    size = len(ranking)
    reason = f"{count(size, 'row')}, fewer than {smallest} (splits.smallest)" if size < smallest else ""
    return _unpaired(split, ranking[: 0 if reason else size], size, size, reason)


def _share(
    ranking: Sequence[str], capped: Sequence[bool], side: str, percent: int, family: Family, others: str
) -> SplitOutcome:
    size = len(ranking) * percent // 100
    holds, reason = size, ""
    # Candidates before the first capped one are fully counted; after it, the true order may differ.
    certain = capped.index(True) if any(capped) else len(ranking)
    if size < family.smallest:
        few = f"fewer than {family.smallest} (splits.percents, splits.smallest)"
        reason = f"{percent} % of {len(ranking):,} candidates{others} {are_rows(size)}, {few}"
    elif certain < (size if side == "rare" else len(ranking) - size):
        end = "least" if side == "rare" else "most"
        holds = certain if side == "rare" else 0
        reason = stopped(
            f"for {sum(capped):,} of {len(ranking):,} candidates, so the {size:,} {end} popular are not known"
        )
    taken = 0 if reason else size
    chosen = ranking[:taken] if side == "rare" else ranking[len(ranking) - taken :]
    return _unpaired(f"{family.prefix}_forget_{side}_{percent}", chosen, holds, size, reason)


def _unpaired(split: str, facts: Sequence[str], holds: int, wanted: int, reason: str) -> SplitOutcome:
    """A split without pairs."""
    return SplitOutcome(split, facts, [None] * len(facts), holds, wanted, reason)


def examples(rows: pl.DataFrame, probes: pl.DataFrame, model: str) -> pl.DataFrame:
    """The rows with the published columns first, under their published names, then split, position, fact_id, answers
    and paraphrases_test, which the evaluation reads from rows of every recipe.

    `rows` has the columns of `pipeline.recipes.examples.joined`; `probes` those of Knowledge. The three columns of the
    probe are named after the model, and absent if no model was probed.
    """
    last = ["split", "position", "fact_id", "answers", "paraphrases_test"]
    published = rows.select(
        (pl.col("topic") + ".csv").alias("source_csv"),
        pl.col("subject_label").alias("subjectLabel"),
        pl.col("relation_label").alias("relation"),
        pl.col("object_label").alias("objectLabel"),
        "subject_qid",
        pl.col("property_id").alias("property_pid"),
        "object_qid",
        "question",
        "answer",
        "pop_subject",
        "pop_object",
        "pop_sum",
        "triple_pop",
        *last,
    )
    answers = probes.filter((pl.col("model") == model) & (pl.col("rule") == "paper"))
    if answers.is_empty():
        return published
    bare = model.rsplit("/", 1)[-1]
    name = PUBLISHED_MODELS.get(bare, bare.replace("-", "_").replace(".", "_"))
    columns = {
        "best_generation": f"best_gen_{name}",
        "generation_recall": f"gen_recall_{name}",
        "embedding_similarity": f"bert_sim_{name}",
    }
    model_columns = answers.select("fact_id", *columns).rename(columns)
    return published.join(model_columns, on="fact_id", how="left", maintain_order="left").select(
        pl.exclude(last), *last
    )
