"""Runs a plan: stage by stage, under a lock; a stage's manifest is written last."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from dual_data.calls.fetching import Tally
from dual_data.config import Profile
from dual_data.engine.code import code_of
from dual_data.engine.manifest import Basis, Manifest, Table, build_record, read_manifest, write_manifest
from dual_data.engine.places import artifacts, command
from dual_data.engine.plan import Step, expect_sound, plan, plan_stage
from dual_data.engine.stage import Result, Stage, Tools, needed
from dual_data.engine.tables import content_hash, expect_supported, read_parquet, settle
from dual_data.errors import DualDataError, UsageError
from dual_data.system.files import file_hash, locked, write_parquet, writing

Report = Callable[[Step, "Manifest | None"], None]
"""Called before a stage runs (with None) and after it (with its manifest); a step without a reason did not run."""


def build(
    stages: Sequence[Stage],
    tools: Tools,
    profile: Profile,
    *,
    only: Sequence[str] = (),
    rerun: bool = False,
    report: Report = lambda _step, _manifest: None,
) -> list[Step]:
    """Bring the stages up to date, in order, and return the final steps.

    `only` names the stages wanted; their dependencies are built too. If a stage runs again with equal output, the
    stages after it do not, unless `rerun` says that all run again.
    """
    folder = artifacts(tools.project, profile)
    steps: dict[str, Step] = {}
    with locked(folder / ".lock", "another build"):
        wanted = needed(stages, only) if only else stages
        # The fault of a late stage must not come to light after the calls of the earlier ones.
        steps_ahead = plan(wanted, tools.project, profile, tools.limit, rerun=rerun)
        expect_sound(steps_ahead, tools.project, profile, offline=tools.calls.offline)
        greetings: Mapping[str, Tally] = {}
        if not tools.calls.offline:
            if lacks := lacking(steps_ahead, tools, profile):
                raise UsageError("\n".join(lacks))
            greetings = _greet([step.stage for step in steps_ahead if step.reason], tools, profile)
        for stage in wanted:
            # Again, though planned above: files may have changed while the earlier stages ran.
            step = plan_stage(stage, tools.project, profile, tools.limit, steps, rerun=rerun)
            if step.reason and step.basis is not None:
                report(step, None)
                manifest = _run_stage(stage, step.basis, tools, profile, greetings.get(stage.name, Tally()))
                report(step, manifest)
                step = step._replace(manifest=manifest, reason="")
            else:
                report(step, step.manifest)
            steps[stage.name] = step
    return list(steps.values())


def lacking(steps: Sequence[Step], tools: Tools, profile: Profile) -> list[str]:
    """What the stages to run lack, for any run or for calls to be made, such as a key, after the names of these stages.

    The calls of a stage are known once its inputs are built. Until then it counts as one that makes calls if it says so
    itself (`Lack.calls_expected`), or if a stage that it builds on makes some, whose answers bring new questions here.
    """
    stages_by_message: dict[str, dict[str, None]] = {}
    for step in steps:
        stage = step.stage
        if not step.reason or stage.lacks is None:
            continue
        builds_on = needed([other.stage for other in steps], stage.inputs)
        for lack in stage.lacks(profile.params(stage.name, stage.params), tools):
            if lack.always:
                asks = True
            elif step.basis is not None:
                asks = _asks(step, lack.params, tools, profile)
            else:
                earlier = [other for other in steps if other.stage in builds_on and other.reason]
                asks = lack.calls_expected or any(
                    _asks(other, profile.params(other.stage.name, other.stage.params), tools, profile)
                    for other in earlier
                )
            if asks:
                stages_by_message.setdefault(lack.message, {})[stage.name] = None
    return [f"{', '.join(names)}: {message}" for message, names in stages_by_message.items()]


def _asks(step: Step, params: Any, tools: Tools, profile: Profile) -> bool:
    """Whether a stage is known to make calls that the log does not answer."""
    if step.stage.forecast is None or step.basis is None:
        return False
    inputs = {name: read_rows(tools.project, profile, name) for name in step.stage.inputs}
    return any(forecast.to_make for forecast in step.stage.forecast(params, tools, **inputs))


def _greet(stages: Sequence[Stage], tools: Tools, profile: Profile) -> dict[str, Tally]:
    """Let the services of all stages to run answer once, but those of the first, which asks them itself.

    Returns what became of these calls by stage.
    """
    calls = {}
    for stage in stages[1:]:
        if stage.greet is not None:
            before = tools.calls.tally()
            with profile.named_in_errors():
                stage.greet(profile.params(stage.name, stage.params), tools)
            calls[stage.name] = tools.calls.tally() - before
    return calls


def _run_stage(stage: Stage, basis: Basis, tools: Tools, profile: Profile, greeting: Tally) -> Manifest:
    """Run a stage and write its tables and its manifest, in which the calls of its `greeting` count, too."""
    folder = artifacts(tools.project, profile) / stage.name
    before = tools.calls.tally() - greeting
    started = time.monotonic()
    code = code_of(stage, tools.project)  # before hours in which it may be edited
    params = profile.params(stage.name, stage.params)
    inputs = {name: read_rows(tools.project, profile, name) for name in stage.inputs}
    with profile.named_in_errors():
        returned = stage.run(params, tools, **inputs)
    result = returned if isinstance(returned, Result) else Result(returned, {})
    basis = basis.model_copy(update={"sources": {**basis.sources, **result.sources}})
    expect_supported({"data": result.rows, **result.tables}, stage.name)
    settled = settle(result.rows, stage.schema, stage.name)
    tables = {"data": settled.rows, "rejected": settled.rejected, **result.tables}
    with writing(folder, "The calls are kept in the log"):
        _remove_stale_tables(folder, tables)
        for name, frame in tables.items():
            write_parquet(frame, folder / f"{name}.parquet")
        manifest = Manifest(
            fingerprint=basis.fingerprint(),
            basis=basis,
            outcome={
                name: Table(rows=frame.height, content=content_hash(frame), file=file_hash(folder / f"{name}.parquet"))
                for name, frame in tables.items()
            },
            rejected=_by_reason(settled.rejected),
            calls=tools.calls.counts(before),
            build=build_record(tools.project, time.monotonic() - started, params, code),
        ).sealed()
        write_manifest(folder, manifest)
    return manifest


def read_rows(project: Path, profile: Profile, stage: str, table: str = "data") -> pl.DataFrame:
    """A table of a stage from disk. Raises DualDataError if it was not built, or is damaged or another one."""
    path = artifacts(project, profile) / stage / f"{table}.parquet"
    made_by = f"{command(project, 'build', profile)} {stage}"
    if not path.is_file():
        raise DualDataError(f"{path}: not built yet; run: {made_by}")
    manifest = read_manifest(path.parent)
    if manifest and table in manifest.outcome and manifest.outcome[table].file != file_hash(path):
        raise DualDataError(f"{path}: is not what was written; run: {made_by}")
    return read_parquet(path, made_by)


def _remove_stale_tables(folder: Path, tables: dict[str, pl.DataFrame]) -> None:
    """Delete tables that only an earlier run wrote, which would look as if they belonged to this one.

    And what a killed run had begun to write: the lock of the build admits one writer.
    """
    current = {folder / f"{name}.parquet" for name in tables}
    for path in [*folder.rglob("*.parquet"), *folder.rglob(".*.tmp")]:
        if path not in current:
            path.unlink()


def _by_reason(rejected: pl.DataFrame) -> dict[str, int]:
    counts = rejected.group_by("reason").len().sort(["len", "reason"], descending=[True, False])
    return dict(counts.iter_rows())
