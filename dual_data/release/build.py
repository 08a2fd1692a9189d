"""A finished build, read from its artifacts and checked: every table as written, all stages of one state."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from dual_data.engine.manifest import Manifest, faults, read_manifests
from dual_data.engine.places import how_to_build
from dual_data.errors import DualDataError
from dual_data.released import State


class Build(NamedTuple):
    """The stages of a build, in order."""

    folder: Path
    manifests: Mapping[str, Manifest]

    def table(self, stage: str, name: str = "data") -> pl.DataFrame:
        """A table of a stage. Raises DualDataError if it is not, or no longer, what the stage's manifest says."""
        path = self.folder / stage / f"{name}.parquet"
        # Hashed and parsed from the same bytes, since another build may replace the file meanwhile.
        data = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(data).hexdigest() != self.manifests[stage].outcome[name].file:
            raise DualDataError(f"{path}: changed while it was released; run the same command again")
        return pl.read_parquet(io.BytesIO(data))

    def tables(self) -> list[tuple[str, str]]:
        """(stage, table) of every table other than data and rejected."""
        return [
            (stage, name)
            for stage, manifest in self.manifests.items()
            for name in manifest.outcome
            if name not in ("data", "rejected")
        ]

    def state(self) -> State:
        """What decides whether the build may be published."""
        return State.of(self.manifests.values(), self.table("facts") if "facts" in self.manifests else None)


def read_build(folder: Path, stages: Sequence[str], command: str = "dual-data build") -> Build:
    """Read and check the build in `folder`, which `command` made.

    Raises DualDataError if a stage is missing, a table differs from its manifest, or a stage was built from inputs
    other than the present ones.
    """
    manifests = read_manifests(folder, stages)
    if missing := [stage for stage in stages if stage not in manifests]:
        remedy = f"; run: {command}" if manifests else how_to_build(folder, command)
        raise DualDataError(f"{folder / missing[0]}: is not built{remedy}")
    if fault := next(faults(folder, manifests), None):
        raise DualDataError(f"{folder}: {fault}; run: {command}")
    return Build(folder, manifests)
