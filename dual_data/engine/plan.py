"""Which stages must run and why, decided from fingerprints alone; reads files and writes none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dual_data.config import Profile
from dual_data.engine.code import edited
from dual_data.engine.manifest import Basis, Manifest, read_manifest
from dual_data.engine.places import artifacts
from dual_data.engine.stage import Stage
from dual_data.errors import DualDataError, InputError
from dual_data.schema import describe
from dual_data.system.files import file_hash

NEVER_BUILT = "never built"
"""The reason of a stage without a manifest."""
RERUN = "up to date, but asked for with --rerun"
"""The reason of a stage whose output is current and that runs all the same."""


class Step(NamedTuple):
    """One stage of a plan."""

    stage: Stage
    basis: Basis | None
    """None if an input is unknown until an earlier stage has run."""
    reason: str
    """Why the stage runs; empty if its output is current."""
    manifest: Manifest | None
    """The manifest on disk, if it can be read."""
    edited: tuple[str, ...] = ()
    """Of a stage whose output is current: the files of its code that are not as they were when it was built."""


def plan(
    stages: Sequence[Stage], project: Path, profile: Profile, limit: int | None, *, rerun: bool = False
) -> list[Step]:
    """Decide for every stage, in order, whether it runs; with `rerun`, one whose output is current runs too."""
    steps: dict[str, Step] = {}
    for stage in stages:
        steps[stage.name] = plan_stage(stage, project, profile, limit, steps, rerun=rerun)
    return list(steps.values())


def expect_sound(steps: Sequence[Step], project: Path, profile: Profile, *, offline: bool) -> None:
    """Raise UsageError for the first stage that will or may run with wrong parameters or files.

    Offline only parameters are checked: what answered once need not be here any more.
    """
    for step in steps:
        if step.reason and offline:
            profile.params(step.stage.name, step.stage.params)
        elif step.reason:
            check_stage(step.stage, project, profile)


def check_stage(stage: Stage, project: Path, profile: Profile) -> None:
    """Raise UsageError for parameters or files that are not what the stage needs."""
    params = profile.params(stage.name, stage.params)
    if stage.check is not None:
        with profile.named_in_errors():
            stage.check(params, project, profile)


def plan_stage(
    stage: Stage,
    project: Path,
    profile: Profile,
    limit: int | None,
    earlier: Mapping[str, Step],
    *,
    rerun: bool = False,
) -> Step:
    """Decide for one stage, given the decisions on those before it."""
    folder = artifacts(project, profile) / stage.name
    manifest = read_manifest(folder)
    pending = [name for name in stage.inputs if earlier[name].reason]
    if pending:
        reason = why_unread(folder) if manifest is None else f"may rerun: {', '.join(pending)} will be built anew"
        return Step(stage, None, reason, manifest)
    inputs = {name: upstream.content() for name in stage.inputs if (upstream := earlier[name].manifest) is not None}
    known_sources = {} if manifest is None else manifest.basis.sources
    basis = basis_of(stage, project, profile, limit, inputs, known_sources)
    reason = why_stale(basis, manifest, folder) or (RERUN if rerun else "")
    if manifest is None or reason:
        return Step(stage, basis, reason, manifest)
    return Step(stage, basis, "", manifest, edited(stage, project, manifest.build))


def outdated_steps(stages: Sequence[Stage], project: Path, profile: Profile) -> list[Step]:
    """The stages on disk that a build, with the limit of each, would or might run again, and those that they lack.

    And those that it would not run again though their code was edited.
    A stage whose inputs cannot be read, such as tables that have been moved, counts as current.
    """
    steps: dict[str, Step] = {}
    for stage in stages:
        folder = artifacts(project, profile) / stage.name
        manifest = read_manifest(folder)
        limit = None if manifest is None else manifest.basis.limit
        try:
            steps[stage.name] = plan_stage(stage, project, profile, limit, steps)
        except (DualDataError, OSError):
            steps[stage.name] = Step(stage, None, why_unread(folder) if manifest is None else "", manifest)
    # What was never built is outdated only where a later stage on disk needs it: any other may yet be built.
    needed = {name for step in steps.values() if step.manifest is not None for name in step.stage.inputs}
    return [
        step
        for step in steps.values()
        if step.edited or (step.reason and (step.reason != NEVER_BUILT or step.stage.name in needed))
    ]


def basis_of(
    stage: Stage,
    project: Path,
    profile: Profile,
    limit: int | None,
    inputs: Mapping[str, str],
    known_sources: Mapping[str, str],
) -> Basis:
    """Everything that the stage's output depends on. Raises ConfigError for wrong parameters.

    `known_sources` has the last run's hashes of the sources, used for those that only a run can determine.
    """
    params = profile.params(stage.name, stage.params)
    services = profile.services.model_dump(mode="json")
    sources = stage.sources(params, project, profile.services) if stage.sources else {}
    hashes = {name: known_sources.get(name) if content is None else content for name, content in sources.items()}
    return Basis(
        stage=stage.name,
        version=stage.version,
        output_schema=describe(stage.schema),
        limit=limit,
        params=params.model_dump(mode="json"),
        services={name: services[name] for name in stage.services},
        files=_hashes(stage, project),
        sources={name: content for name, content in hashes.items() if content is not None},
        inputs=inputs,
    )


def why_stale(basis: Basis, manifest: Manifest | None, folder: Path) -> str:
    """Why the output on disk is not that of `basis`, by the first difference; empty if it is."""
    if manifest is None:
        return why_unread(folder)
    if manifest.is_edited():
        return "its manifest was edited"
    if changes := list(_changes(manifest.basis, basis)):
        return "; ".join(changes[:3]) + (f"; and {len(changes) - 3} more" if len(changes) > 3 else "")
    for name, table in manifest.outcome.items():
        path = folder / f"{name}.parquet"
        if not path.is_file():
            return f"{name}.parquet is missing"
        if file_hash(path) != table.file:
            return f"{name}.parquet is not what was written"
    return ""


def why_unread(folder: Path) -> str:
    """Why a stage's folder has no valid manifest."""
    return "its manifest cannot be read" if (folder / "manifest.json").exists() else NEVER_BUILT


def _changes(old: Basis, new: Basis) -> Iterator[str]:
    if old.version != new.version:
        yield f"the stage's code is version {new.version}, was {old.version}"
    if old.output_schema != new.output_schema:
        yield "the schema of its table changed"
    if old.limit != new.limit:
        lost = ": its complete rows are replaced" if old.limit is None else ""
        yield f"limit {_shown(new.limit)}, was {_shown(old.limit)}{lost}"
    for title, before, after in (
        ("parameter", old.params, new.params),
        ("service", old.services, new.services),
        ("file", old.files, new.files),
        ("source", old.sources, new.sources),
        ("input", old.inputs, new.inputs),
    ):
        for key, was, now in _differing(before, after):
            if title in ("file", "source", "input"):
                yield f"{key} {'is new' if was is None else 'is gone' if now is None else 'changed'}"
            elif _shown(now) == _shown(was):  # Long values may differ only beyond the cut.
                yield f"{title} {key} changed"
            else:
                yield f"{title} {key} is {_shown(now)}, was {_shown(was)}"


def _differing(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Key, old and new value of each difference, None if absent; keys of nested tables are `outer.inner`."""
    for key in [*after, *(key for key in before if key not in after)]:
        was, now = before.get(key), after.get(key)
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            yield from _differing(was, now, f"{prefix}{key}.")
        elif was != now or (key in before) != (key in after):
            yield f"{prefix}{key}", was, now


def _shown(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _hashes(stage: Stage, project: Path) -> dict[str, str]:
    hashes = {}
    for pattern in stage.files:
        paths = sorted(path for path in project.glob(pattern) if path.is_file())
        if not paths:
            if (folder := (project / pattern).parent).is_dir():
                next(folder.iterdir(), None)  # Raises for an unreadable folder, which glob takes for an empty one.
            raise InputError(f"{project / pattern}: no such file; the stage {stage.name} needs it")
        hashes.update({path.relative_to(project).as_posix(): file_hash(path) for path in paths})
    return hashes
