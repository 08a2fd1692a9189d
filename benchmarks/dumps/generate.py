"""Files shaped like dumps, from a fixed seed: the same bytes every time.

Page ids rise through pagelinks, as in its primary key; targets are heavy-tailed; three of ten links come from other
namespaces. Items have labels, descriptions and aliases in many languages, most of which no build reads, as in Wikidata.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from dual_data.sources.dumps.manifests import VERSION, ImportManifest, Part, part_path, write_manifest, write_part

DAY = "20261101"
SLICE = 1_000_000
ROWS_PER_INSERT = 45_000
"""Rows of an INSERT: about a megabyte, as mysqldump writes them."""
_HEAD = (
    "CREATE TABLE `pagelinks` (\n  `pl_from` int(8) unsigned NOT NULL DEFAULT 0,\n"
    "  `pl_from_namespace` int(11) NOT NULL DEFAULT 0,\n  `pl_target_id` bigint(20) unsigned NOT NULL,\n"
    "  PRIMARY KEY (`pl_from`,`pl_target_id`)\n) ENGINE=InnoDB;\n"
)
_TITLES = (
    "CREATE TABLE `linktarget` (\n  `lt_id` bigint(20) unsigned NOT NULL,\n  `lt_namespace` int(11) NOT NULL,\n"
    "  `lt_title` varbinary(255) NOT NULL,\n  PRIMARY KEY (`lt_id`)\n) ENGINE=InnoDB;\n"
)
_LANGUAGES = "en de fr es ru ja zh it pt ar nl sv pl uk fa ca he cs fi tr ko hu da nb ro".split()  # noqa: SIM905
_WORDS = ("List_of_names", "Battle", r"O\'Neill", "Élan", r"The_\"thing\"", "Łódź", "University", "1999_in_music")
_ENTITY, _DIRECT = "http://www.wikidata.org/entity/", "http://www.wikidata.org/prop/direct/"


def links(rng: np.random.Generator, start: int, rows: int, pages: int, all_rows: int, targets: int) -> pl.DataFrame:
    """Columns source (rising), namespace and target of `rows` rows from `start`, of `all_rows`."""
    low, high = 1 + start * pages // all_rows, 1 + (start + rows) * pages // all_rows
    return pl.DataFrame(
        {
            "source": np.sort(rng.integers(low, max(high, low + 1), rows)),
            "namespace": (rng.random(rows) < 0.3) * rng.integers(1, 15, rows),
            "target": (targets * rng.random(rows) ** 3).astype(np.int64) + 1,
        }
    ).unique(["source", "target"], maintain_order=True)


def pagelinks(folder: Path, rows: int) -> Path:
    """A pagelinks dump of about `rows` rows."""
    path = folder / f"benchwiki-{DAY}-pagelinks.sql.gz"
    rng = np.random.default_rng(1)

    def fill(file: gzip.GzipFile) -> None:
        file.write(_HEAD.encode())
        for start in range(0, rows, SLICE):
            slice_links = links(rng, start, min(SLICE, rows - start), rows // 15, rows, rows // 10)
            _insert(file, "pagelinks", slice_links)

    return _written(path, fill)


def linktarget(folder: Path, rows: int) -> Path:
    """A linktarget dump of `rows` rows, three of ten in the article namespace, as in the largest wiki.

    Some titles have quotes, which are escaped, and letters of more than one byte.
    """
    path = folder / f"benchwiki-{DAY}-linktarget.sql.gz"
    rng = np.random.default_rng(4)

    def fill(file: gzip.GzipFile) -> None:
        file.write(_TITLES.encode())
        for start in range(0, rows, SLICE):
            number = np.arange(start + 1, min(start + SLICE, rows) + 1)
            word = rng.integers(0, 1 << 40, len(number))
            title = pl.format(
                "'{}_{}_{}'", pl.Series(rng.choice(_WORDS, len(number))), pl.Series(word), pl.Series(number)
            )
            space = (rng.random(len(number)) > 0.3) * rng.integers(1, 15, len(number))
            _insert(file, "linktarget", pl.select(pl.Series(number), pl.Series("space", space), title=title))

    return _written(path, fill)


def _insert(file: gzip.GzipFile, table: str, rows: pl.DataFrame) -> None:
    lines = rows.write_csv(include_header=False, quote_style="never").encode().split(b"\n")[:-1]
    for start in range(0, len(lines), ROWS_PER_INSERT):
        values = b"),(".join(lines[start : start + ROWS_PER_INSERT])
        file.write(f"INSERT INTO `{table}` VALUES (".encode() + values + b");\n")


def truthy(folder: Path, lines: int) -> Path:
    """A truthy dump of about `lines` lines: an eighth are claims about items, an eighth other claims."""
    path = folder / f"wikidata-{DAY}-truthy-BETA.nt.gz"
    rng = np.random.default_rng(2)
    written = 0

    def fill(file: gzip.GzipFile) -> None:
        nonlocal written
        number = 0
        while written < lines:
            block: list[str] = []
            for _ in range(2000):
                number += 1
                block += _item(rng, number)
            written += len(block)
            file.write("".join(block).encode())

    return _written(path, fill)


def _item(rng: np.random.Generator, number: int) -> list[str]:
    subject = f"<{_ENTITY}Q{number}>"
    lines = []
    for language in _LANGUAGES[: int(rng.integers(1, len(_LANGUAGES)))]:
        nickname = ' \\"Née\\"' if number % 20 == 0 else ""
        name = f'"Name {number}{nickname} Élan"@{language} .\n'
        for predicate in (
            "http://www.w3.org/2000/01/rdf-schema#label",
            "http://www.w3.org/2004/02/skos/core#prefLabel",
            "http://schema.org/name",
        ):
            lines.append(f"{subject} <{predicate}> {name}")
        lines.append(f'{subject} <http://schema.org/description> "thing number {number} of many"@{language} .\n')
    for item in rng.integers(1, 1_000_000, 7):
        lines.append(f"{subject} <{_DIRECT}P{item % 300 + 1}> <{_ENTITY}Q{item}> .\n")
        lines.append(f'{subject} <{_DIRECT}P{item % 900 + 1000}> "{item:09d}" .\n')
    return lines


def _written(path: Path, fill: Callable[[gzip.GzipFile], None]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    with gzip.open(temporary, "wb", compresslevel=4) as file:
        fill(file)
    return temporary.replace(path)


def wiki(folder: Path, rows: int) -> Path:
    """An imported wiki with about `rows` links between articles, in the proportions of a large one, as Parquet.

    There is one page per 15 links; 40 % of the pages are articles with an item, the others redirects to one of them.
    There is one target per 10 links; two thirds of the targets exist.
    """
    rng = np.random.default_rng(3)
    targets, pages = rows // 10, rows // 15
    number = np.arange(1, pages + 1)
    redirect = number % 5 >= 2
    title = pl.format("A_title_{}", pl.Series(number))
    page = pl.select(page=pl.Series(number), title=title, redirect=pl.Series(redirect))
    articles = number[~redirect]
    away = page.filter("redirect").select(source="page")
    chosen = articles[(len(articles) * rng.random(away.height) ** 2).astype(np.int64)]
    tables = {
        "page": page,
        "redirect": away.with_columns(title=pl.format("A_title_{}", pl.Series(chosen))),
        "linktarget": pl.select(
            target=pl.Series(np.arange(1, targets + 1)),
            title=pl.format("A_title_{}", pl.Series(np.arange(1, targets + 1))),
        ),
        "page_props": pl.select(page=pl.Series(articles), qid=pl.format("Q{}", pl.Series(articles))),
    }
    for name, frame in tables.items():
        _imported(folder, name, [frame.height], lambda _, frame=frame: frame)  # type: ignore[misc]
    sizes = [min(SLICE * 5, rows - start) for start in range(0, rows, SLICE * 5)]
    _imported(
        folder,
        "pagelinks",
        sizes,
        lambda place: links(rng, sum(sizes[:place]), sizes[place], pages, rows, targets).drop("namespace"),
    )
    return folder


def _imported(folder: Path, table: str, sizes: list[int], make: Callable[[int], pl.DataFrame]) -> None:
    """Write what an import of the table would have left."""
    place = folder / "imported" / f"benchwiki-{DAY}-{table}.sql"
    place.mkdir(parents=True, exist_ok=True)
    parts = []
    for number in range(len(sizes)):
        frame = make(number)
        size = write_part(frame, part_path(place, table, number))
        parts.append(Part(rows={table: frame.height}, sizes={table: size}, end=number + 1, counts={}))
    manifest = ImportManifest(
        version=VERSION, file=f"benchwiki-{DAY}-{table}.sql.gz", size=0, changed=0, wiki="benchwiki", date=DAY,
        table=table, sha256="0" * 64, parts=tuple(parts),
    )  # fmt: skip
    write_manifest(place, manifest)
