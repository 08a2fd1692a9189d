"""Relations: what is asked and how, one file each, and EXCLUDED.toml for what is not asked."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from dual_data.config.files import Item, Property, Strict, each_once, parse, parse_toml, read_text, read_toml
from dual_data.config.places import TOPICS
from dual_data.errors import ConfigError, InputError
from dual_data.text.words import clean, words

TO_FILL_IN = "..."
"""Placeholder for missing words in the skeleton of a relation file."""
_ARTICLE = re.compile(r"\bthe\s+\{subject\}", re.IGNORECASE)
# Other spaces are not at fault: French has one before a question mark.
_STRAY = re.compile(r"[\x00-\x1f\x7f-\x9f]|  |^ | $")
# Other scripts have marks of their own, or none.
_UNENDED = re.compile(r"[A-Za-z0-9}]$")


def wording_key(template: str) -> str:
    """What two templates share that differ only in case, accents, punctuation or spaces: their words."""
    return " ".join(words(template))


def _template(template: str, *wanted: str) -> str:
    """Validator that returns the template. Raises ValueError for other variables than `wanted`, an article, stray
    spaces and control characters, or words that are still to be filled in."""
    if TO_FILL_IN in template:
        raise ValueError(f"{template!r} is not filled in; replace {TO_FILL_IN!r} with words")
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
    if _STRAY.search(template):
        raise ValueError(f"{template!r}: write it in one line without tabs, and single spaces between words alone")
    if article := _ARTICLE.search(template):
        raise ValueError(
            f"{template!r}: write {{subject}} in place of {article[0]!r}; "
            f'`article` of its topic in {TOPICS} says which labels take "the"'
        )
    return template


def _question(template: str) -> str:
    """Validator that returns the template of a question. Raises ValueError as `_template`, and for one without a mark
    at its end."""
    if _UNENDED.search(_template(template, "subject")):
        raise ValueError(f"{template!r}: end it with a question mark, or with a full stop if it is an instruction")
    return template


def _label(text: str) -> str:
    """Validator that returns the cleaned label. Raises ValueError where nothing is left of it."""
    if not (label := clean(text)):
        raise ValueError("is empty")
    return label


Question = Annotated[str, AfterValidator(_question)]
Statement = Annotated[str, AfterValidator(lambda template: _template(template, "subject", "answer"))]


class Wording(Strict):
    """The questions of a relation, by permitted use."""

    canonical: Question
    """The question that a fact is trained and evaluated on."""
    validation: tuple[Question, ...] = Field(min_length=1)
    """Used by the knowledge probe alone; an odd number, so that a majority exists."""
    training: tuple[Question, ...] = ()
    """May be trained on in addition to the canonical question."""
    test: tuple[Question, ...] = Field(min_length=1)
    """Held out of validation and training; used only to test generalisation."""
    statement: Statement | None = None
    """A sentence that states the fact, with {subject} and {answer}: published, and used by nothing here."""

    def by_use(self) -> dict[str, tuple[str, ...]]:
        """The question templates by permitted use."""
        return {
            "canonical": (self.canonical,),
            "validation": self.validation,
            "training": self.training,
            "test": self.test,
        }

    def questions(self) -> tuple[str, ...]:
        """All question templates, the canonical one first."""
        return tuple(text for texts in self.by_use().values() for text in texts)

    @model_validator(mode="after")
    def _count(self) -> Wording:
        if len(self.questions()) < 4:
            raise ValueError("at least 4 questions are needed: canonical, validation, training and test together")
        seen: dict[str, str] = {}
        for use, template in ((use, template) for use, templates in self.by_use().items() for template in templates):
            key, question = wording_key(template), f"{template!r} ({use})"
            if key in seen:
                raise ValueError(f"two questions have the same words: {seen[key]} and {question}")
            seen[key] = question
        if len(self.validation) % 2 == 0:
            raise ValueError("validation needs an odd number of questions, so that a majority exists")
        return self


class Relation(Strict):
    """One relation: its property, the kind of its objects and how it is asked."""

    property: Property
    """Wikidata property id."""
    name: str = Field(min_length=1)
    """Noun phrase such as capital, by which the salience judge and the report name the relation."""
    labels: Annotated[tuple[Annotated[str, AfterValidator(_label)], ...], AfterValidator(each_once)] = ()
    """Its names in tables of labels, which may name it by the property id, too."""
    topics: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(each_once)]
    """Topics that it applies to; ["*"] for all."""
    object: Literal["entity", "date", "quantity", "text"]
    """What an answer is. Dates and quantities are compared by value, the others as words."""
    unique: Literal["one", "any"] = "one"
    """one: only subjects with exactly one object are asked about; any: all objects are accepted answers."""
    symmetric: bool = False
    """Whether A r B implies B r A, as of spouses: one of the two facts is kept."""
    inverse: tuple[Property, ...] = ()
    """Properties that state the same from the other side, as capital of (P1376) for capital: one of the two facts is
    kept."""
    precision: Literal["year", "month", "day"] = "year"
    """Of dates: the precision that is asked for; finer dates are cut to it, coarser ones rejected."""
    unit: Item | None = None
    """Of quantities: the unit (Q-id) that is asked for; other units are rejected. Left out for a plain number."""
    unit_name: str = ""
    """Of quantities: how the unit is written after the number, such as metres."""
    object_classes: tuple[Item, ...] = ()
    """Classes (Q-ids) whose members, and members of subclasses, are accepted as objects; empty for all."""
    note: str = ""
    """For those who edit the file."""
    questions: Wording
    """The wordings by permitted use: at least four questions, each with {subject} once. Write no "the" before it: the
    topic says which labels take the article."""

    @field_validator("name")
    @classmethod
    def _filled(cls, name: str) -> str:
        if not name.strip():
            raise ValueError("must not be blank")
        return name

    @model_validator(mode="after")
    def _keys_of_the_kind(self) -> Relation:
        for key, kind in _KEYS_OF_ONE_KIND.items():
            if key in self.model_fields_set and getattr(self, key) and self.object != kind:
                raise ValueError(f'{key} is only for object = "{kind}", and this one is "{self.object}"; leave it out')
        return self

    def applies_to(self, topic: str) -> bool:
        """Whether subjects of `topic` are asked about this relation."""
        return "*" in self.topics or topic in self.topics

    def topics_with(self, other: Relation) -> list[str]:
        """Topics that both apply to; "*" where both apply to all."""
        if "*" in self.topics:
            return list(other.topics)
        return [topic for topic in self.topics if other.applies_to(topic)]


_KEYS_OF_ONE_KIND = {
    "precision": "date",
    "unit": "quantity",
    "unit_name": "quantity",
    "object_classes": "entity",
    "symmetric": "entity",
    "inverse": "entity",
}
"""Keys of a relation that apply to one kind of object only -> that kind."""


class Excluded(Strict):
    """A label of tables that no relation asks about; rows with it are rejected as `excluded_relation`."""

    reason: str = Field(min_length=1)
    """One word, explained at the top of EXCLUDED.toml."""
    property: Property | None = None
    """Wikidata property id, by which tables may name it, too."""
    topics: tuple[str, ...] = Field(default=("*",), min_length=1)
    """Topics in which it is left out; ["*"] for all."""
    rows: int = Field(default=0, ge=0)
    """Rows with this label in the published tables, in these topics; for those who edit the file."""
    note: str = ""
    """For those who edit the file."""


def load_relation(path: Path) -> Relation:
    """Read one relation file; its stem must be the property id, or this and a variant: P17_river.toml."""
    relation = _relation(read_text(path), path)
    if path.stem.split("_")[0] != relation.property:
        raise ConfigError(f"is {relation.property}, but the file is named {path.name}", file=path, key="property")
    return relation


@lru_cache(maxsize=1024)
def _relation(text: str, path: Path) -> Relation:
    # Cached, since every stage reads all relations.
    return parse(Relation, parse_toml(text, path), path)


def load_relations(folder: Path, faulty: Callable[[ConfigError], object] | None = None) -> dict[str, Relation]:
    """Read every relation file of a folder, by stem. Raises ConfigError if two claim the same topic or label.

    A file that does not load is left out where `faulty` takes its error, which is raised otherwise.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; relation files are expected there")
    # Not by glob, which takes an unreadable folder for an empty one.
    paths = sorted(path for path in folder.iterdir() if path.suffix == ".toml" and path.stem != "EXCLUDED")
    if not paths:
        raise InputError(f"{folder}: holds no relation file such as P36.toml")
    relations = {}
    for path in paths:
        try:
            relations[path.stem] = load_relation(path)
        except ConfigError as error:
            if faulty is None:
                raise
            faulty(error)
    if conflicts := list(_double_claims(relations)):
        raise ConfigError("\n".join(f"{folder / stem}.toml: {message}" for stem, message in conflicts))
    return relations


def _double_claims(relations: Mapping[str, Relation]) -> Iterator[tuple[str, str]]:
    """Stem and message for two files of one property in a topic, or two properties with one label in a topic."""
    claims: dict[tuple[str, str], list[str]] = {}
    for stem, relation in relations.items():
        # Tables may name a relation by its property, too.
        labels = dict.fromkeys((*relation.labels, relation.property))
        for kind, name in [("property", relation.property), *(("label", label) for label in labels)]:
            claimants = claims.setdefault((kind, name), [])
            for claimant in claimants:
                topics = ", ".join(relation.topics_with(relations[claimant]))
                if topics and kind == "property":
                    yield stem, f"topics: {topics} is claimed by {claimant}.toml already"
                elif topics and relations[claimant].property != relation.property:
                    yield stem, f"labels: {name!r} is claimed by {claimant}.toml already, in {topics}"
            claimants.append(stem)


def load_excluded(path: Path) -> dict[str, Excluded]:
    """Read relations/EXCLUDED.toml: what is excluded on purpose, by label."""
    excluded: dict[str, Excluded] = {}
    for label, data in read_toml(path).items():
        if clean(label) in excluded:
            raise ConfigError("is listed twice, with other spaces; list it once", file=path, key=label)
        excluded[clean(label)] = parse(Excluded, data, path, label)
    return excluded
