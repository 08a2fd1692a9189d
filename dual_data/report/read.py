"""Reads a build for the report: whatever is in the artifacts folder, complete or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from dual_data.engine.manifest import EXAMPLES, Manifest, faults, read_manifests
from dual_data.engine.places import how_to_build
from dual_data.engine.plan import NEVER_BUILT, why_unread
from dual_data.engine.tables import read_parquet
from dual_data.errors import DualDataError
from dual_data.released import State


@dataclass(frozen=True)
class Built:
    """The stages that are built, in order."""

    name: str
    """Of the profile."""
    folder: Path
    manifests: Mapping[str, Manifest]
    missing: tuple[str, ...]
    """Stages without a manifest that can be read."""
    command: str
    """The command that builds the profile; names of stages may follow."""
    outdated: str = ""
    """Which stages are out of date and why; empty if none is."""
    edited: Sequence[str] = ()
    """Sentences on stages whose code was edited since, though not their version."""
    title: str = ""
    """Of the dataset, if its profile has one."""

    def table(self, stage: str, name: str = "data") -> pl.DataFrame | None:
        """A table of a stage; None if the stage did not write it."""
        manifest = self.manifests.get(stage)
        if manifest is None or name not in manifest.outcome:
            return None
        return read_parquet(self.folder / stage / f"{name}.parquet", f"{self.command} {stage}")

    def recipes(self) -> dict[str, pl.DataFrame]:
        """The examples of every recipe that has any, by name."""
        names = self.manifests["splits"].outcome if "splits" in self.manifests else ()
        return {
            name.removeprefix(EXAMPLES): rows
            for name in names
            if name.startswith(EXAMPLES) and (rows := self.table("splits", name)) is not None and rows.height
        }

    def why_missing(self, stage: str) -> str:
        """A sentence on a stage of `missing`."""
        if why_unread(self.folder / stage) == NEVER_BUILT:
            return f"The stage {stage} is not built."
        return f"The manifest of the stage {stage} cannot be read."

    @cached_property
    def doubts(self) -> list[str]:
        """Reasons not to cite the build as it is; empty for a clean and complete one; hashes every table."""
        reasons = [self.why_missing(name) for name in self.missing]
        if self.outdated:
            reasons.append(f"The build is out of date: {self.outdated}.")
        reasons += self.edited
        reasons += [f"{fault}." for fault in faults(self.folder, self.manifests)]
        reasons += State.of(self.manifests.values(), self.table("facts")).doubts().values()
        return reasons


def empty_answers(probed: pl.DataFrame) -> tuple[int, int]:
    """How many answers of probed models are empty, and of how many."""
    answers = probed["generations"].explode().drop_nulls()
    return int((answers == "").sum()), answers.len()


def read_built(name: str, folder: Path, stages: Sequence[str], command: str = "dual-data build") -> Built:
    """Read the manifests of a profile's artifacts. Raises DualDataError if nothing is built."""
    manifests = read_manifests(folder, stages)
    if not manifests:
        raise DualDataError(f"{folder}: nothing is built here yet{how_to_build(folder, command)}")
    return Built(name, folder, manifests, tuple(stage for stage in stages if stage not in manifests), command)
