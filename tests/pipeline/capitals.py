"""Facts and questions for the stages that ask models: capitals of countries."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from dual_data.calls.fetching import Calls
from dual_data.config import Pace, Services
from dual_data.engine.stage import Tools
from dual_data.sources.chat.protocol import ChatModel
from tests.pipeline.frames import facts_frame, questions_frame
from tests.tools import no_embedding, no_model

ROOT = Path(__file__).resolve().parents[2]

CAPITALS = {
    "France": "Paris",
    "Germany": "Berlin",
    "Italy": "Rome",
    "Japan": "Tokyo",
    "Spain": "Madrid",
    "Peru": "Lima",
}


SHORT = """+++
version = "short"
system = "Rate how famous a fact is, from 1 2 3 4 5 6 7 8 to 9. Answer with one digit."
labels = ["1", "2", "3", "4", "5", "6", "7", "8", "9"]
[variables]
subject = "json"
relation = "json"
object = "json"
+++
Fact: {subject}, {relation}, {object}
"""
"""A prompt that is short enough for a small model on a busy processor."""


def project(folder: Path, *, short: bool = False) -> Path:
    """A project with the prompts (or a short one for the judge) and the relation `capital` of this repository."""
    shutil.copytree(ROOT / "prompts", folder / "prompts")
    if short:
        (folder / "prompts" / "salience.md").write_text(SHORT, encoding="utf-8")
    (folder / "pipeline" / "relations").mkdir(parents=True)
    shutil.copy(ROOT / "pipeline" / "relations" / "P36.toml", folder / "pipeline" / "relations")
    return folder


def tools(
    folder: Path,
    calls: Calls | None = None,
    *,
    limit: int | None = None,
    open_model: Callable[[str], ChatModel] = no_model,
    open_embedding: Callable[[], Callable[[Sequence[str]], Any]] = no_embedding,
) -> Tools:
    """Tools with a call log in the folder."""
    if calls is None:
        pace = {"judge": Pace(concurrency=2), "probe": Pace(concurrency=2)}
        calls = Calls(folder / "calls.sqlite", pace)
    return Tools(folder, Services(), calls, open_model, open_embedding, limit)


def frames(pairs: Sequence[tuple[str, str]] = tuple(CAPITALS.items())) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The tables facts and questions of (country, capital) pairs; a country's id is made from its position."""
    facts = facts_frame(
        [
            {
                "subject": f"Q{place}",
                "object": f"Q{1000 + place}",
                "topic": "places_country",
                "subject_label": subject,
                "object_label": answer,
            }
            for place, (subject, answer) in enumerate(pairs, 1)
        ]
    )
    questions = questions_frame(
        [
            {
                "fact_id": identity,
                "subject": subject,
                "question": f"What is the capital of {subject}?",
                "answer": answer,
                "paraphrases_validation": [
                    f"Which city is the capital of {subject}?",
                    f"Name the capital of {subject}.",
                    f"What city serves as the capital of {subject}?",
                ],
                "paraphrases_test": [f"{subject} has which city as its capital?"],
            }
            for identity, (subject, answer) in zip(facts["fact_id"], pairs, strict=True)
        ]
    )
    return facts, questions


def by_subject(rows: pl.DataFrame, pairs: Sequence[tuple[str, str]] = tuple(CAPITALS.items())) -> dict[str, Any]:
    """The rows that a stage made of these facts, by the subject of the question."""
    _, questions = frames(pairs)
    return {row["subject"]: row for row in rows.join(questions, on="fact_id").iter_rows(named=True)}
