"""Identifiers: of content by its hash, Wikidata ids, ids minted from labels, and the id of a fact."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

ENTITY_PREFIX = "http://www.wikidata.org/entity/"

ITEM = r"Q[1-9][0-9]*"
"""Pattern of a Wikidata item's id."""
PROPERTY = r"P[1-9][0-9]*"
"""Pattern of a Wikidata property's id."""
MINTED = "label:"
"""What an id begins with that was minted from a label."""
_TITLE = re.compile(r"[^#|<>\[\]{}\x00-\x1f\x7f]+")


def digest(text: str, length: int = 16) -> str:
    """First `length` hexadecimal digits of the SHA-256 of `text` in UTF-8."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:length]


def digests(encoded: Iterable[bytes]) -> list[str]:
    """`digest` of many texts that are already encoded in UTF-8, without a function call for each."""
    sha256 = hashlib.sha256
    return [sha256(text).hexdigest()[:16] for text in encoded]


def canonical(value: Mapping[str, Any]) -> str:
    """Canonical JSON of a value: sorted keys, no spaces, characters unescaped."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def fact_id(subject_qid: str, property_id: str, object_kind: str, object_value: str) -> str:
    """Identity of a fact, independent of labels, wording and source: 16 hexadecimal digits.

    >>> fact_id("Q142", "P36", "entity", "Q90")
    '8ae473d515b73eef'
    """
    return digest(f"{subject_qid}|{property_id}|{object_kind}|{object_value}")


def label_id(label: str) -> str:
    """Id minted from a label alone, for tables without ids: `label:` and 16 hexadecimal digits.

    It names the string, not the thing: two cities of one name share it. Rows with such ids are marked
    unresolved and are never pushed.
    """
    return MINTED + digest(unicodedata.normalize("NFC", label.strip()))


def is_item(text: str) -> bool:
    """Whether `text` is a Wikidata item id such as Q42."""
    return re.fullmatch(ITEM, text) is not None


def is_property(text: str) -> bool:
    """Whether `text` is a Wikidata property id such as P36."""
    return re.fullmatch(PROPERTY, text) is not None


def number(identifier: str) -> int:
    """The number in the id of an item or a property: ids in order, and what dumps are imported by."""
    return int(identifier[1:])


def is_title(text: str) -> bool:
    """Whether a wiki page could have this title, judged by its characters.

    >>> [is_title(text) for text in ("C", "C#", "A|B")]
    [True, False, False]
    """
    return _TITLE.fullmatch(text) is not None


def item_of_iri(iri: str) -> str | None:
    """The item id of a Wikidata entity IRI, or None for anything else (somevalue nodes, literals)."""
    tail = iri.removeprefix(ENTITY_PREFIX)
    return tail if tail != iri and is_item(tail) else None
