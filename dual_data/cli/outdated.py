"""Whether the artifacts are up to date with the project, for `release`, `report` and `show`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl

from dual_data.cli.from_dumps import as_built, dump_options
from dual_data.engine.plan import outdated_steps
from dual_data.errors import DualDataError
from dual_data.project.loading import Project


def outdated(project: Project) -> str:
    """Which stages must or may rerun, why, and the command; empty for an up-to-date build.

    The plan is that of `build --dry-run` with the options of the build; no service is called, no model opened.
    """
    built = as_built(project)
    steps = outdated_steps(built.stages, built.root, built.profile)
    if not steps:
        return ""
    reasons = [f"{step.stage.name} must rerun ({step.reason})" for step in steps if step.basis is not None]
    if later := [step.stage.name for step in steps if step.basis is None]:
        reasons.append(f"{', '.join(later)} may rerun")
    limits = {step.manifest.basis.limit for step in steps if step.manifest is not None}
    # Of stages with several limits, a common one would make the others smaller.
    limit = f" --limit {limits.pop()}" if len(limits) == 1 and None not in limits else ""
    return f"{'; '.join(reasons)}; run: {project.command('build')}{dump_options(project, built)}{limit}"


@contextmanager
def reading(project: Project, stale: str) -> Iterator[None]:
    """Raises DualDataError where a table lacks a column and the artifacts are out of date, as `stale` says."""
    try:
        yield
    except (pl.exceptions.ColumnNotFoundError, pl.exceptions.SchemaError) as error:
        if not stale:
            raise
        fault = str(error).partition("\n")[0]
        where = f"{project.artifacts}: a table has other columns than a build writes ({fault})"
        raise DualDataError(f"{where}; {stale}") from None
