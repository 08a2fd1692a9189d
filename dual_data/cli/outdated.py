"""Whether the artifacts are up to date with the project, for `release`, `report` and `show`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import polars as pl

from dual_data.cli.from_dumps import as_built, dump_options
from dual_data.engine.plan import Step, outdated_steps
from dual_data.errors import DualDataError
from dual_data.project.loading import Project
from dual_data.report.read import Built, read_built
from dual_data.text.display import some_of


def outdated(project: Project) -> tuple[str, list[str]]:
    """Which stages must or may rerun, why, and the command, empty for an up-to-date build; and lines on edited code.

    The plan is that of `build --dry-run` with the options of the build; no service is called, no model opened.
    """
    built = as_built(project)
    found = outdated_steps(built.stages, built.root, built.profile)
    steps = [step for step in found if step.reason]
    if not steps:
        return "", edited_code(found)
    reasons = [f"{step.stage.name} must rerun ({step.reason})" for step in steps if step.basis is not None]
    if later := [step.stage.name for step in steps if step.basis is None]:
        reasons.append(f"{', '.join(later)} may rerun")
    limits = {step.manifest.basis.limit for step in steps if step.manifest is not None}
    # Of stages with several limits, a common one would make the others smaller.
    limit = f" --limit {limits.pop()}" if len(limits) == 1 and None not in limits else ""
    command = f"{project.command('build')}{dump_options(project, built)}{limit}"
    return f"{'; '.join(reasons)}; run: {command}", edited_code(found)


def edited_code(steps: Sequence[Step]) -> list[str]:
    """A sentence on each stage whose rows are current by its version, while its code is not as it was."""
    return [
        f"The stage {step.stage.name} is not built anew though {some_of(step.edited)} changed: raise its version if "
        "that can change its rows."
        for step in steps
        if step.edited
    ]


def read_current(project: Project) -> Built:
    """The build of a project, and how far it is out of date."""
    names = [stage.name for stage in project.stages]
    built = read_built(project.profile.name, project.artifacts, names, project.command("build"))
    stale, edited = outdated(project)
    return replace(built, outdated=stale, edited=edited, title=project.profile.about.title)


@contextmanager
def reading(built: Built) -> Iterator[None]:
    """Raises DualDataError where a table lacks a column and the build is out of date."""
    try:
        yield
    except (pl.exceptions.ColumnNotFoundError, pl.exceptions.SchemaError) as error:
        if not built.outdated:
            raise
        fault = str(error).partition("\n")[0]
        where = f"{built.folder}: a table has other columns than a build writes ({fault})"
        raise DualDataError(f"{where}; {built.outdated}") from None
