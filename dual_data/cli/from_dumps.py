"""`dual-data build --source dump:DIR`: facts, and links if the dumps have them, from dumps for this run only."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dual_data.engine.manifest import read_manifest
from dual_data.errors import UsageError
from dual_data.project.loading import Project


def dump_folder(source: str) -> Path:
    """The folder that --source names. Raises UsageError for any other source, which must be set in the profile."""
    kind, _, folder = source.partition(":")
    if kind != "dump" or not folder:
        raise UsageError(f"--source {source}: dump:DIR is expected; set any other source in the profile, under [facts]")
    return Path(folder)


def from_dumps(project: Project, folder: Path, engine: str, master: str) -> Project:
    """The project with a profile that reads dumps; its other parameters of facts and links stay.

    Links are read from the dumps if pagelinks are among them.
    """
    from dual_data.sources.dumps.files import recognise
    from dual_data.sources.dumps.manifests import FOLDER

    root = project.root.resolve()
    dumps = folder.resolve()
    path = str(dumps.relative_to(root) if dumps.is_relative_to(root) else dumps)
    compute = {"engine": engine, **({"master": master} if master else {})}
    stages: dict[str, Mapping[str, Any]] = dict(project.profile.stages)
    facts = {key: value for key, value in stages.get("facts", {}).items() if key != "label_table"}
    stages["facts"] = {**facts, "source": "dump", "folder": path, "compute": compute}
    names = [file.name for directory in (dumps, dumps / FOLDER) if directory.is_dir() for file in directory.iterdir()]
    if any(dump.table == "pagelinks" for name in names if (dump := recognise(Path(name)))):
        stages["links"] = {**stages.get("links", {}), "method": "dump", "folder": path, "compute": compute}
    return project._replace(profile=project.profile.model_copy(update={"stages": stages}))


def as_built(project: Project) -> Project:
    """The project with the dumps from which facts and links were built, if its profile has another source.

    Either --source named the dumps or the profile was changed later; the former is assumed.
    """
    stages: dict[str, Mapping[str, Any]] = dict(project.profile.stages)
    for name, key in (("facts", "source"), ("links", "method")):
        manifest = read_manifest(project.artifacts / name)
        built = {} if manifest is None else manifest.params()
        own = stages.get(name, {})
        if built.get(key) == "dump" and own.get(key) != "dump":
            params = {option: value for option, value in own.items() if option != "label_table"}
            stages[name] = params | {option: built[option] for option in (key, "folder", "compute") if option in built}
    return project._replace(profile=project.profile.model_copy(update={"stages": stages}))


def dump_options(project: Project, built: Project) -> str:
    """The options with which `build` makes `built` from the project; empty if the profile suffices."""
    facts = built.profile.stages.get("facts", {})
    if built.profile.stages == project.profile.stages or facts.get("source") != "dump":
        return ""
    compute = facts.get("compute", {})
    spark = compute if compute.get("engine") == "spark" else {}  # Polars has no master.
    options = {"source": f"dump:{project.root / facts['folder']}", **spark}
    return "".join(f" --{name} {shlex.quote(value)}" for name, value in options.items())


def imported_lines(folder: Path) -> Iterator[str]:
    """Import the new dumps of a folder; yields a line for each dump."""
    from dual_data.sources.dumps.imports import import_folder
    from dual_data.system.progress import TerminalProgress

    for dump, manifest, new in import_folder(folder, TerminalProgress()):
        rows = ", ".join(f"{count} {table}" for table, count in manifest.rows().items()) or "no rows"
        counts = manifest.counts()
        remarks = ", ".join(f"{counts[name]} {name}" for name in ("invalid_utf8", "malformed") if counts.get(name))
        state = "imported" if new else "already imported"
        yield f"{dump.path.name}: {state}: {rows}" + (f" ({remarks})" if remarks else "")
