"""Readers of the four packages from which the embedded snapshot is made; each returns rows and hashes of the files."""

from __future__ import annotations

import hashlib
import json
import lzma
import subprocess
import warnings
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

Row = dict[str, Any]

# Natural Earth's spellings of "no value".
_MISSING = {"<NA>", "nan", "-99", "-99.0", "-099", "-90", ""}

_RELEASED = {
    "rnaturalearthdata 1.0.0": "2024-02-09",
    "@rapideditor/country-coder 5.6.1": "2026-02-27",
    "wikidata-lang 5.0.1": "2026-03-20",
    "rigour 2.6.1": "2026-10-21",
}
"""Release day in the package's registry (CRAN, npm, PyPI); most packages do not contain it."""

_BORDERS = """
const coder = require("@rapideditor/country-coder");
process.stdout.write(JSON.stringify(coder.borders.features.map((feature) => feature.properties)));
"""


class Source(NamedTuple):
    """One package: what it is, what was read from it, and its rows by table."""

    key: str
    name: str
    package: str
    version: str
    released: str
    """Day of the release, YYYY-MM-DD."""
    licence: str
    licence_text: str
    files: dict[str, str]
    """SHA-256 by file that was read."""
    tables: dict[str, list[Row]]


def read_natural_earth(library: Path) -> Source:
    """Countries and first-level divisions of Natural Earth 1:50m from the R package `rnaturalearthdata`.

    `library` is the R library folder that holds the package, such as /usr/lib/R/site-library.
    """
    folder = library / "rnaturalearthdata"
    description = dict(
        line.split(": ", 1) for line in (folder / "DESCRIPTION").read_text().splitlines() if ": " in line
    )
    index, objects = folder / "data" / "Rdata.rdx", folder / "data" / "Rdata.rdb"
    names = ("countries50", "states50")
    frames = _read_lazy_load(index.read_bytes(), objects.read_bytes(), names)
    return Source(
        "natural_earth",
        "Natural Earth 1:50m, through the R package rnaturalearthdata",
        "Debian: r-cran-rnaturalearthdata",
        description["Version"],
        _released("rnaturalearthdata", description["Version"]),
        "CC0-1.0",
        "Natural Earth is in the public domain. The R package rnaturalearthdata, by Andy South, Michael Schramm and\n"
        "Philippe Massicotte, states `License: CC0`: Creative Commons Zero 1.0 Universal.\n",
        {path.name: _sha256(path.read_bytes()) for path in (index, objects)},
        frames,
    )


def read_country_coder(modules: Path) -> Source:
    """Territories and regions of the npm package `@rapideditor/country-coder`, as the package itself derives them.

    Node runs the package, because it derives driving side, calling codes and groups of a country from its members.
    """
    folder = modules / "@rapideditor" / "country-coder"
    node = subprocess.run(
        ["node", "-e", _BORDERS],
        cwd=modules.parent,
        check=True,
        capture_output=True,
        text=True,
    )
    version = json.loads((folder / "package.json").read_text())["version"]
    return Source(
        "country_coder",
        "country-coder",
        "npm: @rapideditor/country-coder",
        version,
        _released("@rapideditor/country-coder", version),
        "ISC",
        (folder / "LICENSE.md").read_text(),
        {"dist/country-coder.cjs": _sha256((folder / "dist" / "country-coder.cjs").read_bytes())},
        {"features": json.loads(node.stdout)},
    )


def read_wikidata_lang(modules: Path) -> Source:
    """Languages of the npm package `wikidata-lang`: items and their ISO 639 codes, from a query on Wikidata."""
    folder = modules / "wikidata-lang"
    data = folder / "data" / "languages.json"
    package = json.loads((folder / "package.json").read_text())
    return Source(
        "wikidata_lang",
        "wikidata-lang",
        "npm: wikidata-lang",
        package["version"],
        _released("wikidata-lang", package["version"]),
        package["license"],
        f"The package states `license: {package['license']}` and `author: {package['author']}` and carries no further\n"
        "text. Its data are the result of a query on Wikidata, whose structured data are CC0.\n",
        {"data/languages.json": _sha256(data.read_bytes())},
        {"languages": json.loads(data.read_text())},
    )


def read_rigour() -> Source:
    """Territories of the PyPI package `rigour`.

    They are compiled into its extension module; only `territories_jsonl` returns them with all fields, some of which
    its public class hides. The hash is that of this text, since the module differs by platform.
    """
    from rigour._core import territories_jsonl

    text: str = territories_jsonl()
    package = metadata.distribution("rigour")
    licence = next(path for path in package.files or [] if path.name == "LICENSE")
    return Source(
        "rigour",
        "rigour territories",
        "PyPI: rigour",
        package.version,
        _released("rigour", package.version),
        "MIT",
        licence.read_text(),
        {"territories.jsonl": _sha256(text.encode())},
        {"territories": [json.loads(line) for line in text.splitlines() if line.strip()]},
    )


def _released(package: str, version: str) -> str:
    """The release day of a package. Raises SystemExit for a version that `_RELEASED` lacks."""
    day = _RELEASED.get(f"{package} {version}")
    if day is None:
        raise SystemExit(f"{package} {version}: write the day of its release into _RELEASED of {__name__}")
    return day


def _read_lazy_load(index: bytes, objects: bytes, names: Iterable[str]) -> dict[str, list[Row]]:
    """Data frames of R's lazy-load database: the index has offset and length of each compressed object in `objects`."""
    import rdata

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # R classes without a counterpart are read as their underlying types
        positions = rdata.conversion.convert(rdata.parser.parse_data(index, extension=".rds"))["variables"]
        tables = {}
        for name in names:
            offset, length = (int(number) for number in positions[name])
            frame = rdata.conversion.convert(
                rdata.parser.parse_data(_inflate(objects[offset : offset + length]), extension=".rds")
            )
            columns: dict[str, list[Any]] = {str(column): frame[column].tolist() for column in frame}
            columns["geometry"] = [list(_rings(shape)) for shape in columns["geometry"]]
            tables[name] = _rows(columns)
    return tables


def _rings(shape: Any) -> Iterator[list[tuple[float, float]]]:
    """Closed rings of longitudes and latitudes, from the nested lists of R's package sf."""
    if hasattr(shape, "ndim"):
        # A millionth of a degree is 11 cm; common points of neighbours may differ in the last bit.
        yield [(round(float(longitude), 6), round(float(latitude), 6)) for longitude, latitude in shape]
    else:
        for shape_part in shape:
            yield from _rings(shape_part)


def _inflate(chunk: bytes) -> bytes:
    """An object of R's type 3 compression: length in big-endian, the letter Z, raw LZMA2."""
    if chunk[4:5] != b"Z":
        raise ValueError(f"not an LZMA object of R: {chunk[:5]!r}")
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 6 | lzma.PRESET_EXTREME}]
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters).decompress(chunk[5:])


def _rows(columns: Mapping[str, list[Any]]) -> list[Row]:
    length = len(next(iter(columns.values())))
    return [
        {name: None if _is_missing(values[row]) else values[row] for name, values in columns.items()}
        for row in range(length)
    ]


def _is_missing(value: Any) -> bool:
    return not isinstance(value, list) and str(value) in _MISSING


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
