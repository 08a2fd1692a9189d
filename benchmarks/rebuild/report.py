"""What the rehearsal showed, against the least possible and against the truth."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.rebuild.project import MODEL
from benchmarks.rebuild.run import read_state
from benchmarks.rebuild.truth import Key, Truth, knows, names, truth
from benchmarks.rebuild.world import Rehearsal, project_files
from dual_data.sources.wikidata import Sizes

STAGES = {"facts": "wikidata", "links": "wikipedia", "knowledge": "probe", "salience": "judge"}
GRANTED = {"wikidata": 30, "wikipedia": 200, "judge": 500}
"""Requests a minute that the services grant; for Wikidata's queries, which are limited by time, our own pace."""
PARAPHRASES = 3
KEY = ("subject_qid", "property_id", "object_kind", "object_value")


def report(folder: Path, rehearsal: Rehearsal) -> str:
    """The report as text; as JSON it is written beside the world."""
    state = read_state(folder)
    artifacts = folder / "project" / "artifacts" / "rehearsal"
    tables = {
        name: pl.read_parquet(artifacts / f"{name}.parquet")
        for name in ("facts/data", "links/data", "questions/data", "knowledge/data", "salience/data", "splits/data")
    }
    expected = truth(rehearsal, project_files()[1])
    found = {
        "calls": _calls(folder, rehearsal, tables, state),
        "minutes": _minutes(state, _least(rehearsal, tables)),
        "memory": {"peak_mb": state["peak_bytes"] >> 20, "of_which_services_mb": state["before_bytes"] >> 20},
        "facts": _facts(expected, tables["facts/data"]),
        "recipes": _recipes(rehearsal, expected, tables),
        "confounds": {recipe: _confounds(artifacts, recipe) for recipe in ("paper", "matched")},
        "pieces": state["pieces"],
        "real_minutes": {name: round(seconds / 60, 2) for name, seconds in state["real"].items()},
    }
    (folder / "report.json").write_text(json.dumps(found, indent=1) + "\n")
    return json.dumps(found, indent=1)


def _least(rehearsal: Rehearsal, tables: Mapping[str, pl.DataFrame]) -> dict[str, int]:
    """Fewest calls that give the same rows with the same sizes of a batch."""
    _, relations = project_files()
    sizes = Sizes()
    jobs = sum(
        math.ceil(len(members) / sizes.subjects)
        for topic, members in rehearsal.members.items()
        for relation in relations.values()
        if relation.applies_to(topic)
    )
    facts = tables["facts/data"]
    named = len({*facts["subject_qid"], *facts["object_qid"].drop_nulls()})
    titles = tables["links/data"]["title"].drop_nulls().n_unique()
    questions = tables["questions/data"].height
    return {
        # The classes and the members of each topic, one query each; then statements and entities.
        "wikidata": 2 * len(rehearsal.members) + jobs + math.ceil(named / sizes.entities),
        "wikipedia": 1 + math.ceil(titles / 50),
        "probe": PARAPHRASES * questions,
        "judge": questions,
    }


def _calls(
    folder: Path, rehearsal: Rehearsal, tables: Mapping[str, pl.DataFrame], state: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    log = sqlite3.connect(folder / "project" / "artifacts" / "rehearsal" / "calls.sqlite")
    logged = log.execute("SELECT source, count(*), sum(attempts) FROM calls GROUP BY source").fetchall()
    log.close()
    least = _least(rehearsal, tables)
    found = {}
    for source, answers, attempts in logged:
        seen = state["services"][source]
        found[source] = {
            "least": least[source],
            "answers": answers,
            "requests_sent": seen["requests"],
            "tries_of_answered_calls": attempts,
            "faults": {name: seen.get(name, 0) for name in ("429", "500", "cut", "slow")},
            "over_a_limit": seen.get("too fast", 0) + seen.get("too much processing", 0),
            "sent_during_a_pause": seen.get("during a pause", 0),
        }
    return found


def _minutes(state: Mapping[str, Any], least: Mapping[str, int]) -> dict[str, dict[str, float | None]]:
    """Simulated time of each stage, and the least that the limits allow for the least calls."""
    return {
        stage: {
            "simulated": round(seconds / 60, 1),
            "least": round(least[STAGES[stage]] / GRANTED[STAGES[stage]], 1) if STAGES.get(stage) in GRANTED else None,
        }
        for stage, seconds in state["simulated"].items()
    }


def _keys(frame: pl.DataFrame) -> list[Key]:
    return [(str(a), str(b), str(c), str(d)) for a, b, c, d in frame.select(KEY).iter_rows()]


def _facts(expected: Truth, frame: pl.DataFrame) -> dict[str, int]:
    """Facts that are there and should not be, and the other way round."""
    rows = _keys(frame)
    got = set(rows)
    missing = expected.facts - got
    kept_from_the_other_side = {key for key in missing if expected.mirrored.get(key, set()) & got}
    both = {key for key in got if expected.mirrored.get(key, set()) & got}
    return {
        "expected": len(expected.facts),
        "got": len(got),
        "kept_from_the_other_side": len(kept_from_the_other_side),
        "lost": len(missing - kept_from_the_other_side),
        "invented": len(got - expected.facts),
        "duplicates": len(rows) - len(got) + int(frame["fact_id"].is_duplicated().sum()),
        "mirrored_twice": len(both),
    }


def _recipes(rehearsal: Rehearsal, expected: Truth, tables: Mapping[str, pl.DataFrame]) -> dict[str, dict[str, int]]:
    """`paper` against every candidate with popularity; `matched` against what the truth says survives and is known."""
    facts, questions, links = tables["facts/data"], tables["questions/data"], tables["links/data"]
    rows = questions.join(facts.drop("relation", strict=False), on="fact_id")
    counted = links.filter(pl.col("inbound_links").is_not_null())["qid"].implode()
    both = pl.col("subject_qid").is_in(counted) & pl.col("object_qid").is_in(counted)
    candidates = rows.filter(both.fill_null(False))
    splits = tables["splits/data"]
    paper = splits.filter((pl.col("recipe") == "paper") & (pl.col("split") == "full_"))
    functional = set(_keys(rows.filter(pl.col("functional"))))
    known = tables["knowledge/data"].filter((pl.col("model") == MODEL) & pl.col("known"))["fact_id"]
    linked = rows.filter(pl.col("functional") & pl.col("subject_qid").is_in(counted))
    eligible = set(_keys(linked.filter(pl.col("fact_id").is_in(known.implode()))))
    titled = {qid for qid, item in rehearsal.world.items.items() if item.title}
    called = names(rehearsal)

    def may(keys: set[Key]) -> set[Key]:
        return {k for k in keys if k[0] in titled and k[0] in called and knows(k[0], k[1], rehearsal.links[k[0]])}

    sure, unsure = may(expected.survive), may(expected.unsure)
    return {
        "paper": {"candidates": candidates.height, "in_full": paper.height},
        "askable": {
            "expected": len(expected.survive),
            "expected_if_worded_so": len(expected.unsure),
            "got": len(functional),
            "lost": len(expected.survive - functional),
            "invented": len(functional - expected.survive - expected.unsure),
        },
        "matched": {
            "expected": len(sure),
            "expected_if_worded_so": len(unsure),
            "eligible": len(eligible),
            "lost": len(sure - eligible),
            "invented": len(eligible - sure - unsure),
            "pairs_in_splits": splits.filter(pl.col("recipe") == "matched")["pair"].n_unique(),
        },
    }


def _confounds(artifacts: Path, recipe: str) -> dict[str, dict[str, Any]]:
    """Shares of the commonest relation and answer in the 5 % forget splits of cities: what popularity drags in."""
    path = artifacts / "splits" / "examples" / f"{recipe}.parquet"
    rows = pl.read_parquet(path)
    found = {}
    relation = "relation" if "relation" in rows.columns else "property_pid"
    for side in ("rare", "popular"):
        part = rows.filter(pl.col("split") == f"city_forget_{side}_5")
        if part.height:
            found[side] = {
                "rows": part.height,
                "commonest_relation": _commonest(part[relation]),
                "commonest_answer": _commonest(part["answer"]),
                "distinct_answers": part["answer"].n_unique(),
            }
    return found


def _commonest(column: pl.Series) -> float:
    """Share of the most frequent value."""
    most: int = max(column.value_counts()["count"].to_list())
    return round(most / len(column), 3)
