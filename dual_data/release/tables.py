"""The tables of a release: the configurations and splits of a build, and their Parquet files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import polars as pl

from dual_data.config import POOLED
from dual_data.engine.manifest import EXAMPLES
from dual_data.engine.tables import content_hash
from dual_data.errors import DualDataError
from dual_data.release.build import Build
from dual_data.released import WHOLE, File
from dual_data.system.files import file_hash, write_whole

LEADING = ("fact_id", "position", "pair", "question", "answer", "answers", "subject", "relation", "topic")
"""Columns that come first, since readers look for them first."""
ROW_GROUP = 20_000
_NAME = re.compile("[A-Za-z0-9_]+")


class Tables(NamedTuple):
    """Frames by configuration and split, and reasons for absent configurations."""

    configs: dict[str, dict[str, pl.DataFrame]]
    absent: dict[str, str]


def tables_of(build: Build) -> Tables:
    """The configurations of a build: the recipes, then every stage's rows, then the small tables of the stages.

    Tables without rows are absent, since a split without rows cannot be loaded. Raises DualDataError for names that
    cannot be those of files.
    """
    examples: dict[str, pl.DataFrame] = {}
    frames = {stage: build.table(stage) for stage in build.manifests}
    for stage, name in build.tables():
        if name.startswith(EXAMPLES):
            examples[name.removeprefix(EXAMPLES)] = build.table(stage, name)
        elif name in frames or "/" in name:
            raise DualDataError(f"{build.folder / stage}: its table {name} needs a name of its own, without a slash")
        else:
            frames[name] = build.table(stage, name)
    _expect_own_names(build, examples, frames)
    absent = _reasons(frames)
    configs: dict[str, dict[str, pl.DataFrame]] = {}
    for recipe, frame in examples.items():
        if frame.height:
            configs[recipe] = _divided(frame)
        else:
            absent.setdefault(recipe, "no split could be made")
    for name, frame in frames.items():
        if frame.height:
            configs[name] = {WHOLE: frame}
        else:
            absent[name] = "the build has no rows of it"
    for name in (*configs, *(split for splits in configs.values() for split in splits)):
        if not _NAME.fullmatch(name):
            raise DualDataError(
                f"{build.folder}: {name!r} cannot be the name of a configuration or a split, after which files are "
                "named; use letters (A to Z), digits and _ alone"
            )
    return Tables(configs, absent)


def _expect_own_names(build: Build, recipes: Mapping[str, object], tables: Mapping[str, object]) -> None:
    names = [*tables, *recipes, *(f"{recipe}_{POOLED}" for recipe in recipes)]
    if twice := [recipe for recipe in recipes if names.count(recipe) + names.count(f"{recipe}_{POOLED}") > 2]:
        raise DualDataError(
            f"{build.folder}: the recipe {twice[0]} needs a name of its own: neither it nor {twice[0]}_{POOLED} may be "
            "that of another table or recipe"
        )


def write_tables(configs: Mapping[str, Mapping[str, pl.DataFrame]], folder: Path) -> dict[str, dict[str, File]]:
    """Write one Parquet file for each split below `folder`, and return the files by configuration and split."""
    return {
        config: {split: _write(frame, folder, f"{config}/{split}.parquet") for split, frame in splits.items()}
        for config, splits in configs.items()
    }


def _reasons(frames: Mapping[str, pl.DataFrame]) -> dict[str, str]:
    """Why recipes were not made, from the table of the stage that makes them."""
    recipes = frames.get("recipes")
    if recipes is None:
        return {}
    return dict(recipes.filter(~pl.col("made")).select("recipe", "reason").iter_rows())


def _divided(frame: pl.DataFrame) -> dict[str, pl.DataFrame]:
    published = "subjectLabel" in frame.columns  # published columns keep their own order
    leading = [] if published else [column for column in LEADING if column in frame.columns]
    ordered = frame.select(*leading, pl.exclude(leading))
    rows_by_split = ordered.partition_by("split", include_key=False, as_dict=True, maintain_order=True)
    return {str(split): rows.sort("position") for (split,), rows in rows_by_split.items()}


def _write(frame: pl.DataFrame, folder: Path, path: str) -> File:
    target = folder / path
    write_whole(target, lambda temporary: _write_parquet(frame, temporary))
    return File(
        path=path,
        rows=frame.height,
        content=content_hash(frame),
        sha256=file_hash(target),
        bytes=target.stat().st_size,
    )


def _write_parquet(frame: pl.DataFrame, path: Path) -> None:
    """Write Parquet with plain strings and lists: older `datasets` and other readers lack the large and view types."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def plain(kind: pa.DataType) -> pa.DataType:
        if pa.types.is_large_string(kind):
            return pa.string()
        if pa.types.is_large_list(kind):
            return pa.list_(plain(kind.value_type))
        if pa.types.is_struct(kind):
            return pa.struct([pa.field(field.name, plain(field.type)) for field in kind])
        return kind

    arrow = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    schema = pa.schema([pa.field(field.name, plain(field.type)) for field in arrow.schema])
    pq.write_table(arrow.cast(schema), path, compression="zstd", row_group_size=ROW_GROUP)
