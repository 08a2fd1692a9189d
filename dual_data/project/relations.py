"""Adding a relation: a file to fill in, and a preview of its questions."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from dual_data.config import RELATIONS, TOPICS, Relation, load_relation, load_relations, load_topics
from dual_data.config.files import PROPERTY_ID
from dual_data.engine.places import command
from dual_data.engine.stage import Result, Tools, needed
from dual_data.engine.tables import Settled, settle
from dual_data.errors import ConfigError, InputError, UsageError
from dual_data.project.loading import Project
from dual_data.system.files import write_text
from dual_data.text.display import count, did_you_mean

SKELETON = """\
property = "{property}"
name = ""                 # noun phrase of the relation, such as "capital"
labels = []               # how tables without ids name it
topics = []               # names of pipeline/topics.toml; ["*"] for all
object = "entity"         # entity, date, quantity or text
# precision = "year"      # dates: year, month or day, whatever the questions ask for
# unit = "Q11573"         # quantities: the item of the unit that is asked for; none for plain numbers
# unit_name = "m"         # quantities: how the unit is written after the number
unique = "one"            # one: only pairs with exactly one object; any: several are accepted
# symmetric = true        # entities: the relation holds in both directions, as between spouses; one is asked
# inverse = ["P1376"]     # entities: properties that state the same from the other side, as capital and capital of

[questions]
canonical = "What is the ... of {{subject}}?"
validation = ["", "", ""] # asked by the knowledge probe alone; an odd number
training = [""]           # may be trained on
test = [""]               # held out of everything but tests
statement = "The ... of {{subject}} is {{answer}}."
"""

FIRST_OWN = 1_000_000
"""Number of the first id that Wikidata will not reach soon: relations of tables alone take theirs from here."""
WIDENING = (1, 20, 400)
"""Factors by which the number of subjects grows, step by step, while too few have the relation."""
HINTS = {
    "wrong_kind": 'object = "{object}" may be the wrong kind for such objects{forms}',
    "wrong_class": "object_classes may lack the class of such objects",
    "precision_too_low": 'precision = "{precision}" may be finer than such dates',
    "unit_not_asked": "unit must be the item after the number, and be left out if there is none",
}
"""What to look at in the relation's file, by the reason of a reject."""
FORMS = {
    "date": "; tables write dates as 1889-03-31, March 1889 or 1889",
    "quantity": "; tables write numbers as 1,234.5, alone or before the id of the unit (324 Q11573) or the unit_name",
}
"""How tables must write values, by the kind of object."""
_SUBJECT = ("subject_label", "subject_qid")
_OBJECT = ("object_label", "object_value")
"""Columns with the name of a statement's subject and object, the best first."""


class Preview(NamedTuple):
    """One question as the build would make it."""

    question: str
    answers: tuple[str, ...]
    paraphrases: tuple[str, ...]
    left_out: tuple[str, ...]
    """By use, how many of the relation's other wordings the build would leave out for this fact."""
    reason: str
    """Why the build would reject it; empty if it would not."""


class Rejected(NamedTuple):
    """Statements, of those taken for the preview, that the build would reject for one reason and that are not shown."""

    reason: str
    statements: int
    sample: str
    """Subject, or question, and object of one of them, as far as they are known."""
    hint: str
    """What may be wrong in the relation's file; empty if nothing points to it."""


class Previewed(NamedTuple):
    """What a relation gives at a source."""

    questions: list[Preview]
    rejected: list[Rejected]
    """The most frequent reason first."""
    statements: int
    """How many were taken for the preview."""
    has_several: bool
    """Whether a subject may have several objects: others than those taken are accepted too."""


def new_relation(folder: Path, stem: str) -> Path:
    """Write a relation file to fill in. Raises UsageError for a wrong id or an existing file."""
    _expect_id(
        stem,
        "use a property id, or a property id and a variant: P36, P17_river. A relation that Wikidata does not have "
        f"takes an id of your own from P{FIRST_OWN} to P999999999",
    )
    path = folder / f"{stem}.toml"
    if path.exists():
        raise UsageError(f"{path}: exists already; choose a variant such as {stem}_variant")
    write_text(path, SKELETON.format(property=stem.partition("_")[0]))
    return path


def is_own(stem: str) -> bool:
    """Whether the relation has an id of the project's own, which Wikidata does not have."""
    return int(stem.partition("_")[0][1:]) >= FIRST_OWN


def _expect_id(stem: str, advice: str) -> None:
    if re.fullmatch(rf"{PROPERTY_ID}(_[a-z0-9_]+)?", stem) is None:
        raise UsageError(f"{stem}: not the id of a relation; {advice}")


def preview_relation(project: Project, stem: str, limit: int, faulty: Callable[[ConfigError], object]) -> Previewed:
    """At most `limit` questions of one relation, rejected ones last, and why there are not more.

    Nothing is stored but the calls. Starts with few subjects and takes more while too few of them have the relation.
    `faulty` takes the errors of other relation files.
    """
    relations = project.root / RELATIONS
    if stem == Path(stem).name or Path(stem).resolve().parent == relations.resolve():
        stem = Path(stem).name.removesuffix(".toml")
    path = relations / f"{stem}.toml"
    if not path.is_file():
        shown = command(project.root, "relations list")
        _expect_id(stem, f"name it by its id as {shown} shows it, such as P36 or P17_river, or by its file")
        variants = sorted(file.stem for file in relations.glob(f"{stem}_*.toml"))
        there = f" (but there is {', '.join(variants)})" if variants else ""
        new = command(project.root, f"relations new {stem}")
        raise InputError(f"{path}: no such relation{there}; make it with: {new}")
    relation = load_relation(path)
    _expect_no_conflict(path, faulty)
    _expect_topics(project, path, relation)
    tools = project.tools()
    with tools.calls:
        for widening in WIDENING:
            narrowed = replace(tools, alone=stem, limit=limit * widening)
            (questions, rejected), before = _questions(project, narrowed)
            # More subjects would hardly help where every statement is rejected.
            if questions.height >= limit or (questions.is_empty() and before.height >= limit):
                break
    rows = pl.concat([questions.with_columns(reason=pl.lit("")), rejected], how="diagonal_relaxed")
    untold = rejected.slice(max(limit - questions.height, 0)).select(
        "reason", subject_label="question", object_label=pl.col("answers").list.first()
    )
    others = _by_reason(pl.concat([before, untold], how="diagonal_relaxed"), relation)
    previews = [_preview(row, relation) for row in rows.head(limit).iter_rows(named=True)]
    return Previewed(previews, others, before.height + rows.height, relation.unique == "any")


def _expect_no_conflict(path: Path, faulty: Callable[[ConfigError], object]) -> None:
    """Raise ConfigError where another relation file conflicts with this one, so that the build would refuse both."""
    try:
        load_relations(path.parent, faulty)
    except ConfigError as error:
        if conflicts := [line for line in str(error).split("\n") if path.name in line]:
            raise ConfigError("\n".join(conflicts)) from None


def _expect_topics(project: Project, path: Path, relation: Relation) -> None:
    """Raise ConfigError for a topic that is not in topics.toml, and where the profile builds none of the relation's."""
    known = load_topics(project.root / TOPICS)
    if unknown := [topic for topic in relation.topics if topic != "*" and topic not in known]:
        faults = [f"{topic!r} is not in {TOPICS}{did_you_mean(topic, known)}" for topic in unknown]
        raise ConfigError("\n".join(f"{path}: topics: {fault}" for fault in faults))
    params = [project.profile.params(stage.name, stage.params) for stage in project.stages if stage.name == "facts"]
    built = getattr(params[0], "topics", ()) if params else ()
    # The stage itself tells a topic of the profile that does not exist.
    if built and known.keys() >= set(built) and not any(map(relation.applies_to, built)):
        raise ConfigError(
            f"the profile {project.profile.path} builds none of {', '.join(relation.topics)}; its topics under [facts] "
            f"are {', '.join(built)}: name one of them, or take another profile",
            file=path,
            key="topics",
        )


def _questions(project: Project, tools: Tools) -> tuple[Settled, pl.DataFrame]:
    """What the stage questions returns, and the relation's rows that the stages before it reject, run in memory."""
    frames: dict[str, pl.DataFrame] = {}
    before = [pl.DataFrame(schema=dict.fromkeys(("reason", *_SUBJECT, *_OBJECT), pl.String))]
    if "questions" not in {stage.name for stage in project.stages}:
        raise UsageError("the pipeline of this project has no stage called questions, so nothing can be previewed")
    for stage in needed(project.stages, ["questions"]):
        params = project.profile.params(stage.name, stage.params)
        with project.profile.named_in_errors():
            returned = stage.run(params, tools, **{name: frames[name] for name in stage.inputs})
        rows = returned.rows if isinstance(returned, Result) else returned
        settled = settle(rows, stage.schema, stage.name)
        frames[stage.name] = settled.rows
        if stage.name != "questions" and "relation" in settled.rejected.columns:
            # With tables, the rows of all other relations are rejected too, because this one is alone here.
            before.append(settled.rejected.filter(pl.col("relation") == tools.alone))
    return settled, pl.concat(before, how="diagonal_relaxed")


def _by_reason(rows: pl.DataFrame, relation: Relation) -> list[Rejected]:
    """Rejected rows by reason, with a sample that has labels if there is one."""
    groups = (
        rows.sort(pl.col("subject_label").is_null(), maintain_order=True)
        .with_columns(sample=pl.concat_str(*map(pl.coalesce, (_SUBJECT, _OBJECT)), separator=": ", ignore_nulls=True))
        .group_by("reason", maintain_order=True)
        .agg(pl.len(), pl.col("sample").first())
        .sort("len", "reason", descending=[True, False])
    )
    keys = {**relation.model_dump(), "forms": FORMS.get(relation.object, "")}
    return [
        Rejected(reason, amount, sample, HINTS.get(reason, "").format(**keys))
        for reason, amount, sample in groups.iter_rows()
    ]


def _preview(row: dict[str, Any], relation: Relation) -> Preview:
    _, *uses = relation.questions.by_use().items()
    asked = {use: tuple(row[f"paraphrases_{use}"] or ()) for use, _ in uses}
    fewer = {use: (len(texts) - len(asked[use]), len(texts)) for use, texts in uses if not row["reason"]}
    return Preview(
        question=row["question"] or "",
        answers=tuple(row["answers"] or ()),
        paraphrases=tuple(f"{use}: {text}" for use, texts in asked.items() for text in texts),
        left_out=tuple(
            f"{number} of {count(total, f'{use} wording')}" for use, (number, total) in fewer.items() if number
        ),
        reason=row["reason"] or "",
    )
