"""Wikis as tables: invented ones, and a real one's out of its SQLite file."""

from __future__ import annotations

import gzip
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from dual_data.sources.dumps.imports import import_folder
from dual_data.sources.dumps.sql import Value
from dual_data.system.progress import Progress
from tests.sources.dumps.mysqldump import COLUMNS, dump

DAY = "20261101"


class Page(NamedTuple):
    """A page of an invented wiki."""

    namespace: int
    title: str
    to: tuple[int, str, str] | None = None
    """Namespace, title and interwiki prefix of what it redirects to."""
    links: tuple[tuple[int, str], ...] = ()
    item: str | None = None


def plain_count(pages: Mapping[int, Page], item: str, hops: int) -> tuple[str, int] | None:
    """Title and inbound links of an item, the slow way; None where it leads to no article."""
    holders = [n for n, page in pages.items() if page.item == item and page.namespace == 0]
    if not holders:
        return None
    holder = min(holders, key=lambda n: (pages[n].to is not None, n))
    titles = {page.title: n for n, page in pages.items() if page.namespace == 0}
    steps = {p.title: p.to[1] for p in pages.values() if p.namespace == 0 and p.to and p.to[0] == 0 and not p.to[2]}
    title, seen = pages[holder].title, set[str]()
    while title not in seen and title in titles and pages[titles[title]].to is not None:
        seen.add(title)
        title = steps.get(title, title)
    if title not in titles or title in seen:
        return None
    names = {title}
    for _ in range(hops):
        names |= {start for start, end in steps.items() if end in names}
    linking = [
        page
        for page in pages.values()
        if page.namespace == 0 and page.to is None and any((0, name) in page.links for name in names)
    ]
    return title.replace("_", " "), len(linking)


def tables(pages: Mapping[int, Page]) -> dict[str, list[tuple[Value, ...]]]:
    """The wiki's tables, in the order of `COLUMNS`."""
    targets = sorted({link for page in pages.values() for link in page.links})
    number = {link: n for n, link in enumerate(targets, start=1000)}
    return {
        "page": [(n, p.namespace, p.title.encode(), int(p.to is not None), 0.25, None) for n, p in pages.items()],
        "redirect": [(n, p.to[0], p.to[1].encode(), p.to[2].encode() or None, b"") for n, p in pages.items() if p.to],
        "linktarget": [(number[link], link[0], link[1].encode()) for link in targets],
        "pagelinks": [(n, p.namespace, number[link]) for n, p in pages.items() for link in sorted(set(p.links))],
        "page_props": [
            row
            for n, p in pages.items()
            for row in ((n, b"wikibase_item", (p.item or "").encode(), None), (n, b"defaultsort", b"Q1", 1.5))
            if p.item or row[1] != b"wikibase_item"
        ],
    }


def by_title(rows_of: dict[str, list[tuple[Value, ...]]]) -> dict[str, list[tuple[Value, ...]]]:
    """The same wiki with pagelinks as they were up to 2024, without linktarget."""
    targets = {row[0]: row[1:] for row in rows_of["linktarget"]}
    links: list[tuple[Value, ...]] = [
        (source, *targets[target], namespace) for source, namespace, target in rows_of["pagelinks"]
    ]
    return {name: rows for name, rows in rows_of.items() if name not in ("linktarget", "pagelinks")} | {
        "pagelinks": links
    }


OLD_PAGELINKS = {
    "pl_from": "int(8) unsigned NOT NULL",
    "pl_namespace": "int(11) NOT NULL",
    "pl_title": "varbinary(255) NOT NULL",
    "pl_from_namespace": "int(11) NOT NULL",
}


def write(folder: Path, rows_of: Mapping[str, Sequence[Sequence[Value]]], wiki: str = "testwiki") -> Path:
    """Write the tables as gzipped dumps, and import them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in rows_of.items():
        columns = OLD_PAGELINKS if name == "pagelinks" and "linktarget" not in rows_of else COLUMNS[name]
        (folder / f"{wiki}-{DAY}-{name}.sql.gz").write_bytes(gzip.compress(dump(name, rows, columns), 1))
    list(import_folder(folder, Progress()))
    return folder


def export(database: Path, folder: Path, items: Mapping[str, str]) -> Path:
    """A MediaWiki's own tables in mysqldump's form, with items (id by title) in page_props, imported."""
    folder.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    connection.text_factory = bytes
    for name in ("page", "redirect", "linktarget", "pagelinks", "page_props"):
        schema = connection.execute(f"PRAGMA table_info({name})").fetchall()
        columns = {
            column.decode(): _type(kind.decode().upper()) + (" NOT NULL" if needed else " DEFAULT NULL")
            for _, column, kind, needed, *_ in schema
        }
        rows = [tuple(row) for row in connection.execute(f"SELECT * FROM {name}")]
        if name == "page_props":
            numbers = connection.execute("SELECT page_title, page_id FROM page WHERE page_namespace = 0")
            pages = {title.decode(): number for title, number in numbers}
            constants = {"pp_propname": b"wikibase_item", "pp_sortkey": None}
            for title, item in items.items():
                row = constants | {"pp_page": pages[title.replace(" ", "_")], "pp_value": item.encode()}
                rows.append(tuple(row[column] for column in columns))
        (folder / f"testwiki-{DAY}-{name}.sql.gz").write_bytes(gzip.compress(dump(name, rows, columns)))
    connection.close()
    list(import_folder(folder, Progress()))
    return folder


def _type(kind: str) -> str:
    return "bigint" if "INT" in kind else "double" if "DOUBLE" in kind or "FLOAT" in kind else "varbinary(255)"
