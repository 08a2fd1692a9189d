"""Folders of CSV or Parquet files, one per topic, read strictly: the first fault is reported with file and line.

Every value is text. Columns beyond those asked for are ignored, except that a name close to that of an absent optional
column is an error: it is most likely misspelt. The topic of a row is the value of the column `topic`, else the name of
the file without its ending.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import hashlib
import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from dual_data.errors import InputError
from dual_data.text.display import count

ENDINGS = (".csv", ".parquet")
_UNREAD = (".tsv", ".tab", ".xlsx", ".xls", ".ods")
"""Endings of tables in other formats."""
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".zip")
"""Endings that follow those of a compressed table, as pandas writes it."""
_INVISIBLE = r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u{ad}\u{200b}\u{202a}-\u{202e}\u{2060}\u{2066}-\u{2069}\u{feff}]"
"""Control characters that are no white space, soft hyphens, spaces and joiners without width, a byte order mark, and
overrides of the direction; joiners of letters and marks of the direction are not among them, since some scripts need
them."""
LIST_MARK = "|"
"""Separates the aliases in a CSV cell."""


def table_files(folder: Path) -> list[Path]:
    """The tables of a folder, by name, without hidden files, which systems put there. Raises InputError where it is
    absent, holds none, holds one in another format alone, or compressed, a link to one that is not there, or two of one
    name."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; one with {' or '.join(ENDINGS)} files is expected there")
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    if broken := [path for path in entries if path.suffix.lower() in ENDINGS and not path.exists()]:
        raise InputError(f"{broken[0]}: is a link to {broken[0].readlink()}, which is not there; correct or remove it")
    files = [path for path in entries if path.is_file()]
    paths = [path for path in files if path.suffix.lower() in ENDINGS]
    read = {path.stem for path in paths}
    if unread := [path for path in files if (stem := _unread_stem(path)) is not None and stem not in read]:
        raise InputError(f"{unread[0]}: is not read; save it as {' or '.join(ENDINGS)}, or move it elsewhere")
    if not paths:
        raise InputError(f"{folder}: holds no {' or '.join(ENDINGS)} file; put one table per topic there")
    first: dict[str, Path] = {}
    for path in paths:
        if (other := first.setdefault(path.stem, path)) is not path:
            raise InputError(f"{path}: is a second table beside {other.name}, of the same name; move one elsewhere")
    return paths


def _unread_stem(path: Path) -> str | None:
    """The name without its ending of a table in a format that is not read; None for any other file."""
    if path.suffix.lower() in _UNREAD:
        return path.stem
    inner = Path(path.stem)
    is_table = path.suffix.lower() in _COMPRESSED and inner.suffix.lower() in (*ENDINGS, *_UNREAD)
    return inner.stem if is_table else None


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every table of a folder, by file name."""
    return {path.name: hash_of(path) for path in table_files(folder)}


def hash_of(path: Path) -> str:
    """SHA-256 of one table."""
    return hashlib.sha256(_bytes(path)).hexdigest()


def read_folder(folder: Path, required: Sequence[str], optional: Sequence[str] = ()) -> pl.DataFrame:
    """All tables of a folder as one frame: the columns asked for (null where a file lacks an optional one), `topic`,
    `file` (its path) and `line` (where the row begins; of a Parquet file the row's number). Empty cells are null."""
    return pl.concat(read_file(path, required, optional) for path in table_files(folder))


def read_file(path: Path, required: Sequence[str], optional: Sequence[str] = ()) -> pl.DataFrame:
    """One table, as `read_folder` gives it. Raises InputError for whatever is wrong with the file as such."""
    frame, lines = _read_csv(path) if path.suffix.lower() == ".csv" else _read_parquet(path)
    if absent := [name for name in required if name not in frame.columns]:
        needed = f"{', '.join(required)}{separator_hint(frame.columns)}"
        raise InputError(f"{path}: no column {', '.join(absent)}; it has: {', '.join(frame.columns)}. Needed: {needed}")
    expect_no_misspelling(path, frame.columns, optional)
    columns = (*required, *optional, "topic")
    if nested := [name for name in columns if name in frame.columns and not _is_readable(name, frame.schema[name])]:
        raise InputError(f"{path}: column {nested[0]} is of type {frame.schema[nested[0]]}; text is expected")
    try:
        for name in columns:
            if isinstance(frame.schema.get(name), pl.List):
                entries = pl.col(name).cast(pl.List(pl.String))
                marked = frame.select(entries.list.eval(pl.element().str.contains(LIST_MARK, literal=True)).list.any())
                for line in itertools.compress(lines, marked[name]):
                    raise InputError(
                        f"{path}: line {line}: {name}: a text of the list holds {LIST_MARK!r}; take it out"
                    )
        texts = frame.select(_as_text(frame, name) for name in columns)
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{path}: a column cannot be read as text ({error})") from None
    rows = texts.with_columns(pl.when(pl.all() != "").then(pl.all())).with_columns(
        pl.col("topic").fill_null(path.stem), file=pl.lit(str(path)), line=pl.Series(lines, dtype=pl.Int64)
    )
    for name in filter(_is_label, columns):
        for row in rows.filter(pl.col(name).str.contains(_INVISIBLE)).head(1).iter_rows(named=True):
            raise InputError(
                f"{location(row)}: {name}: {row[name]!a} holds a character that cannot be seen, by which it would "
                "differ from a text that looks the same; delete it"
            )
    return rows


def location(row: Mapping[str, object]) -> str:
    """Where a row of `read_folder` stands: `file: line n`."""
    return f"{row['file']}: line {row['line']}"


def expect_no_misspelling(path: Path, columns: Sequence[str], optional: Sequence[str]) -> None:
    """Raise InputError for a column named nearly as an optional one that is absent."""
    for name, meant in misspelt(columns, optional):
        raise InputError(f"{path}: column {name} is not read; name it {meant} if it is that, or else otherwise")


def misspelt(columns: Sequence[str], optional: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Columns named nearly as optional ones that are absent, each with the name of that one."""
    absent = {name.lower(): name for name in optional if name not in columns}
    for name in columns:
        # Near enough for pairs and pair (0.889), and not for object_label and subject_label (0.880).
        near = difflib.get_close_matches(name.lower(), absent, n=1, cutoff=0.885)
        # The singular alias is further from aliases.
        for close in near or [meant for meant in absent if meant in (f"{name.lower()}s", f"{name.lower()}es")]:
            # In subject_title_de, something was added on purpose.
            if name not in optional and not name.startswith(f"{absent[close]}_"):
                yield name, absent[close]


def _is_label(column: str) -> bool:
    return column.lower().endswith("label") or column == "object_value"


def _is_readable(name: str, dtype: pl.DataType) -> bool:
    # A list of labels joined into one text would be another label.
    inner = dtype.inner if isinstance(dtype, pl.List) and not _is_label(name) else dtype
    return not inner.is_nested()


def _as_text(frame: pl.DataFrame, name: str) -> pl.Expr:
    if name not in frame.columns:
        return pl.lit(None, pl.String).alias(name)
    if isinstance(frame.schema[name], pl.List):
        return pl.col(name).cast(pl.List(pl.String)).list.join(LIST_MARK)
    return pl.col(name).cast(pl.String)


def refuse_utf16(path: Path, data: bytes) -> None:
    """Raise InputError for a text in UTF-16, as some programs save it."""
    # Without a mark at its beginning, every other byte of most texts is NUL.
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or data[:64].count(0) > len(data[:64]) // 3:
        raise InputError(f"{path}: not UTF-8; it looks like UTF-16: save it as UTF-8")


def separator_hint(columns: Sequence[str]) -> str:
    """What to do about a CSV file whose only column is a whole line, because no comma separates its values."""
    for mark, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(columns) == 1 and mark in columns[0]:
            return f"; {name} seem to separate its columns: save it with commas"
    return ""


def read_csv(path: Path) -> pl.DataFrame:
    """The texts of a CSV file. Raises InputError with the line of a fault."""
    return _read_csv(path)[0]


def _read_csv(path: Path) -> tuple[pl.DataFrame, Sequence[int]]:
    """The texts, and the line in which each row begins."""
    data = _bytes(path).removeprefix(codecs.BOM_UTF8)
    if not data or data.isspace():
        raise InputError(f"{path}: is empty; a first line with column names is expected")
    refuse_utf16(path, data)
    if (at := data.find(b"\0")) >= 0:
        raise InputError(f"{path}: line {_line(data, at)}: holds a NUL byte; the file is damaged or not a text file")
    return _even_rows(data) or _rows_one_by_one(data, path)


def _even_rows(data: bytes) -> tuple[pl.DataFrame, Sequence[int]] | None:
    """The rows and their lines, of a file of which every line is one well-formed row; None for any other.

    Nearly all files are like that, and polars reads them many times faster. It overlooks many faults; but if it
    writes the very same bytes again, there were none.
    """
    lines = data.replace(b"\r\n", b"\n") if b"\r" in data else data
    lines = lines if lines.endswith(b"\n") else lines + b"\n"
    if b"\r" in lines or b"\n\n" in lines:
        return None
    written = io.BytesIO()
    try:
        frame = pl.read_csv(lines, infer_schema=False)
        frame.write_csv(written)
    except pl.exceptions.PolarsError:
        return None
    names_are_plain = all(name == name.strip() for name in frame.columns)
    if not names_are_plain or frame.height + 1 != lines.count(b"\n") or written.getbuffer() != lines:
        return None
    return frame, range(2, frame.height + 2)


def _rows_one_by_one(data: bytes, path: Path) -> tuple[pl.DataFrame, Sequence[int]]:
    """The rows and their lines, of any file. Raises InputError with the line of a fault."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: line {_line(data, error.start)}: not UTF-8 (byte {data[error.start]:#04x}); save it as UTF-8"
        ) from None
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # by default 128 KiB, less than an article may have
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    rows: list[list[str]] = []
    lines: list[int] = []
    last_line = 0
    try:
        for row in reader:
            if not header:
                header = row
            elif row:
                if len(row) != len(header):
                    sizes = f"{count(len(row), 'value')} for {count(len(header), 'column')}"
                    found = f"{sizes}{separator_hint(header)}"
                    raise InputError(f"{path}: line {last_line + 1}: {found}")
                rows.append(row)
                lines.append(last_line + 1)
            last_line = reader.line_num
    except csv.Error as error:
        found = f"not well-formed CSV ({error}){separator_hint(header)}"
        raise InputError(f"{path}: line {last_line + 1}: {found}") from None
    return pl.DataFrame(rows, schema=dict.fromkeys(_names(header, path), pl.String), orient="row"), lines


def _names(row: Sequence[str], path: Path) -> list[str]:
    names = [name.strip() for name in row]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{path}: line 1: column {repeated[0]!r} appears {names.count(repeated[0])} times")
    return names


def _read_parquet(path: Path) -> tuple[pl.DataFrame, Sequence[int]]:
    """The rows and their numbers."""
    try:
        frame = pl.read_parquet(io.BytesIO(_bytes(path)))
    except pl.exceptions.PolarsError as error:
        hint = "" if path.suffix.lower() in ENDINGS else "; if it is CSV, let its name end in .csv"
        raise InputError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]}){hint}") from None
    return frame, range(1, frame.height + 1)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:  # A name that no file system can hold.
        raise InputError(f"{path}: no file can have a NUL byte in its name; take it out") from None


def _line(data: bytes, at: int) -> int:
    return data.count(b"\n", 0, at) + 1
