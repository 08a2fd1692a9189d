"""The keys that a table of a TOML file may have, with values, defaults and meaning, from the model that reads it."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator, Mapping
from textwrap import dedent
from typing import Any, NamedTuple, cast, get_args, get_origin

from pydantic_core import to_jsonable_python

from dual_data.config.files import Strict
from dual_data.text.docs import attribute_docs

_KINDS = {"string": "text", "integer": "whole number", "number": "number", "object": "table"}
_BOUNDS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
_WIDEST = 2**31
"""Bounds from here on are those of the format, not of the key."""
_AROUND = {tuple: "[]", Mapping: ".NAME", dict: ".NAME"}
"""What stands between a key and the keys of the tables that its value holds, by the type of the value."""


class Key(NamedTuple):
    """One key."""

    name: str
    """With those of the tables around it; NAME stands for a name of the user's choice, [] for a table in a list."""
    takes: str
    """What its value can be."""
    default: str
    """In TOML; empty where there is none, or an empty one."""
    required: bool
    meaning: str


def keys_of(table: type[Strict]) -> Iterator[Key]:
    """The keys of a table and of the tables in it; those of tables that are alike are given once."""
    return _keys_of(table, "", {})


def meaning_of(table: type[Strict]) -> str:
    """What a table is about; empty where its code does not say."""
    return " ".join((table.__doc__ or "").split())  # not that of a base, which inspect would give


def _keys_of(table: type[Strict], prefix: str, shown: dict[type[Strict], str]) -> Iterator[Key]:
    schema, meanings = table.model_json_schema()["properties"], _meanings(table)
    for name, field in table.model_fields.items():
        path, required, meaning = f"{prefix}{name}", field.is_required(), meanings.get(name, "")
        inner, around = _table_in(field.annotation)
        if inner is None:
            value = None if required else to_jsonable_python(field.get_default(call_default_factory=True))
            default = _toml(value) if value not in (None, "", [], {}) else ""
            yield Key(path, _takes(schema[name]), default, required, meaning)
            continue
        path += around
        takes = f"table with the keys of {shown[inner]}" if inner in shown else "table"
        yield Key(path, takes, "", required, meaning or meaning_of(inner))
        if shown.setdefault(inner, path) == path:
            yield from _keys_of(inner, f"{path}.", shown)


def _table_in(annotation: Any) -> tuple[type[Strict] | None, str]:
    """The table that an annotation holds, if any, and what stands between its key and the keys of the table."""
    if isinstance(annotation, type) and issubclass(annotation, Strict):
        return annotation, ""
    for part in get_args(annotation):
        table, around = _table_in(part)
        if table is not None:
            return table, _AROUND.get(get_origin(annotation), "") + around
    return None, ""


def _meanings(table: type[Strict]) -> dict[str, str]:
    """The text below each key in the code of the table and of the tables that it extends."""
    meanings = dict[str, str]()
    for owner in reversed(table.__mro__):
        if issubclass(owner, Strict) and owner is not Strict:
            (definition,) = ast.parse(dedent(inspect.getsource(owner))).body
            meanings |= attribute_docs(cast(ast.ClassDef, definition))
    return meanings


def _takes(schema: Mapping[str, Any], plural: str = "") -> str:
    """A value's JSON schema in words."""
    if choices := [part for part in schema.get("anyOf", ()) if part.get("type") != "null"]:
        return " or ".join(_takes(part, plural) for part in choices)
    if values := schema.get("enum") or ([schema["const"]] if "const" in schema else []):
        *first, last = map(_toml, values)
        return f"{', '.join(first)} or {last}" if first else last
    kind = schema.get("type")
    if kind == "array":
        return f"list of {_takes(schema['items'], plural='s')}"
    if kind == "boolean":
        return "true or false"
    if kind == "object" and isinstance(values := schema.get("additionalProperties"), dict):
        return f"table of {_takes(values, plural='s')} by name"
    bounds = [f"{word} {schema[key]:g}" for key, word in _BOUNDS.items() if abs(schema.get(key, _WIDEST)) < _WIDEST]
    name = schema.get("format", _KINDS.get(str(kind), "value")) + plural
    return f"{name}, {' and '.join(bounds)}" if bounds else name


def _toml(value: Any) -> str:
    """A value in TOML's notation, which for those of keys is JSON's."""
    return json.dumps(value, ensure_ascii=False)
