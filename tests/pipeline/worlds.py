"""Made-up worlds of a few hundred facts, and their splits."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import polars as pl
import pytest
from hypothesis import settings
from hypothesis import strategies as st

from dual_data.engine.stage import Result, Tools
from dual_data.schema import Knowledge, Links, Salience
from pipeline import questions
from pipeline.splits import SplitsParams, run
from tests.pipeline.frames import facts_frame, tools, write_relation

RELATIONS = ("P36", "P17", "P26")


TOPICS = ("places_city", "human_writer")


MODEL = "some/model-1B"


class World(NamedTuple):
    """The inputs of the stage."""

    facts: pl.DataFrame
    links: pl.DataFrame
    questions: pl.DataFrame
    knowledge: pl.DataFrame
    salience: pl.DataFrame


Draw = Callable[[int], tuple[World, Result]]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tools]:
    root = tmp_path_factory.mktemp("project")
    write_relation(root, "P36", "capital")
    write_relation(root, "P17", "country")
    write_relation(root, "P26", "spouse", symmetric=True)
    with tools(root) as kit:
        yield kit


def drawn_facts(seed: int, count: int) -> list[dict[str, Any]]:
    """Facts of two topics, with random popularity; some answers are common, some facts have a mirror image."""
    rng = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for number in range(count):
        topic = rng.choice((TOPICS[0], TOPICS[0], TOPICS[1]))
        for relation in rng.sample(RELATIONS, rng.randint(1, 3)):
            if relation == "P26":
                value = f"Q{1 + rng.randrange(count)}"
            else:
                value = f"Q{5000 + int(rng.paretovariate(0.6)) % 60}"
                if number % 6 < 2 and relation == ("P36", "P17")[number % 2]:
                    value = f"Q{1 + (number ^ 1)}"
            rows.append(
                {
                    "subject": f"Q{1 + number}",
                    "relation": relation,
                    "object": value,
                    "topic": topic,
                    "subject_label": f"Name{number}",
                    "object_label": f"Person{value}"
                    if relation == "P26"
                    else f"Place{'x' * (int(value[1:]) % 3)}{value}",
                    "subject_mentions": 1 + int(rng.paretovariate(0.8)) % 500,
                    "object_mentions": 1 + int(value[1:]) % 97,
                    "objects_of_pair": 2 if rng.random() < 0.1 else 1,
                }
            )
    return rows


def world(project: Tools, rows: list[dict[str, Any]]) -> World:
    facts = facts_frame(rows)
    frame = questions.run(questions.QuestionsParams(), project, facts=facts)
    accepted = frame.filter(pl.col("reason").is_null()).drop("reason")
    return World(facts, Links.create_empty(), accepted, Knowledge.create_empty(), Salience.create_empty())


def drawn_world(project: Tools, seed: int, count: int) -> World:
    return world(project, drawn_facts(seed, count))


@pytest.fixture(scope="module")
def draw(project: Tools) -> Draw:
    """Draws a world and makes its splits, once per seed: many properties are tested on the same worlds."""
    worlds: dict[int, tuple[World, Result]] = {}

    def draw(seed: int) -> tuple[World, Result]:
        if seed not in worlds:
            inputs = drawn_world(project, seed, 260)
            worlds[seed] = inputs, make_splits(project, inputs)
        return worlds[seed]

    return draw


def params(**changes: Any) -> SplitsParams:
    """Parameters with mentions as the signal, and sizes that a small world can fill."""
    fields: dict[str, Any] = {
        "percents": (2, 4, 8),
        "smallest": 2,
        "matched": {"signal": "mentions", "answer_share": 0.3, "retain_train": 40, "retain_eval": 20},
        "paper": {"signal": "mentions", "retain": (10, 30)},
    }
    fields.update(changes)
    return SplitsParams.model_validate(fields)


def make_splits(project: Tools, inputs: World, chosen: SplitsParams | None = None) -> Result:
    return run(chosen or params(), project, **inputs._asdict())


def by_split(result: Result, recipe: str) -> dict[str, pl.DataFrame]:
    frame = result.tables[f"examples/{recipe}"]
    return {str(name): split for (name,), split in frame.group_by("split", maintain_order=True)}


def families(splits: dict[str, pl.DataFrame]) -> dict[str, dict[str, pl.DataFrame]]:
    by_family: dict[str, dict[str, pl.DataFrame]] = {}
    for name, split in splits.items():
        prefix = next(prefix for prefix in ("city", "writer", "all") if name.startswith(f"{prefix}_"))
        by_family.setdefault(prefix, {})[name.removeprefix(f"{prefix}_")] = split
    return by_family


SEEDS = st.integers(0, 2**32)


few = settings(max_examples=12, deadline=None)


MATCHED = ("matched", "matched_answer")
