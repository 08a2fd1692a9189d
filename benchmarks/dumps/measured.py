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

from dual_data.engine.progress import Progress
from dual_data.sources.dumps import kept, triple_frames
from dual_data.sources.dumps.engines import Engine, Polars, Spark, Tables
from dual_data.sources.dumps.files import Source
from dual_data.sources.dumps.imports import BATCH, import_folder
from dual_data.sources.dumps.links import count
from dual_data.sources.dumps.manifests import FOLDER


def unpack(path: Path) -> int:
    """Plain decompression, hash included: bytes of text."""
    return sum(len(block) for block in Source(path).lines())


def unpack_with_python(path: Path) -> int:
    """The same with the gzip of the standard library."""
    with gzip.open(path) as file:
        return sum(len(data) for data in iter(lambda: file.read(1 << 20), b""))


def parse_links(path: Path) -> int:
    """SQL to frames: rows."""
    return sum(p.counts["rows"] for p in kept.pieces(Source(path).lines(), "pagelinks", str(path), 0, BATCH))


def parse_links_plainly(path: Path) -> int:
    """As one writes it first: a regular expression over each line, numbers to int."""
    row, found = re.compile(rb"\((\d+),(-?\d+),(\d+)\)"), 0
    links: list[tuple[int, int]] = []
    with gzip.open(path) as file:
        for line in file:
            if line.startswith(b"INSERT"):
                rows = row.findall(line)
                found += len(rows)
                links = [(int(source), int(target)) for source, namespace, target in rows if namespace == b"0"]
    assert links
    return found


def parse_triples(path: Path) -> int:
    """N-Triples to frames: lines."""
    return sum(piece.counts["lines"] for piece in triple_frames.pieces(Source(path).lines(), 0))


def parse_triples_plainly(path: Path) -> int:
    """As one writes it first: split each line, look at the predicate."""
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
    """The whole import, Parquet written: rows or lines read."""
    ((_, manifest, _),) = import_folder(path.parent, Progress().task)
    counts = manifest.counts()
    return counts.get("rows") or counts["lines"]


def group(path: Path) -> int:
    """The least that counting can be: links by target, without redirects, namespaces or items."""
    rows = pl.scan_parquet(path / FOLDER / "*pagelinks*" / "*.parquet").group_by("target").agg(pl.len())
    rows.select(pl.col("len").sum()).collect(engine="streaming").item()
    return Tables(path, Polars()).rows("pagelinks")


def count_some(path: Path) -> int:
    """Links of 50,000 items."""
    return _count(path, Polars(), pl.Series([f"Q{n}" for n in range(1, 125_000) if n % 5 < 2]))


def count_all(path: Path) -> int:
    """Links of all items."""
    return _count(path, Polars(), None)


def count_on_spark(path: Path) -> int:
    """Links of 50,000 items on two cores of Spark, its start included."""
    spark = Spark("local[2]")
    try:
        return _count(path, spark, pl.Series([f"Q{n}" for n in range(1, 125_000) if n % 5 < 2]))
    finally:
        spark.close()


def _count(path: Path, engine: Engine, qids: pl.Series | None) -> int:
    tables = Tables(path, engine)
    assert count(tables, qids)["inbound_links"].sum() > 0
    return tables.rows("pagelinks")


def count_plainly(path: Path) -> int:
    """As one writes it first: dictionaries and sets, all items."""

    def read(table: str) -> pl.DataFrame:
        return pl.read_parquet(path / FOLDER / f"*-{table}.sql" / "*.parquet")

    pages = {page: (title, redirect) for page, title, redirect in read("page").iter_rows()}
    final = {pages[source][0]: title for source, title in read("redirect").iter_rows() if source in pages}
    titles = {target: final.get(title, title) for target, title in read("linktarget").iter_rows()}
    items = {pages[page][0]: qid for page, qid in read("page_props").iter_rows() if page in pages}
    seen, found, last = set[str](), Counter[str](), None
    links = read("pagelinks")
    for source, target in links.iter_rows():
        if source != last:
            seen, last = set(), source
        title = titles[target]
        if title in items and title not in seen and not pages[source][1]:
            seen.add(title)
            found[items[title]] += 1
    assert found
    return links.height


WORK: dict[str, Callable[[Path], int]] = {
    work.__name__: work
    for work in (
        unpack, unpack_with_python, parse_links, parse_links_plainly, parse_triples, parse_triples_plainly, take_in,
        group, count_some, count_all, count_on_spark, count_plainly,
    )
}  # fmt: skip


def _peak_kilobytes() -> int:
    """Most memory held; getrusage would tell the parent's where that held more before the fork."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0])


def main() -> None:
    """Measure once."""
    what, path = sys.argv[1], Path(sys.argv[2])
    started, busy = time.perf_counter(), time.process_time()
    done = WORK[what](path)
    seconds, cpu = time.perf_counter() - started, time.process_time() - busy
    peak = _peak_kilobytes() / 1024
    print(json.dumps({"done": done, "seconds": seconds, "cpu": cpu, "peak_megabytes": peak}))


if __name__ == "__main__":
    main()
