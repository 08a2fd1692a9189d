"""What an import says about itself: the dump that it is of, and the parts that are complete.

A file that no manifest names is ignored; one that it names is checked before it is used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet
from pydantic import ValidationError

from dual_data.config import Strict
from dual_data.sealed import Sealed
from dual_data.system.files import write_parquet, write_text

VERSION = 3
"""Raised whenever the import gives something else for the same file."""
FOLDER = "imported"
_NAME = "manifest.json"


class Part(Strict):
    """Files that were written together."""

    rows: Mapping[str, int]
    """By table; the file is `<table>-<number>.parquet`, the number being the part's position."""
    sizes: Mapping[str, int]
    """Bytes of the files, by table."""
    end: int
    """Bytes of the text up to the end of this part."""
    counts: Mapping[str, int]
    """Statistics of the lines, such as `invalid_utf8`."""


class ImportManifest(Sealed):
    """manifest.json of an imported dump."""

    version: int
    file: str
    size: int
    changed: int
    """Time of the file's last change in ns; its content is not hashed again while size and time stay."""
    wiki: str
    date: str
    table: str
    sha256: str | None = None
    """Of the file; None while parts are missing."""
    parts: tuple[Part, ...] = ()

    def rows(self) -> dict[str, int]:
        """Rows by table."""
        return total(part.rows for part in self.parts)

    def counts(self) -> dict[str, int]:
        """Counts over all parts."""
        return total(part.counts for part in self.parts)


def total(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sum of counts by name, without those of nothing."""
    return dict(sum(map(Counter, counts), Counter[str]()))


def read_manifest(folder: Path) -> ImportManifest | None:
    """The manifest of an import's folder, or None where there is none that can be read."""
    try:
        return ImportManifest.model_validate_json((folder / _NAME).read_bytes())
    except (OSError, ValidationError):
        return None


def write_manifest(folder: Path, manifest: ImportManifest) -> None:
    """Write it, sealed."""
    write_text(folder / _NAME, manifest.text())


def write_part(frame: pl.DataFrame, path: Path) -> int:
    """Write Parquet, whole or not at all; returns its bytes. Raises OSError where the disk does not take it."""
    write_parquet(frame, path, level=1)
    return path.stat().st_size


def part_path(folder: Path, table: str, number: int) -> Path:
    """Where the rows of a table in a part lie."""
    return folder / f"{table}-{number:05d}.parquet"


def parts_of(folder: Path, manifest: ImportManifest, table: str) -> list[Path]:
    """The files of one table of an import that hold rows; the first one where none does, for its columns."""
    with_rows = [number for number, part in enumerate(manifest.parts) if part.rows[table]]
    return [part_path(folder, table, number) for number in with_rows or [0]]


def clear(folder: Path) -> None:
    """Delete an import, manifest first: parts without one are ignored, one without its parts would be wrong."""
    (folder / _NAME).unlink(missing_ok=True)
    for path in folder.iterdir():
        path.unlink()


def fault(folder: Path, manifest: ImportManifest | None) -> str:
    """Why an import cannot be used; empty where it can, as far as it goes.

    Rows are counted in the files' footers: reading everything would take as long as the work itself.
    """
    if manifest is None:
        return "its manifest cannot be read"
    if manifest.version != VERSION:
        return "it was made by another version of dual-data"
    if manifest.is_edited():
        return "its manifest was edited"
    for number, part in enumerate(manifest.parts):
        for table, rows in part.rows.items():
            path = part_path(folder, table, number)
            if not path.is_file():
                return f"{path.name} is missing"
            if path.stat().st_size != part.sizes[table] or _rows(path) != rows:
                return f"{path.name} is not as it was written"
    return ""


def _rows(path: Path) -> int:
    try:
        return int(pa.parquet.read_metadata(path).num_rows)
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) is not None:
            raise  # It is the system's, and not Arrow's on a damaged footer.
        return -1
