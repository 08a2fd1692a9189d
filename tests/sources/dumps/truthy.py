"""Truthy dumps of worlds whose SPARQL endpoint is known, so that both sources can be compared."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path

from dual_data.sources.dumps import triples
from dual_data.sources.dumps.imports import import_folder
from dual_data.sources.dumps.sql import Value
from dual_data.system.progress import Progress
from tests.sources.dumps.mysqldump import dump
from tests.sources.dumps.wikis import DAY
from tests.wiki.model import World

ALWAYS = (triples.DIRECT, *triples.FIELDS)
FULL = (*ALWAYS, triples.SITELINKS, triples.ABOUT)


def chosen(lines: Iterable[str], predicates: tuple[str, ...]) -> Iterator[str]:
    """The triples that a dump of this kind carries."""
    for line in lines:
        if any(f"> <{predicate}" in line for predicate in predicates):
            yield line


def n_triples(turtle: str) -> list[str]:
    """Turtle as N-Triples."""
    from pyoxigraph import RdfFormat, parse, serialize

    text = serialize(parse(turtle, RdfFormat.TURTLE), format=RdfFormat.N_TRIPLES)
    assert text is not None
    return text.decode().splitlines(keepends=True)


def sitelinks(world: World) -> list[tuple[Value, ...]]:
    """Rows of wb_items_per_site: the English article and as many others as the world says."""
    rows: list[tuple[Value, ...]] = []
    for item in world.items.values():
        number = int(item.qid[1:])
        sites = [("enwiki", item.title)] if item.title else []
        sites += [(f"x{n}wiki", "Elsewhere") for n in range((item.sitelinks or 0) - len(sites))]
        rows += [(len(rows) + n, number, site.encode(), str(title).encode()) for n, (site, title) in enumerate(sites)]
    return rows


def write(folder: Path, lines: Iterable[str], rows: list[tuple[Value, ...]] | None = None) -> Path:
    """Write the dumps, and import them."""
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(lines).encode()
    (folder / f"wikidata-{DAY}-truthy-BETA.nt.gz").write_bytes(gzip.compress(text, 1))
    if rows is not None:
        name = f"wikidatawiki-{DAY}-wb_items_per_site.sql.gz"
        (folder / name).write_bytes(gzip.compress(dump("wb_items_per_site", rows), 1))
    list(import_folder(folder, Progress(), 200_000))
    return folder
