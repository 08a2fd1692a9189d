"""Engines of the relational part: polars on this machine, or Spark beyond it, with the same narwhals code."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl
from numpy.typing import NDArray

from dual_data.errors import InputError, ServiceError
from dual_data.sources.dumps.files import TRIPLES, day_of
from dual_data.sources.dumps.imports import imported
from dual_data.sources.dumps.manifests import ImportManifest, parts_of
from dual_data.sources.dumps.params import EngineParams
from dual_data.sources.dumps.triples import SCHEMAS
from dual_data.system.extras import expect_installed, not_installed

Lazy = nw.LazyFrame[Any]


class Polars:
    """Runs lazy frames, streaming from disk with all cores of this machine."""

    rows_at_once: int | None = 50_000_000
    """How many rows are made distinct at once, so that they fit into memory; None where the engine limits itself."""
    most_apart = 16
    """Places per row that an array by number may have: with no more, it is no larger than a hash table."""

    def scan(self, files: Sequence[Path]) -> Lazy:
        """Parquet files of one schema as one frame."""
        return nw.from_native(pl.scan_parquet(list(files), glob=False))

    def local(self, frame: pl.DataFrame) -> Lazy:
        """Rows of this process as a lazy frame."""
        return nw.from_native(frame.lazy())

    def lookup(self, table: pl.DataFrame, on: str) -> Callable[[Lazy], Lazy]:
        """A function that joins a frame with `table`: column `on`, and one of whole numbers above 0 (an inner join)."""
        table = table.drop_nulls()
        (name,) = (column for column in table.columns if column != on)
        by_number = _array_by_number(table[on], table[name], self.most_apart)
        if by_number is None:
            return _join(self.local(table), on)

        def look_up(numbers: pl.Series) -> pl.Series:
            return pl.Series(by_number.take(numbers.fill_null(0).to_numpy(), mode="clip"))

        values = pl.col(on).map_batches(look_up, table[name].dtype, is_elementwise=True).alias(name)
        return lambda rows: nw.from_native(rows.to_native().with_columns(values).filter(pl.col(name) > 0))

    def tally(self, rows: Lazy, by: str, value: str) -> pl.DataFrame:
        """Columns `by` and different: how many different `value` each has.

        Whole numbers from 0: `by` below 2^31 and not far above the rows, `value` below 2^32, as ids of pages are.
        """
        # A series of numbers is made unique in a fifth of the time that a frame with two columns takes.
        pairs = self.collect(rows.select(pair=nw.col(by).cast(nw.Int64) * 2**32 + nw.col(value)))["pair"].unique()
        counts = np.bincount(pairs.to_numpy() >> 32)
        numbers = np.flatnonzero(counts)
        return pl.DataFrame({by: numbers, "different": counts[numbers]})

    def collect(self, frame: Lazy) -> pl.DataFrame:
        """The rows, brought here, in no particular order."""
        native: pl.LazyFrame = frame.to_native()
        return native.collect(engine="streaming")


class Spark:
    """The same on a Spark session; `close` ends it and the Java process behind it."""

    rows_at_once: int | None = None

    def __init__(self, master: str) -> None:
        expect_installed(*_SPARK)
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession

        builder = SparkSession.builder.master(master).appName("dual-data").config("spark.ui.enabled", "false")
        builder = builder.config("spark.ui.showConsoleProgress", "false")
        if master.startswith("local"):
            # One machine: the loopback address, and as many partitions as it can use.
            for key, value in _LOCAL.items():
                builder = builder.config(key, value)
        try:
            self._session = builder.getOrCreate()
        except (PySparkException, RuntimeError, OSError) as error:
            raise ServiceError(
                f"Spark cannot be started at {master} ({str(error).splitlines()[0]}). It needs Java 17 or later "
                "(JAVA_HOME) and, beyond local[*], a master that can be reached."
            ) from None
        self._session.sparkContext.setLogLevel("ERROR")

    def scan(self, files: Sequence[Path]) -> Lazy:
        frame: Lazy = nw.from_native(self._session.read.parquet(*(_address(file) for file in files)))
        return frame

    def local(self, frame: pl.DataFrame) -> Lazy:
        rows: Lazy = nw.from_native(self._session.createDataFrame(frame.to_arrow()))
        return rows

    def lookup(self, table: pl.DataFrame, on: str) -> Callable[[Lazy], Lazy]:
        return _join(self.local(table), on)

    def tally(self, rows: Lazy, by: str, value: str) -> pl.DataFrame:
        return self.collect(rows.select(by, value).unique().group_by(by).agg(different=nw.len()))

    def collect(self, frame: Lazy) -> pl.DataFrame:
        return pl.DataFrame(frame.to_native().toArrow())

    def close(self) -> None:
        """Stop Spark."""
        self._session.stop()


Engine = Polars | Spark
_SPARK = ("spark", "pyspark")
_LOCAL = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.memory": "4g",
    "spark.sql.shuffle.partitions": "8",
}


def missing_package(params: EngineParams) -> str:
    """What is not installed of all that the engine takes, and how to install it; empty where nothing is missing."""
    return not_installed(*_SPARK) if params.engine == "spark" else ""


@contextmanager
def open_engine(params: EngineParams) -> Iterator[Engine]:
    """The engine of the parameters. Raises MissingExtra without PySpark, ServiceError where Spark does not start."""
    if params.engine == "polars":
        yield Polars()
        return
    with closing(Spark(params.master)) as spark:
        yield spark


def _address(file: Path) -> str:
    """The file as Spark names it: not as a URL, whose escapes it does not read, and without patterns."""
    return "file://" + re.sub(r"([\\{}\[\]*?])", r"\\\1", str(file.resolve()))


def _join(table: Lazy, on: str) -> Callable[[Lazy], Lazy]:
    return lambda rows: rows.join(table, on=on, how="inner")


def _array_by_number(keys: pl.Series, values: pl.Series, most_apart: int) -> NDArray[Any] | None:
    """Each value at the index that is its key; 0 elsewhere, at both ends too. None where the keys do not allow it.

    A hash table of millions of rows outgrows the processor's caches, and each lookup in it waits for memory several
    times; here only once.
    """
    if not keys.dtype.is_integer() or keys.is_empty():
        return None
    numbers = keys.to_numpy()
    highest = int(numbers.max())
    if numbers.min() < 1 or highest > most_apart * len(numbers):
        return None
    array = np.zeros(highest + 2, values.to_numpy().dtype)
    array[numbers] = values.to_numpy()
    # Fewer values than keys: a key was repeated.
    return array if np.count_nonzero(array) == len(numbers) else None


class Tables:
    """The imported tables of a folder as lazy frames of an engine, by name: see `kept` and `triples`."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self.folder, self.engine = folder, engine
        self._imports: dict[str, tuple[Path, ImportManifest]] = {
            name: of_dump
            for dump, of_dump in imported(folder).items()
            for name in (SCHEMAS if dump == TRIPLES else [dump])
        }

    def __getitem__(self, name: str) -> Lazy:
        """Raises InputError where the folder has no such dump."""
        path, manifest = self._import(name)
        return self.engine.scan(parts_of(path, manifest, name))

    def day(self, name: str) -> str:
        """Day of the dump that a table comes from, YYYY-MM-DD. Raises InputError where it is absent or unknown."""
        _, manifest = self._import(name)
        return day_of(manifest.file, manifest.date)

    def _import(self, name: str) -> tuple[Path, ImportManifest]:
        if name not in self._imports:
            raise InputError(
                f"{self.folder}: {'no truthy dump of Wikidata' if name in SCHEMAS else f'no dump of {name}'}; get it "
                f"with dual-data dumps fetch, then run: dual-data dumps import {self.folder}"
            )
        return self._imports[name]

    def rows(self, name: str) -> int:
        """How many rows a table has; 0 where it was not imported."""
        if name not in self._imports:
            return 0
        _, manifest = self._imports[name]
        return manifest.rows().get(name, 0)


def identities(folder: Path, wanted: Sequence[str]) -> dict[str, str]:
    """Hashes of the imported dumps of the wanted tables, by file name: what a result depends on."""
    imports = imported(folder).items()
    return {manifest.file: str(manifest.sha256) for table, (_, manifest) in imports if table in wanted}
