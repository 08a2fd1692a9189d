"""The probe and the judge on a real small model, for a sample of the rehearsal's facts, on the real clock.

The items have made-up ids and real labels, so that the model is asked real questions. Which facts it knows tells
something about models of this size, and nothing about the world.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.rebuild.kill import logged
from benchmarks.rebuild.project import artifacts_of
from benchmarks.rebuild.run import OutOfTime, limited
from dual_data.engine.stage import Result, Stage, Tools
from dual_data.project.loading import Project, load_project
from tests.faults.proxy import Fault, Request, proxy
from tests.services.llama import KEY, MODEL, llama
from tests.services.process import free_port

STATE = "real.json"
KEY_NAME = "REHEARSAL_KEY"
PROFILE = """\
[project]
name = "real"

[services]
contact = "rehearsal@example.org"

[services.pace]
probe = {{ concurrency = 1 }}
judge = {{ concurrency = 1 }}

[knowledge]
sample = {facts}

[[knowledge.models]]
name = "{model}"
endpoint = {{ base_url = "{url}/v1", model = "{model}", api_key_env = "{key}" }}

[salience]
sample = {facts}
endpoint = {{ base_url = "{url}/v1", model = "{model}", api_key_env = "{key}" }}
"""


def real_piece(folder: Path, facts: int, seconds: float) -> dict[str, Any]:
    """Ask for at most `seconds`, and return the state afterwards; `done` says whether everything is answered.

    `folder` holds a finished run, whose facts and questions are asked.
    """
    path = folder / STATE
    state: dict[str, Any] = {"port": free_port(), "requests": 0, "repeated": 0, "pieces": 0, "seconds": {}}
    if path.is_file():
        state = json.loads(path.read_text("utf-8"))
    request_count = 0

    def count(_: Request) -> Fault | None:
        nonlocal request_count
        request_count += 1
        return None

    with proxy(llama().root, port=state["port"]) as front:
        front.when, front.keep = count, False
        os.environ[KEY_NAME] = KEY
        profile = folder / "project" / "pipeline" / "real.toml"
        profile.write_text(PROFILE.format(facts=facts, model=MODEL, url=front.url, key=KEY_NAME), "utf-8")
        loaded = load_project(folder / "project", "real")
        before = logged(loaded.artifacts)
        try:
            with limited(seconds):
                _ask(folder, loaded, state["seconds"])
            state["done"] = True
        except OutOfTime:
            state["done"] = False
        after = logged(loaded.artifacts)
    state["pieces"] += 1
    state["requests"] += request_count
    state["repeated"] += sum(after.get(key) != row for key, row in before.items())
    path.write_text(json.dumps(state, indent=1), "utf-8")
    return state


def real_report(folder: Path) -> dict[str, Any]:
    """What the model knew, how well it kept to the judge's scale, and how much was lost or asked twice."""
    state = json.loads((folder / STATE).read_text("utf-8"))
    loaded = load_project(folder / "project", "real")
    probe, salience = (
        pl.read_parquet(loaded.artifacts / f"{name}.parquet", glob=False) for name in ("knowledge", "salience")
    )
    questions = _rows(folder, "questions")
    stage = next(stage for stage in loaded.stages if stage.name == "salience")
    params: Any = loaded.profile.params("salience", stage.params)
    sample = min(questions.height, params.sample)
    # Where the labels have a low mass, answers are sampled and read as text.
    sampled = params.samples * int(salience["low_mass"].sum())
    return {
        "model": MODEL,
        "facts": sample,
        "lost": 2 * sample - probe["fact_id"].n_unique() - salience["fact_id"].n_unique(),
        "known_share": _mean(probe["known"]),
        "known_share_by_links": _by_links(folder, probe),
        "control_known": int(probe["control_known"].sum()),
        "label_mass": {
            "mean": _mean(salience["mass"]),
            "quartiles": [_rounded(salience["mass"].quantile(q, "linear")) for q in (0.25, 0.5, 0.75)],
            "low": int(salience["low_mass"].sum()),
        },
        "parse_failures": {
            "sampled_answers": sampled,
            "unread": sampled - int(salience["samples"].sum()),
            "facts_without_score": int(salience["score"].is_null().sum()),
        },
        "score_mean": _mean(salience["score"]),
        "answers": len(logged(loaded.artifacts)),
        "requests_sent": state["requests"],
        "answered_calls_asked_again": state["repeated"],
        "pieces": state["pieces"],
        "minutes": {name: round(seconds / 60, 1) for name, seconds in state["seconds"].items()},
    }


def _rows(folder: Path, stage: str) -> pl.DataFrame:
    return pl.read_parquet(artifacts_of(folder / "project") / stage / "data.parquet", glob=False)


def _ask(folder: Path, loaded: Project, seconds: dict[str, float]) -> None:
    """Run the two stages that ask models over the tables of the rehearsal; answers stay in the log."""
    tables = {name: _rows(folder, name) for name in ("facts", "questions")}
    tools = loaded.tools()
    stages = {stage.name: stage for stage in loaded.stages}
    with tools.calls:
        for name in ("knowledge", "salience"):
            began = time.monotonic()
            try:
                table = _run(stages[name], loaded, tools, tables)
            finally:
                seconds[name] = seconds.get(name, 0.0) + time.monotonic() - began
            table.write_parquet(loaded.artifacts / f"{name}.parquet")


def _run(stage: Stage, loaded: Project, tools: Tools, tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    result = stage.run(loaded.profile.params(stage.name, stage.params), tools, **tables)
    return result.rows if isinstance(result, Result) else result


def _by_links(folder: Path, probe: pl.DataFrame) -> dict[str, float | None]:
    """Known shares of the third of the facts whose subjects have the fewest links, and of the third with the most."""
    facts, links = (_rows(folder, name) for name in ("facts", "links"))
    link_counts = links.select(subject_qid="qid", links="inbound_links")
    rows = probe.join(facts.select("fact_id", "subject_qid"), on="fact_id").join(link_counts, on="subject_qid")
    ordered = rows.filter(pl.col("links").is_not_null()).sort("links", "fact_id")["known"]
    third = len(ordered) // 3
    return {"lowest_third": _mean(ordered.head(third)), "highest_third": _mean(ordered.tail(third))}


def _mean(column: pl.Series) -> float | None:
    return _rounded(column.cast(pl.Float64).mean())


def _rounded(value: Any) -> float | None:
    return None if value is None else round(float(value), 3)
