"""What a run showed, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks import readme

NAIVE = {
    "parse_links": "parse_links_plainly", "parse_titles": "parse_titles_plainly",
    "parse_triples": "parse_triples_plainly", "count_all": "count_plainly",
}  # fmt: skip
PARSED = {"pagelinks": "parse_links", "linktarget": "parse_titles", "truthy": "parse_triples"}
COUNTS = ("group", "count_some", "count_all")
RATES = {"pagelinks": 7.0, "truthy": 3.0}
"""Targets in million rows or lines per second."""
SECONDS, GIGABYTES, LINKS = 20.0, 4.0, 200_000_000
"""Targets of a count: seconds and gigabytes for so many links."""
ENGLISH = {"pagelinks": 1.5e9, "linktarget": 100e6}
"""Rows of the English Wikipedia's tables; the first is an assumption without a source."""
PAGES, PAGE_GIGABYTES, PACKED_PAGELINKS = 17.2e6, 2.0, "6.4-6.8"
TRUTHY = 8e9
"""Lines of a full truthy dump, also an assumption."""

Table = Mapping[str, Any]


def rendered(results: Mapping[str, Any]) -> str:
    """The end of the README, which is made from results.json."""
    parts = [_machine(results), _measurements(results), _targets(results), _growth(results), _spark(results)]
    return "\n\n".join([*(part for part in parts if part), "## Extrapolation", _extrapolation(results)]) + "\n"


def _machine(results: Mapping[str, Any]) -> str:
    host = results["machine"]
    loads = [table["load"] for table in results["tables"]]
    packages = ", ".join(f"{name} {number}" for name, number in host["packages"].items())
    return (
        f"{host['date']}: {host['processor']}, {host['cores']} cores, {host['memory_gigabytes']} GB; "
        f"Python {host['python']}, {packages}.\n"
        f"Load {host['load']} before the runs, {min(loads)} to {max(loads)} before each table, the work "
        f"on those before it included. Fastest of {results['repeat']} (`results.json`)."
    )


def _measurements(results: Mapping[str, Any]) -> str:
    rows = []
    for table in results["tables"]:
        for work, run in table["measured"].items():
            rate = "" if work.startswith("unpack") else f"{_rate(run):.2f} M {table['unit']}/s"
            naive = table["measured"].get(NAIVE.get(work, ""))
            times = f"{naive['seconds'] / run['seconds']:.1f}" if naive else ""
            rows.append((
                f"{table['name']}, {table['size'] / 1e6:g} M", f"`{work}`", f"{run['seconds']:.2f}",
                f"{run['cpu']:.2f}", rate, f"{run['ratio']:.1f}", times, f"{run['peak_megabytes']:.0f}",
            ))  # fmt: skip
    head = ("data", "work", "wall s", "cpu s", "rate", "times the first line", "times faster than plainly", "peak MB")
    return readme.table(head, rows)


def _targets(results: Mapping[str, Any]) -> str:
    rows = []
    for name, target in RATES.items():
        for table in _named(results, name):
            reached = _rate(table["measured"][PARSED[name]])
            rows.append(
                (f"`{PARSED[name]}`, M {table['unit']}/s", f"{target:g}", f"{reached:.2f}", _met(reached >= target))
            )
    for table in _named(results, "wiki"):
        for work in COUNTS if table["size"] >= LINKS else ():
            run = table["measured"][work]
            gigabytes = run["peak_megabytes"] / 1024
            met = _met(run["seconds"] < SECONDS and gigabytes < GIGABYTES)
            aim, reached_text = f"{SECONDS:g} s, {GIGABYTES:g} GB", f"{run['seconds']:.1f} s, {gigabytes:.1f} GB"
            rows.append((f"`{work}`, {table['size'] / 1e6:g} M links", aim, reached_text, met))
    return readme.table(("aim", "target", "reached", ""), rows)


def _growth(results: Mapping[str, Any]) -> str:
    wikis = _named(results, "wiki")
    if len(wikis) < 2:
        return ""
    rows = []
    for work in COUNTS:
        costs = [table["measured"][work]["seconds"] / table["size"] * 1e9 for table in wikis]
        rows.append((f"`{work}`", *(f"{cost:.1f}" for cost in costs), f"{costs[-1] / costs[0]:.2f}"))
    head = ("ns a link at", *(f"{table['size'] / 1e6:g} M" for table in wikis), "largest to smallest")
    text = (
        "Growth: 1 in the last column is linear; less is the start that small counts pay, more is caches outgrown by\n"
        "pages and titles, which grow as the links do.\n\n"
    )
    return text + readme.table(head, rows)


def _spark(results: Mapping[str, Any]) -> str:
    rows = []
    for table in _named(results, "wiki"):
        one, two = (table["measured"].get(f"count_on_spark_{cores}") for cores in (1, 2))
        if one and two:
            polars = table["measured"]["count_some"]["seconds"]
            rows.append((
                f"{table['size'] / 1e6:g} M", f"{two['start']:.1f}", f"{one['seconds']:.1f}", f"{two['seconds']:.1f}",
                f"{one['seconds'] / two['seconds']:.2f}", f"{polars:.1f}", f"{two['seconds'] / polars:.1f}",
            ))  # fmt: skip
    head = ("links", "start s", "`local[1]` s", "`local[2]` s", "speed-up of 2", "polars s", "Spark to polars")
    text = "Spark, one run each, its start apart; more than two cores and a cluster were not measured.\n\n"
    return text + readme.table(head, rows) if rows else ""


def _extrapolation(results: Mapping[str, Any]) -> str:
    rows = []
    imports = {table["name"]: table for table in results["tables"] if "take_in" in table["measured"]}
    for name, size in ENGLISH.items():
        if name in imports:
            text = f"import {name}, {size / 1e6:,.0f} M rows"
            rows.append((text, _minutes(_each(imports[name], "take_in") * size), _disk(imports[name], size)))
    if "linktarget" in imports:
        table = imports["linktarget"]
        seconds = table["measured"]["take_in"]["seconds"] / table["packed_megabytes"] * PAGE_GIGABYTES * 1e3
        text = f"import page, {PAGES / 1e6:g} M articles in {PAGE_GIGABYTES:g} GB, as linktarget by the packed byte"
        rows.append((text, _minutes(seconds), ""))
    for table in _named(results, "wiki")[-1:]:
        for work in COUNTS[1:]:
            seconds = _each(table, work) * ENGLISH["pagelinks"]
            rows.append((f"`{work}` of them, from {table['size'] / 1e6:g} M links", _minutes(seconds), ""))
    if "truthy" in imports:
        text = f"import a truthy dump, {TRUTHY / 1e9:g} G lines"
        rows.append((text, _minutes(_each(imports["truthy"], "take_in") * TRUTHY), _disk(imports["truthy"], TRUTHY)))
    return f"""A full English Wikipedia and a full Wikidata on this machine, if everything grew in proportion:

{readme.table(("step", "minutes", "GB of Parquet"), rows)}

- Sizes: pagelinks {PACKED_PAGELINKS} GB packed and linktarget 0.96 GB with about 100 M rows, 10.8 M redirects. The
  {ENGLISH["pagelinks"] / 1e9:g} G rows of pagelinks and the {TRUTHY / 1e9:g} G lines of a truthy dump are assumptions \
without a source to quote.
- Unproven: no real dump was read at this size. Real titles, names and numbers pack and vary differently; a truthy dump
  holds other shares of claims and languages. Beyond the largest count the memory is not known: links are counted in
  ranges of pages, but titles, redirects and items are held whole. Downloading, redirect, page_props and disks slower
  than the reading are left out."""


def _named(results: Mapping[str, Any], name: str) -> list[Table]:
    return sorted((table for table in results["tables"] if table["name"] == name), key=lambda table: int(table["size"]))


def _rate(run: Mapping[str, float]) -> float:
    return run["done"] / run["seconds"] / 1e6


def _each(table: Table, work: str) -> float:
    run = table["measured"][work]
    return float(run["seconds"] / run["done"])


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f}"


def _disk(table: Table, size: float) -> str:
    return f"{table['imported_megabytes'] / table['measured']['take_in']['done'] * size / 1e3:.1f}"


def _met(met: bool) -> str:
    return "met" if met else "not met"
