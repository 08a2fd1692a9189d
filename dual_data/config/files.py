"""Reading, parsing and validating files of a project, with errors that name file and key."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, ErrorDetails

from dual_data.errors import ConfigError, InputError
from dual_data.text.display import did_you_mean

Model = TypeVar("Model", bound=BaseModel)
Value = TypeVar("Value")

_SHOWN = 40
"""Most characters of a wrong value that a message repeats."""


def matching(pattern: str, what: str) -> AfterValidator:
    """Validator of a text's form, whose message says `what` it is to be: pydantic would name a regular expression."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"{text!r} is not {what}")
        return text

    return AfterValidator(check)


# Dumps are imported by the numbers of ids: those of items are of 64 bits there, those of properties of 32.
Item = Annotated[str, matching(r"Q[1-9][0-9]{0,17}", "a Wikidata item id such as Q515")]
PROPERTY_ID = r"P[1-9][0-9]{0,8}"
Property = Annotated[str, matching(PROPERTY_ID, "a property id such as P36, of at most nine digits")]
RowCount = Annotated[int, Field(ge=1, le=2**31)]
"""A number of rows; bounded, since a frame cannot index more."""


_MUST_BE = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    **dict.fromkeys(("dict_type", "model_type"), "a table of keys and values"),
    "string_type": "a text",
    "tuple_type": "a list: [...]",
}
"""What a value is to be, by pydantic's type of the error, whose own words speak of Python."""


def _make_strict(schema: Any) -> None:
    """Make the numbers and truth values in a schema of pydantic strict, and bound integers to 64 bits, as TOML does."""
    if isinstance(schema, dict):
        if schema.get("type") in ("bool", "int", "float"):
            schema["strict"] = True
        if schema.get("type") == "int":
            schema |= {"le": min(schema.get("le", 2**63), 2**63 - 1), "ge": max(schema.get("ge", -(2**63)), -(2**63))}
        for part in schema.values():
            _make_strict(part)
    elif isinstance(schema, list):
        for part in schema:
            _make_strict(part)


class Strict(BaseModel):
    """Base of every configuration model: frozen; errors are an unknown key, a number that is not finite, and a number
    or a truth value that is written as another type ("5", 1 for true)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        # Not strict as a whole: TOML has lists alone, and they become tuples.
        schema = handler(source)
        _make_strict(schema)
        return schema


def each_once(values: tuple[Value, ...]) -> tuple[Value, ...]:
    """Validator that returns the values. Raises ValueError if one occurs twice."""
    for value, times in Counter(values).items():
        if times > 1:
            raise ValueError(f"{value} is listed {times} times; list it once")
    return values


def parse(model: type[Model], data: Mapping[str, Any], path: Path, prefix: str = "") -> Model:
    """Validate `data` as `model`. Raises one ConfigError for all faults, with file and keys."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        faults = []
        items = error.errors(include_url=False)
        for item in items:
            if item["type"] == "too_short" and any(_is_inside(other["loc"], item["loc"]) for other in items):
                continue  # Invalid entries of a list are not counted, but were named.
            key = ".".join(str(part) for part in (prefix, *item["loc"]) if part != "")
            message = in_words(item)
            if item["type"] == "extra_forbidden":
                known = _keys_beside(model, item["loc"])
                meant = did_you_mean(str(item["loc"][-1]), known)
                message = f"unknown key; known here: {', '.join(known)}{meant}" if known else "unknown key"
            if item["type"] == "string_too_short" and not item["input"]:
                message = f"fill in `{item['loc'][-1]}`"
            faults.append((key, message))
        first_key, first = faults[0]
        rest = "".join(f"\n{path}: {key}: {message}" for key, message in faults[1:])
        raise ConfigError(first + rest, file=path, key=first_key) from None


def in_words(fault: ErrorDetails) -> str:
    """One of pydantic's errors in the words of this package: what a value must be, and what a short one is."""
    kind, message, value = fault["type"], fault["msg"].removeprefix("Value error, "), fault["input"]
    if kind == "missing":
        return "is missing"
    if kind == "string_too_short" and not value:
        return "is empty"
    if kind == "too_short":
        least = fault["ctx"]["min_length"]
        return f"name at least {'one' if least == 1 else least}"
    if not message.startswith("Input should be "):
        return message
    must_be = _MUST_BE.get(kind, message.removeprefix("Input should be "))
    short = isinstance(value, str | int | float) and len(repr(value)) <= _SHOWN
    return f"must be {must_be}{f', not {value!r}' if short else ''}"


def _is_inside(location: Sequence[int | str], outer: Sequence[int | str]) -> bool:
    """Whether a location is a part of what is at `outer`."""
    return len(location) > len(outer) and location[: len(outer)] == outer


def _keys_beside(kind: Any, location: Sequence[int | str]) -> list[str]:
    """The keys that a value of type `kind` may have in the table at `location`, whose last part is a key of it."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        if len(location) == 1:
            return sorted(kind.model_fields)
        field = kind.model_fields.get(str(location[0]))
        return [] if field is None else _keys_beside(field.annotation, location[1:])
    # Alternatives are of one place; what is in a list or a table is a step further.
    inside = location if get_origin(kind) in (Union, UnionType, Annotated) else location[1:]
    candidates = (_keys_beside(argument, inside) for argument in get_args(kind)) if inside else ()
    return next(filter(None, candidates), [])


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file. Raises ConfigError with the line for broken TOML, InputError where it is absent."""
    return parse_toml(read_text(path), path)


def read_text(path: Path, kind: str = "a TOML file") -> str:
    """Read a file of the project. Raises ConfigError where it is not in UTF-8, InputError where it is absent."""
    try:
        return path.read_bytes().decode("utf-8-sig")  # Editors of Windows put a byte order mark first.
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: no such file; {kind} is expected there") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder; {kind} is expected") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"not UTF-8 at byte {error.start}; save the file as UTF-8", file=path) from None


def parse_toml(text: str, path: Path) -> dict[str, Any]:
    """Parse the text of the file `path`. Raises ConfigError with the line for broken TOML."""
    try:
        return tomllib.loads(text)
    except ValueError as error:  # of broken TOML, and of a number with thousands of digits
        raise ConfigError(f"not valid TOML: {error}", file=path) from None
    except RecursionError:
        raise ConfigError("not valid TOML: too many brackets inside each other", file=path) from None
