"""Differences of two datasets: facts added, removed, corrected or asked differently, and members of splits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from dual_data.engine.manifest import Manifest, faults, read_manifest
from dual_data.engine.places import command_for
from dual_data.engine.tables import read_parquet
from dual_data.errors import InputError
from dual_data.ids import MINTED
from dual_data.released import WHOLE, expect_unchanged, locate, read_release
from dual_data.released import read_table as read_released
from dual_data.schema import Facts, Questions, Splits
from dual_data.system.files import expect_utf_8

COMPARED = {"facts": Facts, "questions": Questions, "splits": Splits}
PAIR = ("subject_qid", "property_id")
SHOWN = ("fact_id", "subject_label", "property_id", "object_label")
LIST = " | "
_COUNTS = ("subject_mentions", "object_mentions", "subject_sitelinks", "object_sitelinks")
"""Columns that every build counts anew, so that a difference says nothing about the fact."""


class Dataset(NamedTuple):
    """One side of a comparison."""

    facts: pl.DataFrame
    questions: pl.DataFrame
    splits: pl.DataFrame
    """Columns recipe, split, fact_id."""


class Difference(NamedTuple):
    """The second dataset compared with the first."""

    added: pl.DataFrame
    """Facts of the second alone: fact_id, subject_label, property_id, object_label."""
    removed: pl.DataFrame
    corrected: pl.DataFrame
    """Pairs (subject, property) whose single object changed; these facts are also among the added and the removed."""
    changed: pl.DataFrame
    """Texts that differ in facts of both, one row each: fact_id, subject_label, property_id (the first's), column,
    before, after; lists are texts with `LIST` between."""
    splits: pl.DataFrame
    """One row for each recipe and split: before, after, kept, added, removed."""

    def summary(self) -> dict[str, Any]:
        """Everything as JSON."""
        return {name: frame.to_dicts() for name, frame in self._asdict().items()}


def read_dataset(target: str, *, endpoint: str | None = None) -> Dataset:
    """A release folder, a Hub dataset (`owner/name[@revision]`), or the artifacts folder of a build.

    Raises InputError if it is none of them, or a folder with tables that are not what was released or built.
    """
    folder = Path(target)
    expect_utf_8(folder)
    if (folder / "facts" / "data.parquet").is_file():
        return _dataset(_built(folder))
    place = locate(target, endpoint=endpoint)
    release = read_release(place)
    expect_unchanged(place, release)  # the three tables that are compared represent the others only if these are, too
    return _dataset(
        {  # A release lacks tables without rows.
            name: schema.create_empty() if name in release.absent else read_released(place, release.file(name, WHOLE))
            for name, schema in COMPARED.items()
        }
    )


def _built(folder: Path) -> dict[str, pl.DataFrame]:
    """The tables of a build. Raises InputError if they, or what they were made from, are not what the build wrote."""
    command = command_for(folder)
    advice = f"; run: {command}" if command else ""
    manifests: dict[str, Manifest] = {}
    stages = list(COMPARED)
    for stage in stages:
        manifest = read_manifest(folder / stage)
        path = folder / stage / "data.parquet"
        if manifest is None or not path.is_file():
            raise InputError(f"{path}: is not built{advice}")
        manifests[stage] = manifest
        stages += [name for name in manifest.basis.inputs if name not in stages]
    if fault := next(faults(folder, manifests), None):
        raise InputError(f"{folder}: {fault}{advice}")
    return {name: read_parquet(folder / name / "data.parquet", command or "dual-data build") for name in COMPARED}


def _dataset(tables: Mapping[str, pl.DataFrame]) -> Dataset:
    return Dataset(tables["facts"], tables["questions"], tables["splits"].select("recipe", "split", "fact_id"))


def compare(before: Dataset, after: Dataset) -> Difference:
    """The differences of `after` from `before`. The order of rows does not depend on that of the tables."""
    added = after.facts.join(before.facts, on="fact_id", how="anti")
    removed = before.facts.join(after.facts, on="fact_id", how="anti")
    return Difference(
        added=added.select(SHOWN).sort("fact_id"),
        removed=removed.select(SHOWN).sort("fact_id"),
        corrected=_corrected(before.facts, after.facts),
        changed=_changed(before, after),
        splits=_splits(before.splits, after.splits),
    )


def ids_differ(before: Dataset, after: Dataset) -> bool:
    """Whether the facts of one have ids minted from labels alone, and those of the other have none."""
    minted = [set(side.facts["subject_qid"].str.starts_with(MINTED)) for side in (before, after)]
    return minted in ([{True}, {False}], [{False}, {True}])


def _corrected(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    single = [frame.filter(pl.len().over(PAIR) == 1) for frame in (before, after)]
    joined = single[0].join(single[1], on=PAIR, suffix="_now").filter(pl.col("fact_id") != pl.col("fact_id_now"))
    return joined.select(*PAIR, "subject_label", before="object_label", after="object_label_now").sort(PAIR)


def _changed(before: Dataset, after: Dataset) -> pl.DataFrame:
    sides = [
        side.facts.drop(_COUNTS, strict=False).join(side.questions, on="fact_id", how="left")
        for side in (before, after)
    ]
    shared = [column for column in sides[0].columns if column in sides[1].columns and column != "fact_id"]
    both = sides[0].select("fact_id", *shared).join(sides[1].select("fact_id", *shared), on="fact_id", suffix="_now")
    changes = [
        both.filter(pl.col(column).ne_missing(pl.col(f"{column}_now"))).select(
            *SHOWN[:3], column=pl.lit(column), before=_text(column, dtype), after=_text(f"{column}_now", dtype)
        )
        for column, dtype in sides[0].select(shared).schema.items()
    ]
    return pl.concat(changes).sort("fact_id", maintain_order=True)


def _text(column: str, dtype: pl.DataType) -> pl.Expr:
    return pl.col(column).list.join(LIST) if dtype == pl.List(pl.String) else pl.col(column).cast(pl.String)


def _splits(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    key = ["recipe", "split"]
    sides = pl.concat([before.with_columns(was=True), after.with_columns(was=False)])
    members = sides.group_by(*key, "fact_id").agg(was=pl.col("was").any(), now=(~pl.col("was")).any())
    counts = members.group_by(key).agg(
        before=pl.col("was").sum(),
        after=pl.col("now").sum(),
        kept=(pl.col("was") & pl.col("now")).sum(),
        added=(~pl.col("was")).sum(),
        removed=(~pl.col("now")).sum(),
    )
    return counts.with_columns(pl.exclude(key).cast(pl.Int64)).sort(key)
