"""The manifest of a stage: its inputs, its output, and the calls that it made.

`basis` holds everything that the output depends on, `outcome` the output's hashes. Neither holds a time or an absolute
path, so both are the same on any machine with the same call log; `build` records when, where and how, and is not
hashed into the fingerprint.
"""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError, field_validator
from pydantic_core import to_jsonable_python

from dual_data import __version__
from dual_data.calls.fetching import Counts
from dual_data.config import Strict
from dual_data.ids import canonical, digest
from dual_data.sealed import Sealed
from dual_data.system.extras import versions
from dual_data.system.files import file_hash, write_text

PACKAGES = ("polars", "pyarrow", "SPARQLWrapper", "mwclient", "openai", "pyoxigraph", "torch", "transformers")
"""Packages whose version may affect a result."""
EXAMPLES = "examples/"
"""Prefix of the tables that hold the rows of a recipe."""
READ = ("pipeline", "prompts", "dual_data")
"""Folders of a project from which a build reads files and code; the last is in a checkout of dual-data itself."""


class Basis(Strict):
    """Everything that the output of a stage depends on; its hash is the stage's fingerprint."""

    stage: str
    version: int
    output_schema: str
    """Hash of the columns and their rules."""
    limit: int | None
    params: Mapping[str, Any]
    services: Mapping[str, Any]
    files: Mapping[str, str]
    """SHA-256 of every file, by path below the project."""
    sources: Mapping[str, str]
    """Hash of every input from outside the project, by name."""
    inputs: Mapping[str, str]
    """Content hash of every input, by stage."""

    def fingerprint(self) -> str:
        """64 hexadecimal digits."""
        return digest(canonical(self.model_dump(mode="json")), 64)


class Table(Strict):
    """One table on disk."""

    rows: int
    content: str
    """Content hash: the same for the same rows on any machine."""
    file: str
    """SHA-256 of the Parquet file as written here."""


class Manifest(Sealed):
    """Contents of a stage's manifest.json."""

    fingerprint: str
    basis: Basis
    outcome: Mapping[str, Table]
    """By file name without suffix: data, rejected and further tables."""
    rejected: Mapping[str, int]
    """Rejected rows by reason."""
    calls: Mapping[str, Counts]
    """By source: answers fetched, answers replayed and failed tries of the run that wrote this."""
    build: Mapping[str, Any]

    @field_validator("outcome")
    @classmethod
    def _with_data(cls, outcome: Mapping[str, Table]) -> Mapping[str, Table]:
        if "data" not in outcome:
            raise ValueError("lacks the table data, which every stage has")
        return outcome

    def released(self) -> Manifest:
        """The manifest for publication: without the parameters that say where this build was made."""
        build = {key: value for key, value in self.build.items() if key != "params"}
        return self.model_copy(update={"build": build}).sealed()

    def is_as(self, other: Manifest) -> bool:
        """Whether both have the same fingerprint and rows, whenever and from whatever commit they were built."""
        here, there = ({name: table.content for name, table in one.outcome.items()} for one in (self, other))
        return (self.fingerprint, here) == (other.fingerprint, there)

    def params(self) -> dict[str, Any]:
        """The parameters that decide the output, and of the others those that were not left at their defaults."""
        return {**self.basis.params, **self.build.get("params", {})}

    @property
    def day(self) -> str:
        """The day on which the stage was built, as YYYY-MM-DD; empty where it is unknown."""
        return str(self.build.get("built_at", ""))[:10]

    def content(self) -> str:
        """Content hash of the stage's rows."""
        return self.outcome["data"].content


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest in a stage's folder; None if it is missing or invalid."""
    try:
        return Manifest.model_validate_json((folder / "manifest.json").read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None


def read_manifests(folder: Path, stages: Iterable[str]) -> dict[str, Manifest]:
    """The manifests of the stages that are built, in the given order; `folder` has a folder for each stage."""
    return {stage: manifest for stage in stages if (manifest := read_manifest(folder / stage))}


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json; a stage writes it last."""
    write_text(folder / "manifest.json", manifest.text())


def faults(folder: Path, manifests: Mapping[str, Manifest]) -> Iterator[str]:
    """Deviations of the build in `folder` from its manifests: changed tables, and stages built from other inputs."""
    for stage, manifest in manifests.items():
        for name, table in manifest.outcome.items():
            path = folder / stage / f"{name}.parquet"
            if not path.is_file() or file_hash(path) != table.file:
                yield f"{stage}/{name}.parquet is not what the build wrote"
        for source, content in manifest.basis.inputs.items():
            if source not in manifests or manifests[source].content() != content:
                yield f"{stage} was built from another {source} than stands here now"


def build_record(project: Path, seconds: float, params: Strict, code: Mapping[str, str]) -> dict[str, Any]:
    """When, where and with what a stage was built; not part of the fingerprint.

    `code` has the hashes of `dual_data.engine.code.code_of`.
    """
    undeciding = {
        name: to_jsonable_python(value)
        for name, field in type(params).model_fields.items()
        if field.exclude and (value := getattr(params, name)) != field.get_default(call_default_factory=True)
    }
    return {
        "built_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 2),
        "dual_data": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions(PACKAGES),
        "git": git_state(project),
        "code": dict(code),
        "params": undeciding,
    }


def git_state(project: Path) -> dict[str, Any] | None:
    """Commit of the project and whether anything in it is uncommitted; None if git names no commit.

    There may be one all the same: in a container, for instance, git refuses to read folders of another user. New files
    count only where a build reads them: dumps, figures and exports may stand beside these folders.
    """
    commit = _git(project, "rev-parse", "HEAD")
    if commit is None:
        return None
    changed = _git(project, "status", "--porcelain", "--untracked-files=no", "--", ".")
    new = _git(project, "ls-files", "--others", "--exclude-standard", "--", *READ)
    return {"commit": commit, "dirty": changed != "" or new != ""}


def git_text(state: Mapping[str, Any] | None) -> str:
    """A state of :func:`git_state` for a reader; empty for None."""
    if not state:
        return ""
    return f"{str(state.get('commit'))[:12]}{' with uncommitted changes' if state.get('dirty') else ''}"


def _git(project: Path, *arguments: str) -> str | None:
    try:
        process = subprocess.run(["git", "-C", str(project), *arguments], capture_output=True, check=False)
    except OSError:
        return None
    return process.stdout.decode(errors="replace").strip() if process.returncode == 0 else None
