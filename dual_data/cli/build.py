"""`dual-data build` and `dual-data show`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from dual_data.cli.options import DEFAULT_PROFILE, HERE, MOST_ROWS, ProfileName, ProjectFolder
from dual_data.cli.text import say

if TYPE_CHECKING:
    from dual_data.engine.manifest import Manifest
    from dual_data.engine.plan import Step
    from dual_data.project.loading import Project


def build(
    stages: Annotated[list[str] | None, typer.Argument(help="Stages to bring up to date; default: all.")] = None,
    project: ProjectFolder = HERE,
    profile: ProfileName = DEFAULT_PROFILE,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            min=1,
            max=MOST_ROWS,
            help="Work on at most N facts in each stage, chosen by hash; of Wikidata, only N subjects a topic are "
            "read, in most topics the most famous.",
            metavar="N",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and change nothing.")] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Only replay the call log; a call that is not in it is an error.")
    ] = False,
    rerun: Annotated[
        bool,
        typer.Option(
            "--rerun",
            help="Run stages that are up to date too, from the answers that are kept: after a commit, so that the "
            "build is of that commit.",
        ),
    ] = False,
    source: Annotated[
        str | None, typer.Option("--source", help="Take facts and links from a folder of dumps.", metavar="dump:DIR")
    ] = None,
    engine: Annotated[
        str, typer.Option("--engine", help="Engine that reads the dumps: polars or spark.", metavar="NAME")
    ] = "polars",
    master: Annotated[str, typer.Option("--master", help="Spark master.", metavar="URL", show_default="local[*]")] = "",
) -> None:
    """Bring the dataset up to date.

    Runs only stages whose inputs changed, and never repeats a call that was answered.

    Example: dual-data build --profile embedded
    """
    from dual_data.engine.run import build as run
    from dual_data.engine.stage import needed
    from dual_data.errors import UsageError
    from dual_data.project.loading import load_project
    from dual_data.system.progress import TerminalProgress

    loaded = load_project(project, profile)
    if source is not None:
        from dual_data.cli.from_dumps import dump_folder, from_dumps, imported_lines

        folder = dump_folder(source)
        loaded = from_dumps(loaded, folder, engine, master)
    elif master or engine != "polars":
        raise UsageError("--engine and --master are options of --source dump:DIR; add it, or leave them out")
    names = [stage.name for stage in loaded.stages]
    if unknown := [name for name in stages or () if name not in names]:
        raise UsageError(f"{unknown[0]}: no such stage; the stages are: {', '.join(names)}")
    if dry_run:
        from dual_data.cli.planned import planned

        print(planned(loaded, stages or names, limit, offline=offline, rerun=rerun))
        return
    if source is not None:
        # The import may take hours: what is wrong with the parameters must not come to light after it.
        for stage in needed(loaded.stages, stages or names):
            loaded.profile.params(stage.name, stage.params)
        for line in imported_lines(folder):
            say(line)
    tools = loaded.tools(limit=limit, offline=offline, progress=TerminalProgress())
    with tools.calls:
        run(loaded.stages, tools, loaded.profile, only=stages or (), rerun=rerun, report=partial(_report, loaded))


def show(
    project: ProjectFolder = HERE,
    profile: ProfileName = DEFAULT_PROFILE,
    sample: Annotated[int, typer.Option("--sample", min=0, max=2**31, help="Questions to print.", metavar="N")] = 10,
) -> None:
    """Print the results of a build.

    Shows rows, rejected rows by reason, recipes and splits, sample questions, and the folder of the build.

    Example: dual-data show --profile embedded --sample 20
    """
    from dual_data.cli.summary import summary
    from dual_data.project.loading import load_project

    print(summary(load_project(project, profile), sample))


def _report(project: Project, step: Step, manifest: Manifest | None) -> None:
    from dual_data.cli.outdated import edited_code
    from dual_data.cli.summary import missing_recipes, names_unknown, unknown_relations
    from dual_data.text.display import count

    name = step.stage.name
    if manifest is None:
        say(f"{name}: {step.reason}")
        return
    data = manifest.outcome["data"].rows
    if not step.reason:
        # Rejects and calls were reported by the build that made it.
        say(f"{name}: up to date, {data} rows")
        for line in edited_code([step]):
            say(f"  {line}")
        return
    rejected = sum(manifest.rejected.values())
    calls = ", ".join(
        f"{source}: {count(counts.made, 'call')}, {counts.replayed} replayed"
        + (f", {counts.failed} failed" if counts.failed else "")
        for source, counts in manifest.calls.items()
    )
    state = f"{data} rows, {rejected} rejected"
    say(f"{name}: {state}" + (f" ({calls})" if calls else ""))
    if names_unknown(manifest):
        say(f"  {unknown_relations(project)}")
    if missing := missing_recipes(project, manifest):
        say(f"  {missing}")
