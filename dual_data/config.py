"""What users edit: the profile (dual.toml), topics.toml and the relation files, as frozen models.

Unknown keys are errors everywhere: a misspelt parameter must never be a silent default.
"""

from __future__ import annotations

import re
import string
import tomllib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from dual_data.errors import ConfigError, InputError
from dual_data.ids import is_item, is_property

Model = TypeVar("Model", bound=BaseModel)


class Strict(BaseModel):
    """Base of every configuration model: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Pace(Strict):
    """How fast and how stubbornly one service is asked."""

    per_minute: int | None = Field(default=None, ge=1)
    """Most requests in any 60 seconds, counted across runs; none for no limit."""
    concurrency: int = Field(default=1, ge=1)
    """Most requests under way at once."""
    attempts: int = Field(default=6, ge=1)
    """Most tries of one request before the stage stops."""
    longest_wait: float = Field(default=300.0, gt=0)
    """Longest wait before the next try in seconds; a service that asks for more stops the run instead."""


PACES: Mapping[str, Pace] = {
    "wikidata": Pace(per_minute=30, concurrency=1),
    "wikipedia": Pace(per_minute=190, concurrency=1),
    "probe": Pace(concurrency=8),
    "judge": Pace(concurrency=8),
    "embedded": Pace(),
    "local": Pace(),
    "own": Pace(),
}
"""Every source that has a pace, and that which it has unless a profile sets another. `local:<model>` is a model in this
process, `own:<name>` a source of a project's own stages; what has no pace of its own takes that before the colon."""
_PREFIXES = ("local:", "own:")


class Services(Strict):
    """Where the services are and how they are treated."""

    contact: str = ""
    """E-mail address or URL of whoever operates this build: the User-Agent policy of the services asks for it.

    The environment variable DUAL_DATA_CONTACT takes precedence.
    """
    sparql: str = "https://query.wikidata.org/sparql"
    """SPARQL 1.1 endpoint with Wikidata's data model, or `embedded` for the snapshot inside the package."""
    wikipedia: str = "https://en.wikipedia.org/w/"
    """URL of the folder that holds api.php: of the English Wikipedia, whose titles Wikidata gives, or of its mirror."""
    pace: dict[str, Pace] = Field(default_factory=lambda: dict(PACES))
    """Pace of each source by name. One that is set here is set whole; the others keep theirs."""

    @field_validator("pace")
    @classmethod
    def _beside_the_defaults(cls, paces: dict[str, Pace]) -> dict[str, Pace]:
        for name in paces:
            if name not in PACES and not name.startswith(_PREFIXES):
                known = ", ".join([*PACES, *(f"{prefix}NAME" for prefix in _PREFIXES)])
                raise ValueError(f"{name!r} is no source; the sources are: {known}")
        return {**PACES, **paces}


class Topic(Strict):
    """A theme: which Wikidata classes its subjects belong to."""

    label: str = Field(min_length=1)
    """Singular English noun for one of its members, such as city."""
    classes: tuple[str, ...] = Field(min_length=1)
    """Wikidata classes (Q-ids) whose members, and members of subclasses, are the subjects."""
    property: str = "P31"
    """How an item belongs to a class: instance of (P31), or for people their occupation (P106)."""
    article: tuple[str, ...] = ()
    """Regular expressions of the labels that take "the" inside a sentence, such as ^United."""
    limit: int = Field(default=1000, ge=1)
    """Most subjects taken."""
    order: Literal["sitelinks", "hash"] = "sitelinks"
    """Which subjects are taken where there are more than the limit: most sitelinks first, or by hash."""

    @field_validator("classes")
    @classmethod
    def _classes_are_items(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        for qid in classes:
            if not is_item(qid):
                raise ValueError(f"{qid!r} is not a Wikidata item id such as Q515")
        return classes

    @field_validator("article")
    @classmethod
    def _article_compiles(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            # Compiled by what matches it: Rust's engine has neither look-around nor backreferences.
            try:
                pl.Series([""]).str.contains(pattern)
            except pl.exceptions.ComputeError as error:
                reason = next(
                    (line for line in str(error).splitlines() if line.startswith("error: ")), "error: not valid"
                )
                raise ValueError(
                    f"{pattern!r} is no regular expression here: {reason.removeprefix('error: ')}"
                ) from None
        return patterns

    @field_validator("property")
    @classmethod
    def _property_is_one(cls, property_id: str) -> str:
        if not is_property(property_id):
            raise ValueError(f"{property_id!r} is not a Wikidata property id such as P31")
        return property_id


class Wording(Strict):
    """The questions of a relation; which of them may be used for what is fixed here."""

    canonical: str
    """The question that is trained and evaluated on."""
    validation: tuple[str, ...] = Field(min_length=1)
    """Used by the knowledge probe alone; an odd number, so that a majority exists."""
    training: tuple[str, ...] = ()
    """May be trained on beside the canonical question."""
    test: tuple[str, ...] = Field(min_length=1)
    """Held out of validation and training: used by tests of generalisation alone."""
    statement: str | None = None
    """Cloze form with {subject} and {answer}."""

    def questions(self) -> tuple[str, ...]:
        """All question templates, the canonical one first."""
        return (self.canonical, *self.validation, *self.training, *self.test)

    @model_validator(mode="after")
    def _variables_and_count(self) -> Wording:
        for template in self.questions():
            _expect_variables(template, ["subject"])
        if self.statement is not None:
            _expect_variables(self.statement, ["subject", "answer"])
        if len(self.questions()) < 4:
            raise ValueError("at least 4 questions are needed: canonical, validation, training and test together")
        if len({template.casefold() for template in self.questions()}) < len(self.questions()):
            raise ValueError("two questions are the same")
        if len(self.validation) % 2 == 0:
            raise ValueError("validation needs an odd number of questions, so that a majority exists")
        return self


def _expect_variables(template: str, wanted: list[str]) -> None:
    try:
        variables = [field for field in string.Formatter().parse(template) if field[1] is not None]
    except ValueError as error:
        raise ValueError(f"{template!r}: {error}") from None
    for _, name, form, conversion in variables:
        if form or conversion:
            raise ValueError(f"{template!r}: write {{{name}}} alone; a conversion or format is not supported")
    if sorted(str(name) for _, name, _, _ in variables) != sorted(wanted):
        expected = " and ".join(f"{{{name}}}" for name in wanted)
        raise ValueError(f"{template!r} must hold {expected} exactly once and no other variable")


class Relation(Strict):
    """One relation: its property, the kind of its objects and how it is asked."""

    property: str
    """Wikidata property id."""
    name: str = Field(min_length=1)
    """English noun phrase of the relation."""
    labels: tuple[str, ...] = ()
    """How label-only tables name it."""
    topics: tuple[str, ...] = Field(min_length=1)
    """Topics that it applies to; ["*"] for all."""
    object: Literal["entity", "date", "quantity", "text"]
    unique: Literal["one", "any"] = "one"
    """one: only pairs with exactly one object are asked; any: all objects are accepted answers."""
    symmetric: bool = False
    """A r B implies B r A: the fact is kept once."""
    inverse: tuple[str, ...] = ()
    """Properties that state the same fact from the other side."""
    precision: Literal["year", "month", "day"] = "year"
    """dates: what is asked for."""
    unit: str | None = None
    """quantities: the unit (Q-id) that is asked for; other units are rejected. None for a plain number."""
    unit_name: str = ""
    """quantities: how the unit is written after the number, such as metres."""
    object_classes: tuple[str, ...] = ()
    """Classes (Q-ids) of accepted objects; none for all."""
    note: str = ""
    questions: Wording

    @model_validator(mode="after")
    def _ids(self) -> Relation:
        if not is_property(self.property):
            raise ValueError(f"property: {self.property!r} is not a Wikidata property id such as P36")
        for key, qids in (("object_classes", self.object_classes), ("unit", (self.unit,) if self.unit else ())):
            for qid in qids:
                if not is_item(qid):
                    raise ValueError(f"{key}: {qid!r} is not a Wikidata item id such as Q515")
        for property_id in self.inverse:
            if not is_property(property_id):
                raise ValueError(f"inverse: {property_id!r} is not a Wikidata property id such as P36")
        return self

    @model_validator(mode="after")
    def _keys_of_the_kind(self) -> Relation:
        for key, kind in _KEYS_OF_ONE_KIND.items():
            if key in self.model_fields_set and self.object != kind:
                raise ValueError(f'{key} belongs to object = "{kind}", and this one is "{self.object}"; leave it out')
        return self

    def applies_to(self, topic: str) -> bool:
        """Whether subjects of `topic` are asked about this relation."""
        return "*" in self.topics or topic in self.topics

    def topics_with(self, other: Relation) -> list[str]:
        """Topics that both apply to, as they are written: "*" where both apply to all."""
        if "*" in self.topics:
            return list(other.topics)
        return [topic for topic in self.topics if other.applies_to(topic)]


_KEYS_OF_ONE_KIND = {"precision": "date", "unit": "quantity", "unit_name": "quantity", "object_classes": "entity"}
"""Keys of a relation that mean something for one kind of object alone."""


_TOPIC = re.compile("[a-z0-9_]+")
"""Names that a release keeps as they are, on file systems without case too."""


class Excluded(Strict):
    """A label of the tables that no relation asks about."""

    reason: str = Field(min_length=1)
    """Why, in one word: the head of EXCLUDED.toml says what each means."""
    topics: tuple[str, ...] = Field(default=("*",), min_length=1)
    """Topics for which it is left out; ["*"] for all."""
    rows: int = Field(default=0, ge=0)
    """Raw rows of the tables that carry it."""
    note: str = ""


class Profile(Strict):
    """One build of the dataset: a TOML file with the parameters of every stage."""

    path: Path
    name: str
    """Folder below artifacts/ that it writes to."""
    services: Services
    stages: Mapping[str, Mapping[str, Any]]
    """Raw parameters by stage name; `params` turns them into a stage's model."""

    def params(self, stage: str, model: type[Model]) -> Model:
        """The parameters of a stage. Raises ConfigError with file and key."""
        return parse(model, dict(self.stages.get(stage, {})), self.path, prefix=stage)


def parse(model: type[Model], data: Mapping[str, Any], path: Path, prefix: str = "") -> Model:
    """Validate `data` as `model`; all that is wrong goes in one ConfigError that names file and keys."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        found = []
        for item in error.errors(include_url=False):
            key = ".".join(str(part) for part in (prefix, *item["loc"]) if part != "")
            message = item["msg"].removeprefix("Value error, ")
            if item["type"] == "extra_forbidden":
                known = ", ".join(sorted(model.model_fields))
                message = f"unknown key; known here: {known}" if len(item["loc"]) == 1 else "unknown key"
            found.append((key, message))
        first_key, first = found[0]
        rest = "".join(f"\n{path}: {key}: {message}" for key, message in found[1:])
        raise ConfigError(first + rest, file=path, key=first_key) from None


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file. Raises ConfigError with the line for broken TOML, InputError where it is absent."""
    return _toml(_bytes(path), path)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder; a TOML file is expected") from None


def _toml(written: bytes, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(written.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"not UTF-8 at byte {error.start}; save the file as UTF-8", file=path) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not valid TOML: {error}", file=path) from None


def load_profile(path: Path) -> Profile:
    """Read a profile such as pipeline/dual.toml."""
    data = read_toml(path)
    project = data.pop("project", {})
    services = parse(Services, data.pop("services", {}), path, prefix="services")
    for key, table in data.items():
        if not isinstance(table, dict):
            raise ConfigError("belongs into a table: [project], [services] or a stage's", file=path, key=key)
    name = project.pop("name", path.stem) if isinstance(project, dict) else ""
    if not isinstance(name, str) or not name or not name.replace("-", "").replace("_", "").isalnum():
        raise ConfigError("must be a plain folder name (letters, digits, - and _)", file=path, key="project.name")
    if project:
        raise ConfigError("unknown key; known here: name", file=path, key=f"project.{next(iter(project))}")
    return Profile(path=path, name=name, services=services, stages=data)


def load_topics(path: Path) -> dict[str, Topic]:
    """Read topics.toml: topics by name, in the order of the file."""
    topics = dict(_topics(_bytes(path), path))
    if not topics:
        raise ConfigError("holds no topic; add a table such as [places_city]", file=path)
    return topics


@lru_cache(maxsize=16)
def _topics(written: bytes, path: Path) -> Mapping[str, Topic]:
    # Read by several stages: what has not changed is parsed once, as relations are.
    found = {}
    for name, data in _toml(written, path).items():
        if not _TOPIC.fullmatch(name):
            raise ConfigError(
                "is no topic's name: splits and files are named after it, so write it in lower-case letters a to z, "
                "digits and _",
                file=path,
                key=name,
            )
        found[name] = parse(Topic, _table(data, path, name), path, name)
    return found


def load_relation(path: Path) -> Relation:
    """Read one relation file; its stem must be the property id, or that and a variant: P17_river.toml."""
    relation = _relation(_bytes(path), path)
    if path.stem.split("_")[0] != relation.property:
        raise ConfigError(f"is {relation.property}, but the file is named {path.name}", file=path, key="property")
    return relation


@lru_cache(maxsize=1024)
def _relation(written: bytes, path: Path) -> Relation:
    # Every stage reads all relations: what has not changed is parsed once.
    return parse(Relation, _toml(written, path), path)


def load_relations(folder: Path) -> dict[str, Relation]:
    """Read every relation file of a folder, by stem. Raises ConfigError where two claim what only one can have."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; relation files are expected there")
    # Not by glob: to that, a folder that may not be read is an empty one.
    paths = sorted(path for path in folder.iterdir() if path.suffix == ".toml" and path.stem != "EXCLUDED")
    if not paths:
        raise InputError(f"{folder}: holds no relation file such as P36.toml")
    relations = {path.stem: load_relation(path) for path in paths}
    if found := list(_double_claims(relations)):
        raise ConfigError("\n".join(f"{folder / stem}.toml: {message}" for stem, message in found))
    return relations


def _double_claims(relations: Mapping[str, Relation]) -> Iterator[tuple[str, str]]:
    """Stem and message: two files of a property in one topic, or two that a label of the tables might mean there."""
    claims: dict[tuple[str, str], list[str]] = {}
    for stem, relation in relations.items():
        for kind, name in [("property", relation.property), *(("label", label) for label in relation.labels)]:
            others = claims.setdefault((kind, name), [])
            for other in others:
                topics = ", ".join(relation.topics_with(relations[other]))
                if topics and kind == "property":
                    yield stem, f"topics: {topics} is claimed by {other}.toml already"
                elif topics and relations[other].property != relation.property:
                    yield stem, f"labels: {name!r} is claimed by {other}.toml already, in {topics}"
            others.append(stem)


def load_excluded(path: Path) -> dict[str, Excluded]:
    """Read relations/EXCLUDED.toml: what is left out on purpose, by label."""
    return {label: parse(Excluded, _table(data, path, label), path, label) for label, data in read_toml(path).items()}


def _table(data: Any, path: Path, key: str) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise ConfigError("must be a table", file=path, key=key)
    return data
