"""A small build of invented towns and rivers, made by the real splits stage and the real engine."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dataframely as dy
import polars as pl

from dual_data.calls.fetching import Calls
from dual_data.config import Profile, Services, Strict
from dual_data.engine.run import build as run_build
from dual_data.engine.stage import Result, Stage, Tools
from dual_data.ids import digest, fact_id, label_id
from dual_data.release.build import Build, read_build
from dual_data.released import Release
from dual_data.schema import Facts, Knowledge, Links, Questions, Salience
from pipeline.splits import SPLITS
from tests.pipeline.frames import facts_frame, questions_frame
from tests.tools import without_models

Released = tuple[Release, Path]
"""A release and its folder."""
ROOT = Path(__file__).resolve().parents[2]
MODEL = "made-up/model"
NAMES = ("facts", "links", "questions", "knowledge", "salience", "splits")
STEMS = ("P17", "P19", "P36")
PUBLISHED = [
    "source_csv", "subjectLabel", "relation", "objectLabel", "subject_qid", "property_pid", "object_qid", "question",
    "answer", "pop_subject", "pop_object", "pop_sum", "triple_pop",
]  # fmt: skip
"""Columns of the published dataset, in their order."""
SIZES = {"percents": [5, 10], "smallest": 2, "matched": {"retain_train": 30, "retain_eval": 20}}


class Nothing(Strict):
    """The invented stages have no parameters."""


def world(
    *,
    subjects: int = 60,
    topics: tuple[str, ...] = ("places_town", "places_river"),
    resolved: bool = True,
    spice: str = "",
) -> dict[str, pl.DataFrame]:
    """Frames of the stages before the splits. `spice` is added to labels and answers, as from a hostile source."""
    facts: list[dict[str, Any]] = []
    questions: list[dict[str, Any]] = []
    links: dict[str, int] = {}
    for t, topic in enumerate(topics):
        for s in range(subjects):
            label = f"{topic.partition('_')[2]} {_word(s)}{spice}"
            qid = f"Q{1000 * (t + 1) + s}" if resolved else label_id(label)
            links[qid] = _draw(f"{topic} {s}", 211)
            for stem in STEMS:
                number = _draw(f"{topic} {s} {stem}", 25)
                answer = f"Land {_word(number)}{spice}"
                value = f"Q{90_000 + number}" if resolved else label_id(answer)
                facts.append(
                    {
                        "subject": qid,
                        "relation": stem,
                        "object": value,
                        "topic": topic,
                        "subject_label": label,
                        "object_label": answer,
                        "resolved": resolved,
                    }
                )
                questions.append(_question(fact_id(qid, stem, "entity", value), stem, label, answer))
                links.setdefault(value, 500)
    knowledge = [
        (q["fact_id"], MODEL, "matched", ["Land"], 1, True, False, -1.5, None, None, None) for q in questions[::2]
    ]
    return {
        "facts": facts_frame(facts),
        "links": pl.DataFrame([_link(*counted) for counted in links.items()], schema=Links.create_empty().schema),
        "questions": questions_frame(questions),
        "knowledge": pl.DataFrame(knowledge, schema=Knowledge.create_empty().schema, orient="row"),
        "salience": Salience.create_empty(),
    }


def artifacts(
    root: Path,
    frames: Mapping[str, pl.DataFrame] | None = None,
    *,
    limit: int | None = None,
    git: str = "clean",
    sizes: Mapping[str, Any] = SIZES,
) -> Path:
    """Build the frames (by default `world()`) in a project at `root`, and return its artifacts folder.

    `git` is the state of the project's repository: clean, dirty or none.
    """
    relations = root / "pipeline" / "relations"
    relations.mkdir(parents=True, exist_ok=True)
    for stem in STEMS:
        shutil.copy(ROOT / "pipeline" / "relations" / f"{stem}.toml", relations)
    (root / "pipeline" / "note.toml").write_text("")
    (root / ".gitignore").write_text("artifacts/\n")
    if git != "none":
        _git(root, "init", "-q")
        _git(root, "add", "-A")
        _git(root, "-c", "user.name=made up", "-c", "user.email=made@up.invalid", "commit", "-q", "-m", "all")
    if git == "dirty":
        (root / "pipeline" / "note.toml").write_text("# changed\n")
    chosen = frames or world()
    stages = [_stage(name, chosen[name]) for name in NAMES[:-1]]
    profile = Profile(path=root / "pipeline/made.toml", name="made", services=Services(), stages={"splits": sizes})
    with Calls(root / "artifacts" / "made" / "calls.sqlite") as calls:
        run_build([*stages, SPLITS], without_models(root, Services(), calls, limit), profile)
    return root / "artifacts" / "made"


def invented_build(root: Path, frames: Mapping[str, pl.DataFrame] | None = None, **options: Any) -> Build:
    """The build of `artifacts`, read back."""
    return read_build(artifacts(root, frames, **options), NAMES)


def _stage(name: str, frame: pl.DataFrame) -> Stage:
    schemas: dict[str, type[dy.Schema]] = {
        "facts": Facts, "links": Links, "questions": Questions, "knowledge": Knowledge, "salience": Salience,
    }  # fmt: skip

    def run(params: Nothing, tools: Tools) -> Result:
        return Result(frame, {})

    return Stage(name, 1, run, schemas[name], Nothing)


def _draw(text: str, below: int) -> int:
    return int(digest(text), 16) % below


def _word(number: int) -> str:
    return "".join("bdfgklmnpr"[int(digit)] + "aeiou"[int(digit) % 5] for digit in f"{number:02d}")


def _question(identity: str, stem: str, label: str, answer: str) -> dict[str, Any]:
    return {
        "fact_id": identity,
        "subject": label,
        "question": f"What is the {stem} of {label}?",
        "answer": answer,
        "template_id": f"{stem}@00000000",
        "paraphrases_validation": [f"Tell me the {stem} of {label}."],
        "paraphrases_test": [f"{label} has which {stem}?"],
    }


def _link(qid: str, count: int) -> dict[str, Any]:
    return {"qid": qid, "inbound_links": count, "capped": False, "method": "linkshere", "counted_on": "2024-01-01"}


def _git(root: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True)
