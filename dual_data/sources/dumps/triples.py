"""N-Triples, exactly: https://www.w3.org/TR/n-triples/, a line at a time."""

from __future__ import annotations

import re
from typing import NamedTuple

from dual_data.sources.wikidata.sparql import Term

STRING = "http://www.w3.org/2001/XMLSchema#string"

_IRI = r'<[^<>"{}|^`\x00-\x20]*>'
_TERM = rf'{_IRI}|_:[^\s<>"]*[^\s<>".]|"(?:[^"\\\n\r]|\\.)*"(?:@[A-Za-z]+(?:-[A-Za-z0-9]+)*|\^\^{_IRI})?'
_LINE = re.compile(rf"[ \t]*({_TERM})[ \t]*({_TERM})[ \t]*({_TERM})[ \t]*\.[ \t]*(?:#.*)?\r?\n?")
_NOTHING = re.compile(r"[ \t]*(?:#.*)?\r?\n?")
_LITERAL = re.compile(r'"(.*)"(?:@(.*)|\^\^<(.*)>)?', re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL)
_MEANING = {"t": "\t", "b": "\b", "n": "\n", "r": "\r", "f": "\f", '"': '"', "'": "'", "\\": "\\"}


class Triple(NamedTuple):
    """A statement of RDF."""

    subject: Term
    predicate: Term
    object: Term


def parse(line: str) -> Triple | None:
    """The triple of a line; None for a blank line or a comment. Raises ValueError for anything else."""
    match = _LINE.fullmatch(line)
    if match is None:
        if _NOTHING.fullmatch(line):
            return None
        raise ValueError(f"not a triple: {line[:80]!r}")
    subject, predicate, target = (term(written) for written in match.groups())
    if subject.kind == "literal" or predicate.kind != "iri":
        raise ValueError(f"not a triple: {line[:80]!r}")
    return Triple(subject, predicate, target)


def term(written: str) -> Term:
    """A term as N-Triples writes it. Raises ValueError for an escape that means nothing."""
    if written.startswith("<"):
        return Term("iri", unescape(written[1:-1]))
    if written.startswith("_:"):
        return Term("blank", written[2:])
    match = _LITERAL.fullmatch(written)
    if match is None:
        raise ValueError(f"not a literal: {written[:80]!r}")
    kind = unescape(match[3] or "")
    return Term("literal", unescape(match[1]), match[2] or ("" if kind == STRING else kind))


def unescape(text: str) -> str:
    """Text with its escapes resolved. Raises ValueError for one that means nothing."""
    return _ESCAPE.sub(_meaning, text) if "\\" in text else text


def _meaning(match: re.Match[str]) -> str:
    if match[3] is not None:
        try:
            return _MEANING[match[3]]
        except KeyError:
            raise ValueError(f"unknown escape {match[0]!r}") from None
    number = int(match[1] or match[2], 16)
    # Surrogates and what lies above Unicode are no characters.
    if 0xD800 <= number < 0xE000 or number > 0x10FFFF:
        raise ValueError(f"{match[0]} is no character")
    return chr(number)


def line(triple: Triple) -> str:
    """A triple in canonical form, without a line feed."""
    return " ".join([*map(_written, triple), "."])


def _written(term: Term) -> str:
    if term.kind == "iri":
        # An IRI may not hold these, not even escaped; but what was read is written back.
        return "<" + re.sub(r'[<>"{}|^`\\\x00-\x20]', lambda match: f"\\u{ord(match[0]):04X}", term.value) + ">"
    if term.kind == "blank":
        return "_:" + term.value
    text = term.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    datatype = f"^^<{term.tag}>" if ":" in term.tag else f"@{term.tag}" if term.tag else ""
    return f'"{text}"{datatype}'
