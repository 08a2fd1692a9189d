"""What is kept of Wikidata's N-Triples, block by block as frames.

    claims     item, property, object             direct statements (wdt:) whose object is an item; numbers of the ids
    values     item, property, kind, value, tag   direct statements with anything else: iri, blank or literal
    terms      item, field, language, text        label, alias and description, English and for all languages (`mul`)
    sitelinks  item, count                        wikibase:sitelinks, which full dumps have and truthy ones do not
    articles   item, title                        articles of the English Wikipedia, likewise

Lines in any form of https://www.w3.org/TR/n-triples/ are read, those in canonical form faster than those with comments
or tabs. Those of the wanted lines that are no N-Triples are counted and left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

import polars as pl

from dual_data.ids import ENTITY_PREFIX
from dual_data.sources.dumps.ahead import in_order
from dual_data.sources.dumps.files import Piece

DIRECT = "http://www.wikidata.org/prop/direct/"
FIELDS = {
    "http://www.w3.org/2000/01/rdf-schema#label": "label",
    "http://www.w3.org/2004/02/skos/core#altLabel": "alias",
    "http://schema.org/description": "description",
}
SITELINKS = "http://wikiba.se/ontology#sitelinks"
ABOUT = "http://schema.org/about"
ARTICLE = "https://en.wikipedia.org/wiki/"
_DATA = ("https://www.wikidata.org/wiki/Special:EntityData/", "http://www.wikidata.org/wiki/Special:EntityData/")
"""Full dumps state the number of sitelinks about the page that describes the item."""
_LITERALS = r'"(?:[^"\\]|\\.)*"(?:@[A-Za-z0-9-]+|\^\^<[^<> ]*>)?'
_CANONICAL = rf"^<([^<> ]*)> <([^<> ]*)> (<[^<> ]*>|_:[^ ]+|{_LITERALS}) \.$"
_ANY_FORM = (
    rf'^[ \t]*<([^<> ]*)>[ \t]*<([^<> ]*)>[ \t]*(<[^<> ]*>|_:[^\s<>"]*[^\s<>".]|{_LITERALS})[ \t]*\.[ \t]*(?:#.*)?\r?$'
)
"""Several times slower to match than the canonical form alone."""
_NO_STATEMENT = r"^[ \t]*(?:#|_:|\r?$)"
"""Lines without a statement about an item: comments, blank nodes, nothing."""
_SEPARATOR = b"\x01"
_STRING = "http://www.w3.org/2001/XMLSchema#string"
_LITERAL = r'(?s)^"(.*)"(?:@([A-Za-z0-9-]+)|\^\^<([^<>]*)>)?$'
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL)
_MEANING = {"t": "\t", "b": "\b", "n": "\n", "r": "\r", "f": "\f", '"': '"', "'": "'", "\\": "\\"}

SCHEMAS: dict[str, dict[str, type[pl.DataType]]] = {
    "claims": {"item": pl.Int64, "property": pl.Int32, "object": pl.Int64},
    "values": {"item": pl.Int64, "property": pl.Int32, "kind": pl.String, "value": pl.String, "tag": pl.String},
    "terms": {"item": pl.Int64, "field": pl.String, "language": pl.String, "text": pl.String},
    "sitelinks": {"item": pl.Int64, "count": pl.Int64},
    "articles": {"item": pl.Int64, "title": pl.String},
}


def pieces(blocks: Iterator[bytes], done: int) -> Iterator[Piece]:
    """What the blocks after `done` bytes of the text give."""

    def placed() -> Iterator[tuple[bytes, int]]:
        position = 0
        for block in blocks:
            position += len(block)
            if position > done:
                yield block, position

    return in_order(lambda pair: read(*pair), placed())


def empty() -> dict[str, pl.DataFrame]:
    """All tables, without rows."""
    return {name: pl.DataFrame(schema=schema) for name, schema in SCHEMAS.items()}


def read(block: bytes, end: int = 0) -> Piece:
    """The tables of a block of whole lines."""
    lines, invalid = _lines(block)
    written = pl.col("line")
    regular = (
        (written.str.starts_with("<") | written.str.starts_with("_:"))
        & written.str.ends_with(" .")
        & ~written.str.ends_with("  .")
        & ~written.str.ends_with("\t .")
    )
    wanted = (
        written.str.contains("/prop/direct/P", literal=True)
        | written.str.ends_with('"@en .')
        | written.str.ends_with('"@mul .')
    )
    for predicate in (SITELINKS, ABOUT):
        # Most blocks of a truthy dump have neither: one search in the block is faster than one in each line.
        if (name := predicate.partition(":")[2] + ">").encode() in block:
            wanted |= written.str.contains(name, literal=True)
    canonical = _split(lines.filter(lines.select(wanted | ~regular).to_series()), _CANONICAL)
    others = _split(canonical.filter(pl.col("object").is_null()).select("line"), _ANY_FORM)
    split = pl.concat([canonical, others])
    wrong = pl.col("object").is_null() & ~pl.col("line").str.contains(_NO_STATEMENT)
    malformed = others.select(wrong.sum()).item()
    counts = {"lines": lines.height, "malformed": malformed, "invalid_utf8": invalid}
    return Piece(_tables(split.drop_nulls("object")), counts, end)


def _lines(block: bytes) -> tuple[pl.DataFrame, int]:
    """Column line, and how many lines are not UTF-8; their stray bytes are written as \\xNN."""
    if _SEPARATOR not in block:
        try:
            # The fastest way to cut text into lines: a table of one column, whose separator never occurs.
            table = pl.read_csv(
                block, separator=_SEPARATOR.decode(), quote_char=None, has_header=False, schema={"line": pl.String}
            )
            return table, 0
        except pl.exceptions.PolarsError:
            pass
    lines = [(line.decode("utf-8", "backslashreplace"), line) for line in block.removesuffix(b"\n").split(b"\n")]
    invalid = sum(text.encode() != line for text, line in lines)
    return pl.DataFrame({"line": [text for text, _ in lines]}, schema={"line": pl.String}), invalid


def _split(lines: pl.DataFrame, form: str) -> pl.DataFrame:
    """Columns line, subject, predicate (IRIs without brackets) and object (as written); null where it is irregular."""
    groups = pl.col("line").str.extract_groups(form).struct.rename_fields(["subject", "predicate", "object"])
    return lines.with_columns(groups.alias("parts")).unnest("parts")


def _tables(split: pl.DataFrame) -> dict[str, pl.DataFrame]:
    subject, predicate, target = pl.col("subject"), pl.col("predicate"), pl.col("object")
    item = _number(subject, ENTITY_PREFIX + "Q")
    of_items = split.with_columns(item=item).filter(pl.col("item").is_not_null())
    claims = of_items.with_columns(property=_number(predicate, DIRECT + "P").cast(pl.Int32, strict=False)).filter(
        pl.col("property").is_not_null()
    )
    to_item = target.str.strip_suffix(">")
    claims = claims.with_columns(target=_number(to_item, "<" + ENTITY_PREFIX + "Q"))
    names = of_items.filter(predicate.is_in(list(FIELDS)))
    terms = _terms_of(names).with_columns(
        field=predicate.replace_strict(FIELDS, return_dtype=pl.String), language="tag", text="value"
    )
    return {
        "claims": claims.filter(pl.col("target").is_not_null()).select("item", "property", object="target"),
        "values": _terms_of(claims.filter(pl.col("target").is_null())).select(list(SCHEMAS["values"])),
        "terms": terms.filter(
            pl.col("language").is_in(["en", "mul"]) & ~((pl.col("field") == "description") & (pl.col("tag") != "en"))
        ).select(list(SCHEMAS["terms"])),
        "sitelinks": _sitelinks(split),
        "articles": _articles(split),
    }


def _number(iri: pl.Expr, prefix: str) -> pl.Expr:
    """The number of an id after a prefix; null for anything else."""
    rest = iri.str.strip_prefix(prefix)
    # An id has neither a sign nor a leading zero; in ASCII, ":" follows "9".
    proper = iri.str.starts_with(prefix) & (rest >= "1") & (rest < ":")
    return pl.when(proper).then(rest.cast(pl.Int64, strict=False))


def _terms_of(rows: pl.DataFrame) -> pl.DataFrame:
    """Adds kind, value and tag of the object: see `dual_data.sources.wikidata.sparql.Term`."""
    target = pl.col("object")
    groups = target.str.extract_groups(_LITERAL).struct.rename_fields(["text", "language", "datatype"])
    terms = rows.with_columns(groups.alias("literal")).unnest("literal")
    datatype = pl.when(pl.col("datatype") != _STRING).then("datatype")
    terms = terms.with_columns(
        kind=pl.when(target.str.starts_with("<"))
        .then(pl.lit("iri"))
        .when(target.str.starts_with("_"))
        .then(pl.lit("blank"))
        .otherwise(pl.lit("literal")),
        value=pl.coalesce("text", target.str.strip_prefix("<").str.strip_prefix("_:").str.strip_suffix(">")),
        tag=pl.coalesce("language", datatype, pl.lit("")),
    )
    escaped = pl.col("value").str.contains("\\", literal=True)
    if not terms.select(escaped.any()).item():
        return terms
    plain = pl.col("value").map_elements(_unescaped, pl.String)
    return pl.concat([terms.filter(~escaped), terms.filter(escaped).with_columns(value=plain)])


def _unescaped(text: str) -> str:
    """Text with its escapes resolved; as it was written where one of them means nothing, such as a lone surrogate."""
    try:
        return _ESCAPE.sub(_meaning, text)
    except (KeyError, ValueError, OverflowError):
        return text


def _meaning(match: re.Match[str]) -> str:
    if match[3] is not None:
        return _MEANING[match[3]]
    character = chr(int(match[1] or match[2], 16))
    character.encode()  # raises ValueError for a surrogate, as chr does above Unicode
    return character


def _sitelinks(split: pl.DataFrame) -> pl.DataFrame:
    rows = split.filter(pl.col("predicate") == SITELINKS)
    numbers = [_number(pl.col("subject"), prefix + "Q") for prefix in (ENTITY_PREFIX, *_DATA)]
    count = pl.col("object").str.extract(r'^"\+?([0-9]+)"').cast(pl.Int64, strict=False)
    return rows.select(item=pl.coalesce(numbers), count=count).drop_nulls()


def _articles(split: pl.DataFrame) -> pl.DataFrame:
    about = (pl.col("predicate") == ABOUT) & pl.col("subject").str.starts_with(ARTICLE)
    rows = split.filter(about).select(
        item=_number(pl.col("object").str.strip_suffix(">"), "<" + ENTITY_PREFIX + "Q"),
        title=pl.col("subject").str.strip_prefix(ARTICLE),
    )
    return rows.drop_nulls().with_columns(
        title=pl.col("title").map_elements(lambda path: unquote(_unescaped(path)).replace("_", " "), pl.String)
    )
