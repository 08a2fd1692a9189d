"""Build the data snapshot of `dual_data.sources.embedded` from installed packages.

The build reads four packages and nothing else; it needs no network. Install them once:

    apt-get install r-cran-rnaturalearthdata      (or apt-get download it and unpack it with dpkg -x)
    npm install --prefix FOLDER @rapideditor/country-coder@5.6.1 wikidata-lang@5.0.1
    pip install rdata rigour==2.6.1

and then, from the root of the repository:

    python -m scripts.build_embedded --modules FOLDER/node_modules [--library /usr/lib/R/site-library] [--out DIR]

The same packages give the same snapshot: the text is sorted and has no timestamp. Its SHA-256 is in sources.toml, and
its date, that of the newest release among the packages. The build stops where two sources give one item different ISO
3166-1 codes.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from scripts.embedded.facts import gather
from scripts.embedded.graph import ntriples
from scripts.embedded.snapshot import PROPERTIES, Snapshot
from scripts.embedded.sources import (
    Source,
    read_country_coder,
    read_natural_earth,
    read_rigour,
    read_wikidata_lang,
)

OUT = Path(__file__).parents[1] / "dual_data" / "sources" / "embedded"
LIBRARY = Path("/usr/lib/R/site-library")


def build(library: Path, modules: Path, out: Path) -> Snapshot:
    """Read the packages and write snapshot.nt.gz, sources.toml and licenses/ into `out`."""
    sources = [
        read_natural_earth(library),
        read_country_coder(modules),
        read_rigour(),
        read_wikidata_lang(modules),
    ]
    snapshot = gather(*sources)
    text = ntriples(snapshot, sources).encode()
    (out / "licenses").mkdir(parents=True, exist_ok=True)
    (out / "snapshot.nt.gz").write_bytes(gzip.compress(text, 9, mtime=0))
    (out / "sources.toml").write_text(_sources_toml(snapshot, sources, text), encoding="utf-8")
    for source in sources:
        (out / "licenses" / f"{source.key}.txt").write_text(source.licence_text, encoding="utf-8")
    return snapshot


def _sources_toml(snapshot: Snapshot, sources: Sequence[Source], text: bytes) -> str:
    stated = Counter(source for names in snapshot.facts.values() for source in names)
    alone = Counter(next(iter(names)) for names in snapshot.facts.values() if len(names) == 1)
    properties = Counter(fact.property for fact in snapshot.facts)
    lines = [
        "# Written by scripts/build_embedded.py: what the snapshot is made from. SOURCES.md says what it means.",
        "",
        "[snapshot]",
        f"sha256 = {_quoted(hashlib.sha256(text).hexdigest())}  # of the unpacked N-Triples",
        f"date = {_quoted(max(source.released for source in sources))}  # of the newest release below",
        f"entities = {len(snapshot.entities)}",
        f"facts = {len(snapshot.facts)}",
        f"triples = {len(text.splitlines())}",
    ]
    for source in sources:
        lines += [
            "",
            f"[sources.{source.key}]",
            f"name = {_quoted(source.name)}",
            f"package = {_quoted(source.package)}",
            f"version = {_quoted(source.version)}",
            f"released = {_quoted(source.released)}",
            f"licence = {_quoted(source.licence)}",
            f"facts = {stated[source.key]}",
            f"facts_of_it_alone = {alone[source.key]}",
            *(f"files.{_quoted(name)} = {_quoted(digest)}" for name, digest in sorted(source.files.items())),
        ]
    lines += ["", "[facts]  # by property"]
    lines += [f"{name} = {properties[name]}  # {label}" for name, label in PROPERTIES.items()]
    lines += ["", "[compared]  # items whose code two sources or more give, all of them alike"]
    lines += [f"{name} = {count}  # {PROPERTIES[name]}" for name, count in snapshot.compared.items()]
    for withheld in sorted(snapshot.withheld):
        lines += ["", "[[withheld]]"]
        lines += [f"{key} = {_quoted(value)}" for key, value in withheld._asdict().items()]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the embedded snapshot from installed packages.")
    parser.add_argument("--modules", type=Path, required=True, help="the node_modules folder with the npm packages")
    parser.add_argument("--library", type=Path, default=LIBRARY, help="the R library folder (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=OUT, help="where to write (default: %(default)s)")
    options = parser.parse_args()
    snapshot = build(options.library.resolve(), options.modules.resolve(), options.out)
    print(f"{len(snapshot.entities)} entities, {len(snapshot.facts)} facts, {len(snapshot.withheld)} withheld")


if __name__ == "__main__":
    main()
