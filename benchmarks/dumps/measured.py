"""One measurement in a process of its own: python -m benchmarks.dumps.measured WHAT PATH; prints a line of JSON."""

from __future__ import annotations

import gzip
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import polars as pl

from benchmarks.dumps.processes import cpu_seconds, peak_megabytes
from dual_data.sources.dumps import kept, triples
from dual_data.sources.dumps.engines import Engine, Polars, Spark, Tables
from dual_data.sources.dumps.files import Source
from dual_data.sources.dumps.imports import BATCH, import_folder
from dual_data.sources.dumps.links import count
from dual_data.sources.dumps.manifests import FOLDER
from dual_data.system.progress import Progress


def unpack(path: Path) -> int:
    """Plain decompression, with the hash: bytes of text."""
    return sum(len(block) for block in Source(path).lines())


def unpack_with_python(path: Path) -> int:
    """The same with the gzip of the standard library."""
    with gzip.open(path) as file:
        return sum(len(data) for data in iter(lambda: file.read(1 << 20), b""))


def parse_links(path: Path) -> int:
    """SQL to frames: number of rows."""
    return _parse(path, "pagelinks")


def parse_links_plainly(path: Path) -> int:
    """The naive version: a regular expression over each line, numbers to int."""
    row, row_count = re.compile(rb"\((\d+),(-?\d+),(\d+)\)"), 0
    links: list[tuple[int, int]] = []
    with gzip.open(path) as file:
        for line in file:
            if line.startswith(b"INSERT"):
                rows = row.findall(line)
                row_count += len(rows)
                links = [(int(source), int(target)) for source, namespace, target in rows if namespace == b"0"]
    assert links
    return row_count


def parse_titles(path: Path) -> int:
    """SQL with strings to frames: number of rows."""
    return _parse(path, "linktarget")


def _parse(path: Path, table: str) -> int:
    return sum(piece.counts["rows"] for piece in kept.pieces(Source(path).lines(), table, str(path), 0, BATCH))


def parse_titles_plainly(path: Path) -> int:
    """The naive version: a regular expression over each line, titles unescaped and decoded."""
    row, row_count = re.compile(rb"\((\d+),(-?\d+),'((?:[^'\\]|\\.)*)'\)"), 0
    titles: dict[int, str] = {}
    with gzip.open(path) as file:
        for line in file:
            if line.startswith(b"INSERT"):
                rows = row.findall(line)
                row_count += len(rows)
                for target, namespace, title in rows:
                    if namespace == b"0":
                        titles[int(target)] = re.sub(rb"\\(.)", rb"\1", title).decode()
    assert titles
    return row_count


def parse_triples(path: Path) -> int:
    """N-Triples to frames: number of lines."""
    return sum(piece.counts["lines"] for piece in triples.pieces(Source(path).lines(), 0))


def parse_triples_plainly(path: Path) -> int:
    """The naive version: split each line, look at the predicate."""
    lines = 0
    kept_rows: list[tuple[str, str, str]] = []
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            lines += 1
            subject, predicate, target = line[:-3].split(" ", 2)
            if "/prop/direct/P" in predicate or target.endswith('"@en'):
                kept_rows.append((subject[32:-1], predicate, target))
    return lines


def take_in(path: Path) -> int:
    """The whole import into Parquet: number of rows or lines read."""
    ((_, manifest, _),) = import_folder(path.parent, Progress())
    counts = manifest.counts()
    return counts.get("rows") or counts["lines"]


def group(path: Path) -> int:
    """The lower bound of counting: links by target, without redirects, namespaces or items."""
    rows = (
        pl.scan_parquet(sorted((path / FOLDER).glob("*pagelinks*/*.parquet")), glob=False)
        .group_by("target")
        .agg(pl.len())
    )
    rows.select(pl.col("len").sum()).collect(engine="streaming").item()
    return Tables(path, Polars()).rows("pagelinks")


def count_some(path: Path, engine: Engine | None = None) -> int:
    """Links of 50,000 items; on Spark if it is the engine, which is already running."""
    return _count(path, engine or Polars(), pl.Series([f"Q{n}" for n in range(1, 125_000) if n % 5 < 2]))


def count_all(path: Path) -> int:
    """Links of all items."""
    return _count(path, Polars(), None)


def _count(path: Path, engine: Engine, qids: pl.Series | None) -> int:
    tables = Tables(path, engine)
    assert count(tables, qids)["inbound_links"].sum() > 0
    return tables.rows("pagelinks")


def count_plainly(path: Path) -> int:
    """The naive version: dictionaries and sets, all items."""

    def read(table: str) -> pl.DataFrame:
        return pl.read_parquet(sorted((path / FOLDER).glob(f"*-{table}.sql/*.parquet")), glob=False)

    pages = {page: (title, redirect) for page, title, redirect in read("page").iter_rows()}
    final = {pages[source][0]: title for source, title in read("redirect").iter_rows() if source in pages}
    titles = {target: final.get(title, title) for target, title in read("linktarget").iter_rows()}
    items = {pages[page][0]: qid for page, qid in read("page_props").iter_rows() if page in pages}
    seen, counts, last = set[str](), Counter[str](), None
    links = read("pagelinks")
    for source, target in links.iter_rows():
        if source != last:
            seen, last = set(), source
        title = titles[target]
        if title in items and title not in seen and not pages[source][1]:
            seen.add(title)
            counts[items[title]] += 1
    assert counts
    return links.height


WORK: dict[str, Callable[[Path], int]] = {
    work.__name__: work
    for work in (
        unpack, unpack_with_python, parse_links, parse_links_plainly, parse_titles, parse_titles_plainly,
        parse_triples, parse_triples_plainly, take_in, group, count_some, count_all, count_plainly,
    )
}  # fmt: skip
MASTERS = {"count_on_spark_1": "local[1]", "count_on_spark_2": "local[2]"}


def main() -> None:
    """Measure once."""
    what, path = sys.argv[1], Path(sys.argv[2])
    before = time.perf_counter()
    spark = Spark(MASTERS[what]) if what in MASTERS else None
    started, busy = time.perf_counter(), cpu_seconds()
    done = WORK[what](path) if spark is None else count_some(path, spark)
    result = {"done": done, "seconds": time.perf_counter() - started, "cpu": cpu_seconds() - busy}
    result |= {"start": started - before, "peak_megabytes": peak_megabytes()}
    if spark is not None:
        spark.close()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
