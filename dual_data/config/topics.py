"""Topics: the classes of subjects that facts are about, each a table in topics.toml."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal

import polars as pl
from pydantic import Field, field_validator

from dual_data.config.files import Item, Property, RowCount, Strict, parse, parse_toml, read_text
from dual_data.errors import ConfigError

_TOPIC = re.compile("[a-z0-9_]+")
"""Names that a release can keep unchanged, even on file systems that ignore case."""
POOLED = "all"
"""Name in place of a topic for splits of all topics together; no topic may have it."""


class Topic(Strict):
    """A theme: which Wikidata classes its subjects belong to, unless all its facts are in tables."""

    classes: tuple[Item, ...] = Field(default=(), min_length=1)
    """Wikidata classes (Q-ids) whose members, and members of subclasses, are the subjects; left out for subjects that
    are found in tables alone."""
    property: Property = "P31"
    """Property by which an item belongs to a class: instance of (P31), or for people their occupation (P106)."""
    article: tuple[str, ...] = ()
    """Regular expressions for labels that take "the" inside a sentence, such as ^United."""
    limit: RowCount = 1000
    """Most subjects taken."""
    order: Literal["sitelinks", "hash"] = "sitelinks"
    """Which subjects are taken if there are more than the limit: those with most sitelinks, or by hash."""

    def most(self, limit: int | None) -> int:
        """Most subjects taken by a stage that works on at most `limit` of each topic."""
        return self.limit if limit is None else min(limit, self.limit)

    @field_validator("article")
    @classmethod
    def _article_compiles(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            # Compiled by polars, which matches it: Rust's engine has neither look-around nor backreferences.
            try:
                pl.Series([""]).str.contains(pattern)
            except pl.exceptions.ComputeError as error:
                reason = re.search("^error: (.*)", str(error), re.MULTILINE)
                fault = reason[1] if reason else "not valid"
                raise ValueError(f"{pattern!r} is not a supported regular expression: {fault}") from None
        return patterns


def load_topics(path: Path) -> dict[str, Topic]:
    """Read topics.toml: topics by name, in the order of the file."""
    topics = dict(_topics(read_text(path), path))
    if not topics:
        raise ConfigError("holds no topic; add a table such as [places_city]", file=path)
    return topics


@lru_cache(maxsize=16)
def _topics(text: str, path: Path) -> Mapping[str, Topic]:
    # Cached, since several stages read the topics.
    topics = {}
    for name, data in parse_toml(text, path).items():
        if not _TOPIC.fullmatch(name):
            raise ConfigError(
                "is not a valid topic name: splits and files are named after it, so use only lower-case letters a to "
                "z, digits and _",
                file=path,
                key=name,
            )
        if name == POOLED:
            raise ConfigError(
                f"is reserved for the splits of all topics together, such as {POOLED}_forget_rare_5; give the topic "
                "another name",
                file=path,
                key=name,
            )
        topics[name] = parse(Topic, data, path, name)
    return topics
