"""Loads every split of a release with `datasets`, as its users will, and compares the content."""

from __future__ import annotations

import glob
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from dual_data.engine.tables import content_hash
from dual_data.errors import DualDataError
from dual_data.release.repository import without_bars
from dual_data.released import Release
from dual_data.text.display import count


def reload_all(release: Release, folder: Path, cache: Path) -> Iterator[str]:
    """Load every configuration through `datasets.load_dataset` and yield a line on each; no network is used.

    Raises DualDataError if a configuration does not load or a split's rows differ from those written.
    """
    if glob.escape(str(folder)) == str(folder) and "$" not in str(folder):
        yield from _reload(release, folder, cache)
        return
    # datasets takes [, * and ? in a path for a pattern, $ and a name for a variable, and does not find the files.
    with tempfile.TemporaryDirectory() as scratch:
        copy = shutil.copytree(folder, Path(scratch) / "tree")
        yield from _reload(release, copy, Path(scratch) / "cache")


def _reload(release: Release, folder: Path, cache: Path) -> Iterator[str]:
    import datasets

    with without_bars(datasets):
        names = sorted(datasets.get_dataset_config_names(str(folder)))
        declared = release.declared()
        if names != sorted(declared):
            raise DualDataError(f"{folder}: datasets sees the configurations {names}, not {sorted(declared)}")
        for config, splits in declared.items():
            try:
                dataset = datasets.load_dataset(str(folder), config, cache_dir=str(cache))
            except Exception as error:  # any error of the library would be raised for users too
                raise DualDataError(f"{folder}: datasets cannot load {config}: {error}") from error
            if sorted(dataset) != sorted(splits):
                raise DualDataError(f"{folder}: datasets sees other splits of {config}: {', '.join(sorted(dataset))}")
            for split, file in splits.items():
                if content_hash(pl.DataFrame(dataset[split].data.table)) != file.content:
                    raise DualDataError(
                        f"{folder}: {file.path} has other rows when loaded with datasets; this is a bug in dual-data"
                    )
            yield f"{config}: {count(len(splits), 'split')} reloaded, all hashes agree"
