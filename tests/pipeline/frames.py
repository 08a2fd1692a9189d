"""Small frames of facts and questions with the columns of the schema, for the tests of all that reads them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from dual_data.calls.fetching import Calls
from dual_data.config import Services
from dual_data.engine.stage import Tools
from dual_data.ids import fact_id
from dual_data.schema import Facts, Questions
from tests.tools import without_models

TOPICS = """
[places_city]
classes = ["Q515"]
article = ["^The Hague$", " Islands$"]

[human_writer]
classes = ["Q36180"]
property = "P106"
"""

RELATION = """
property = "{property}"
name = "{name}"
labels = ["{name}"]
topics = ["*"]
object = "{kind}"
unique = "{unique}"
symmetric = {symmetric}
{extra}
[questions]
canonical = "What is the {name} of {{subject}}?"
validation = ["Name the {name} of {{subject}}."]
training = ["Which {name} has {{subject}}?"]
test = ["{{subject}} has which {name}?"]
statement = "The {name} of {{subject}} is {{answer}}."
"""


def write_relation(
    root: Path,
    stem: str,
    name: str,
    *,
    kind: str = "entity",
    unique: str = "one",
    symmetric: bool = False,
    extra: str = "",
) -> None:
    """Write a relation file below a project's root, and the topics file beside it."""
    folder = root / "pipeline" / "relations"
    folder.mkdir(parents=True, exist_ok=True)
    (root / "pipeline" / "topics.toml").write_text(TOPICS, encoding="utf-8")
    property_id = stem.partition("_")[0]
    flag = str(symmetric).lower()
    text = RELATION.format(property=property_id, name=name, kind=kind, unique=unique, symmetric=flag, extra=extra)
    (folder / f"{stem}.toml").write_text(text, encoding="utf-8")


@contextmanager
def tools(root: Path, limit: int | None = None) -> Iterator[Tools]:
    """Tools of a stage that makes no call."""
    with Calls(root / "calls.sqlite", read_only=True) as calls:
        yield without_models(project=root, services=Services(), calls=calls, limit=limit)


def facts_frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """A valid facts frame; each row may give any column, and must give subject, relation and object as ids."""
    full = [_fact(dict(row)) for row in rows]
    return Facts.validate(pl.DataFrame(full, schema=Facts.create_empty().schema))


def _fact(row: dict[str, Any]) -> dict[str, Any]:
    subject, relation = row.pop("subject"), row.pop("relation", "P36")
    kind = row.get("object_kind", "entity")
    value = row.pop("object")
    property_id = relation.partition("_")[0]
    return {
        "fact_id": fact_id(subject, property_id, kind, value),
        "topic": "places_city",
        "relation": relation,
        "property_id": property_id,
        "subject_qid": subject,
        "subject_label": f"Subject {subject}",
        "subject_aliases": [],
        "subject_description": None,
        "subject_sitelinks": None,
        "subject_title": None,
        "subject_mentions": 1,
        "object_kind": kind,
        "object_value": value,
        "object_qid": value if kind == "entity" else None,
        "object_label": f"Object{value}",
        "object_aliases": [],
        "object_description": None,
        "object_sitelinks": None,
        "object_title": None,
        "object_mentions": 1,
        "objects_of_pair": 1,
        "resolved": True,
        **row,
    }


def questions_frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """A valid questions frame; rows must give all texts but aliases, statement and wordings for training."""
    constant = {"template_id": "P36@00000000", "paraphrases_training": [], "functional": True}
    full = [constant | {"answers": [row["answer"]]} | dict(row) for row in rows]
    return Questions.validate(pl.DataFrame(full, schema=Questions.create_empty().schema))
