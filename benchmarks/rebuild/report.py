"""The figures of the rehearsal, beside the least possible and the truth."""

from __future__ import annotations

import json
import math
import sqlite3
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.rebuild import compared
from benchmarks.rebuild.confounds import confounds, published_confounds
from benchmarks.rebuild.fault_injection import Limit
from benchmarks.rebuild.project import artifacts_of
from benchmarks.rebuild.run import read_state
from benchmarks.rebuild.services import LIMITS
from benchmarks.rebuild.truth import truth
from benchmarks.rebuild.world import Rehearsal, project_files
from dual_data.sources.wikidata.statements import Sizes

STAGES = {"facts": "wikidata", "links": "wikipedia", "knowledge": "probe", "salience": "judge"}
TABLES = (
    "facts/data links/data questions/data knowledge/data salience/data splits/data splits/capacity".split()  # noqa: SIM905
)


def report(folder: Path, rehearsal: Rehearsal, published: Path | None = None) -> dict[str, Any]:
    """The figures of a finished run. `published` is the folder of the published splits, to compare with ours."""
    state = read_state(folder)
    artifacts = artifacts_of(folder / "project")
    tables = {name: pl.read_parquet(artifacts / f"{name}.parquet", glob=False) for name in TABLES}
    expected = truth(rehearsal, project_files()[1])
    pace = tomllib.loads((folder / "project" / "pipeline" / "dual.toml").read_text("utf-8"))["services"]["pace"]
    least = _least(rehearsal, tables)
    one_sided = {
        recipe: confounds(rehearsal, artifacts / f"splits/examples/{recipe}.parquet") for recipe in _recipes(tables)
    }
    world = rehearsal.world
    return {
        "world": {
            "topics": len(rehearsal.members),
            "items": len(world.items),
            "statements": len(world.statements),
            "links": _spread(rehearsal.links.values()),
        },
        "traps": dict(rehearsal.planted),
        "calls": _calls(artifacts, least, pace, state),
        "minutes": _minutes(state, least, pace),
        "memory": {"peak_mb": state["peak_bytes"] >> 20, "of_which_services_mb": state["before_bytes"] >> 20},
        "facts": compared.facts(expected, tables),
        "rejects": compared.rejects(expected, artifacts),
        "known_by_alias": compared.by_alias(tables),
        "recipes": {
            "askable": compared.askable(expected, tables),
            "paper": compared.paper(rehearsal, expected, tables),
            "matched": compared.matched(rehearsal, expected, tables),
        },
        "confounds": {"published": published_confounds(rehearsal, published) if published else {}, **one_sided},
        "pieces": state["pieces"],
        "real_minutes": {name: round(seconds / 60, 2) for name, seconds in state["real"].items()},
    }


def together(path: Path, figures: Mapping[str, Any]) -> dict[str, Any]:
    """Figures and, of a JSON file that may be there, those of other names, as a JSON file has them."""
    before = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    merged: dict[str, Any] = json.loads(json.dumps({**before, **figures}))
    return merged


def record(path: Path, figures: Mapping[str, Any]) -> dict[str, Any]:
    """Write these figures together to the file, and return them."""
    merged = together(path, figures)
    path.write_text(json.dumps(merged, indent=1) + "\n", "utf-8")
    return merged


def _spread(counts: Iterable[int]) -> dict[str, int]:
    """Median, 99th percentile and maximum."""
    ordered = sorted(counts)
    return {"median": ordered[len(ordered) // 2], "p99": ordered[99 * len(ordered) // 100], "most": ordered[-1]}


def _recipes(tables: Mapping[str, pl.DataFrame]) -> list[str]:
    recipes = set(tables["splits/data"]["recipe"])
    return [recipe for recipe in ("paper", "matched", "matched_answer") if recipe in recipes]


def _least(rehearsal: Rehearsal, tables: Mapping[str, pl.DataFrame]) -> dict[str, int]:
    """Fewest calls that give the same rows with the same batch sizes."""
    _, relations = project_files()
    sizes = Sizes()
    jobs = sum(
        math.ceil(len(members) / sizes.subjects)
        for topic, members in rehearsal.members.items()
        for relation in relations.values()
        if relation.applies_to(topic)
    )
    facts, questions = tables["facts/data"], tables["questions/data"]
    entity_count = len({*facts["subject_qid"], *facts["object_qid"].drop_nulls()})
    titles = tables["links/data"]["title"].drop_nulls().n_unique()
    questions_by_rule = {"matched": int(questions["paraphrases_validation"].list.len().sum())}
    questions_by_rule["paper"] = compared.SAMPLES * questions.height
    return {
        # The classes and the members of each topic, one query each; then statements and entities.
        "wikidata": 2 * len(rehearsal.members) + jobs + math.ceil(entity_count / sizes.entities),
        "wikipedia": 1 + math.ceil(titles / 50),
        "probe": sum(questions_by_rule[rule] for rule in tables["knowledge/data"]["rule"].unique()),
        "judge": questions.height,
    }


def _calls(
    artifacts: Path, least: Mapping[str, int], pace: Mapping[str, Any], state: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    log = sqlite3.connect(artifacts / "calls.sqlite")
    rows = log.execute(
        "SELECT source, count(*), sum(attempts) FROM calls WHERE source NOT LIKE 'local:%' GROUP BY source"
    ).fetchall()
    log.close()
    figures = {}
    for source, answers, attempts in rows:
        counts = state["services"][source]
        refused = sum(count for name, count in counts.items() if name.startswith("429"))
        figures[source] = {
            "least": least[source],
            "answers": answers,
            "requests_sent": counts["requests"],
            "tries_of_answered_calls": attempts,
            "faults": {name: counts.get(name, 0) for name in ("429", "500", "cut", "slow")},
            "over_a_limit": counts.get("too fast", 0) + counts.get("too much processing", 0),
            "sent_during_a_pause": counts.get("during a pause", 0),
            # The requests that were under way together with the one that was told to wait.
            "under_way_at_a_pause_at_most": (pace[source]["concurrency"] - 1) * refused,
        }
    return figures


def _minutes(
    state: Mapping[str, Any], least: Mapping[str, int], pace: Mapping[str, Any]
) -> dict[str, dict[str, float | None]]:
    """Simulated minutes of each stage, and the least for the fewest calls by the services' limits and by our pace."""

    def floor(stage: str, per_minute: float | None) -> float | None:
        return None if per_minute is None else round(least[STAGES[stage]] / per_minute, 1)

    figures = {}
    for stage, seconds in state["simulated"].items():
        source = STAGES.get(stage, "")
        figures[stage] = {
            "simulated": round(seconds / 60, 1),
            "least_by_the_limits": floor(stage, _granted(LIMITS[source]) if source else None),
            "least_by_our_pace": floor(stage, pace[source].get("per_minute") if source else None),
        }
    return figures


def _granted(limit: Limit) -> float | None:
    """Requests per minute that a limit allows; one of processing time is divided by the time of an answer."""
    return limit.processing / limit.seconds if limit.processing is not None else limit.per_minute
