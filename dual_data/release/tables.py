"""The tables of a release: which configurations and splits a build gives, and their Parquet files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import polars as pl

from dual_data.engine.tables import content_hash, file_hash, without_categories, write_whole
from dual_data.errors import DualDataError
from dual_data.release.build import EXAMPLES, Build
from dual_data.release.names import plain_names
from dual_data.released import WHOLE, File

LEADING = ("fact_id", "position", "pair", "question", "answer", "answers", "subject", "relation", "topic")
"""What a reader looks for first stands first."""
SPLIT_COLUMNS = ("split", "rare", "popular")
ROW_GROUP = 20_000


class Tables(NamedTuple):
    """Frames by configuration and split, and why others are absent."""

    configs: dict[str, dict[str, pl.DataFrame]]
    absent: dict[str, str]


def tables_of(build: Build) -> Tables:
    """The configurations of a build: the recipes, then every stage's rows, then the small tables of the stages.

    A table without rows is absent: a split of no rows cannot be loaded. Split names are made plain everywhere.
    """
    examples = {
        name.removeprefix(EXAMPLES): without_categories(build.table(stage, name))
        for stage, name in build.tables()
        if name.startswith(EXAMPLES)
    }
    found = {stage: without_categories(build.table(stage)) for stage in build.manifests}
    for stage, name in build.tables():
        if name.startswith(EXAMPLES):
            continue
        if name in found or "/" in name:
            raise DualDataError(f"{build.folder / stage}: its table {name} needs a name of its own, without a slash")
        found[name] = without_categories(build.table(stage, name))
    names = plain_names(
        split
        for frame in (*examples.values(), *found.values())
        for column in SPLIT_COLUMNS
        if frame.schema.get(column) == pl.String
        for split in frame[column].drop_nulls().unique(maintain_order=True)
    )
    absent = _reasons(found)
    configs: dict[str, dict[str, pl.DataFrame]] = {}
    for recipe, frame in examples.items():
        if frame.height:
            configs[recipe] = _divided(frame, names)
        else:
            absent.setdefault(recipe, "no split could be made")
    for name, frame in found.items():
        if frame.height:
            configs[name] = {WHOLE: _renamed(frame, names)}
        else:
            absent[name] = "the build has no rows of it"
    plain = plain_names(configs)
    return Tables({plain[name]: splits for name, splits in configs.items()}, absent)


def write_tables(configs: Mapping[str, Mapping[str, pl.DataFrame]], folder: Path) -> dict[str, dict[str, File]]:
    """Write one Parquet file a split below `folder`, and say what was written."""
    return {
        config: {split: _write(frame, folder, f"{config}/{split}.parquet") for split, frame in splits.items()}
        for config, splits in configs.items()
    }


def _reasons(found: Mapping[str, pl.DataFrame]) -> dict[str, str]:
    """Why recipes were not made, as the stage that makes them says."""
    recipes = found.get("recipes")
    if recipes is None:
        return {}
    return dict(recipes.filter(~pl.col("made")).select("recipe", "reason").iter_rows())


def _divided(frame: pl.DataFrame, names: Mapping[str, str]) -> dict[str, pl.DataFrame]:
    published = "subjectLabel" in frame.columns  # they have an order of their own
    first = [] if published else [column for column in LEADING if column in frame.columns]
    ordered = frame.select(*first, pl.exclude(first))
    parts = ordered.partition_by("split", include_key=False, as_dict=True, maintain_order=True)
    return {names[str(split)]: part.sort("position") for (split,), part in parts.items()}


def _renamed(frame: pl.DataFrame, names: Mapping[str, str]) -> pl.DataFrame:
    present = [column for column in SPLIT_COLUMNS if frame.schema.get(column) == pl.String]
    return frame.with_columns(pl.col(present).replace(names)) if present else frame


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
    """Parquet with plain strings and lists: older `datasets` and other readers do not know the large or view kinds."""
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

    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    schema = pa.schema([pa.field(field.name, plain(field.type)) for field in table.schema])
    pq.write_table(table.cast(schema), path, compression="zstd", row_group_size=ROW_GROUP)
