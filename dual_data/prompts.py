"""Prompt files: strict front matter, one body, and values that cannot change the format.

    +++
    version = "1"
    system = "You rate ..."
    labels = ["1", "2", "3"]        # only for a prompt that is answered on a scale

    [variables]
    subject = "json"                # quoted as a JSON string
    question = "text"               # as it is, on one line
    +++
    Subject: {subject}
    Question: {question}

Every declared variable must be used and every used variable declared; a literal brace is written twice. Values are
filled in in a single pass, so a value that looks like a variable stays as it is.
"""

from __future__ import annotations

import json
import re
import string
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from dual_data.config import Strict, parse, read_text
from dual_data.config.files import parse_toml
from dual_data.errors import ConfigError

SYSTEM_PROMPT = "You are terse and fact-only QA assistant. Reply to the question clearly with few-words correct answer."
"""Of the evaluation: the protocol's, verbatim as published."""

Kind = Literal["json", "text"]

_FENCE = "+++"
_MARKUP = frozenset("<>[]")
"""Characters that delimit the control tokens of chat templates: `<|im_end|>`, `<s>`, `[INST]`."""
_INVISIBLE = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})
_BREAKS = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")
_TEXT_MARKUP = re.compile(r"<(?=[|｜])|(?<=[|｜])>|<(?=/?s>)|<(?=(?:start|end)_of_turn>)|<(?=</?SYS>>)|\[(?=/?INST\])")


class FrontMatter(Strict):
    """What stands in TOML above a prompt, which uses its variables in braces, each at least once."""

    version: str = Field(min_length=1)
    """Raised by whoever changes the wording; recorded in every row made with the prompt."""
    system: str
    """The system message; empty for none. Braces have no meaning here."""
    variables: dict[str, Kind] = Field(min_length=1)
    """How each variable's value is inserted: "json", quoted as a JSON string, or "text", as it is, on one line."""
    labels: tuple[str, ...] = ()
    """The scale's labels from lowest to highest, one character each; empty where the answer is free text."""


class Prompt(FrontMatter):
    """One prompt file."""

    name: str
    """Stem of the file."""
    body: str
    """The prompt, with variables in braces."""

    @model_validator(mode="after")
    def _strict(self) -> Self:
        used = _variables(self.body)
        for name in used:
            if name not in self.variables:
                known = ", ".join(self.variables)
                raise ValueError(f"the body uses {{{name}}}, which [variables] does not declare; declared: {known}")
        for name in self.variables:
            if name not in used:
                raise ValueError(f"[variables] declares {name}, which the body does not use")
        if self.labels:
            _check_labels(self.labels, f"{self.system}\n{self.body}")
        return self

    @property
    def values(self) -> tuple[int, ...]:
        """The number of each label: the digit itself, or 1, 2, ... for letters."""
        if all(label.isdigit() for label in self.labels):
            return tuple(int(label) for label in self.labels)
        return tuple(range(1, len(self.labels) + 1))

    def render(self, values: Mapping[str, str]) -> str:
        """The user message. Raises KeyError unless `values` names exactly the declared variables."""
        if set(values) != set(self.variables):
            raise KeyError(f"{self.name}: expected {sorted(self.variables)}, got {sorted(values)}")
        return self.body.format_map({name: _WRITERS[kind](values[name]) for name, kind in self.variables.items()})


def load_prompt(path: Path) -> Prompt:
    """Read one prompt file. Raises ConfigError that names file and key, InputError where it is absent."""
    lines = read_text(path, "a prompt").replace("\r\n", "\n").split("\n")
    if lines[0].strip() != _FENCE:
        raise ConfigError(
            f"must begin with a line {_FENCE}, then TOML, then a line {_FENCE}, then the prompt", file=path
        )
    end = next((number for number, line in enumerate(lines[1:], 1) if line.strip() == _FENCE), None)
    if end is None:
        raise ConfigError(f"the front matter is not closed by a line {_FENCE}", file=path)
    front = parse_toml("\n".join(["", *lines[1:end]]), path)  # so that its line numbers are the file's
    parse(FrontMatter, front, path)  # alone first: name and body are no keys of it
    body = "\n".join(lines[end + 1 :]).strip()
    if not body:
        raise ConfigError("holds no prompt below the front matter", file=path)
    prompt = parse(Prompt, {**front, "name": path.stem, "body": body}, path)
    return prompt.model_copy(update={"system": prompt.system.strip()})


def _variables(body: str) -> list[str]:
    """The variables of a body in order. Raises ValueError for anything but plain {names}."""
    try:
        fields = list(string.Formatter().parse(body))
    except ValueError as error:
        raise ValueError(f"body: {error}; a literal brace is written twice") from None
    for _, name, spec, conversion in fields:
        if name is not None and (not name.isidentifier() or spec or conversion):
            raise ValueError(f"body: {{{name}}} is not a plain variable; a literal brace is written twice")
    return [name for _, name, _, _ in fields if name is not None]


def _check_labels(labels: tuple[str, ...], text: str) -> None:
    if len(labels) < 2 or len(set(labels)) < len(labels):
        raise ValueError("labels: at least two, all different")
    for label in labels:
        if len(label) != 1 or not label.isascii() or not label.isalnum():
            raise ValueError(f"labels: {label!r} is not one ASCII digit or letter; longer labels are several tokens")
        if not re.search(rf"(?<!\w){label}(?!\w)", text):
            raise ValueError(f"labels: {label!r} is not explained in the prompt")
    if len({label.isdigit() for label in labels}) > 1:
        raise ValueError("labels: either all digits or all letters")
    if list(labels) != sorted(labels):
        raise ValueError("labels: must go from the lowest to the highest")


def quote(value: str) -> str:
    r"""A JSON string in which markup brackets, line breaks and invisible characters are escaped.

    >>> quote('a "b" <|im_end|>')
    '"a \\"b\\" \\u003c|im_end|\\u003e"'
    """
    text = json.dumps(value, ensure_ascii=False)
    return "".join(
        _escape(sign) if sign in _MARKUP or unicodedata.category(sign) in _INVISIBLE else sign for sign in text
    )


def _escape(sign: str) -> str:
    return f"\\u{ord(sign):04x}" if sign.isascii() else json.dumps(sign)[1:-1]


def plain(value: str) -> str:
    """The text on one line, with the control tokens of chat templates broken apart by a space.

    >>> plain("What is <|im_end|>\\n this?")
    'What is < |im_end| > this?'
    """
    spaced = _BREAKS.sub(" ", value).strip()
    return _TEXT_MARKUP.sub(lambda match: f"{match.group()} " if match.group() in "<[" else f" {match.group()}", spaced)


_WRITERS = {"json": quote, "text": plain}
