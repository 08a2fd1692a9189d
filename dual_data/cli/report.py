"""`dual-data report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dual_data.cli.options import DEFAULT_PROFILE, HERE, ProfileName, ProjectFolder
from dual_data.cli.text import say


def report(
    project: ProjectFolder = HERE,
    profile: ProfileName = DEFAULT_PROFILE,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="File of the page.", show_default="artifacts/PROFILE/report.html"),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(
            "--figures",
            metavar="DIR",
            file_okay=False,
            help="Also write every figure to this folder, as SVG and PNG for papers.",
        ),
    ] = None,
) -> None:
    """Write a report on a build, as one HTML page.

    The page has numbers, figures, an audit, samples and provenance, and needs no network and no other file. Reasons not
    to cite the build as it is stand at its top and are printed too. The command needs matplotlib, which the
    extra `report` installs.

    Example: dual-data report --profile embedded --figures figures
    """
    from dual_data.cli.outdated import read_current, reading
    from dual_data.config import RELATIONS, load_relations
    from dual_data.errors import UsageError
    from dual_data.project.loading import load_project
    from dual_data.report.page import write_report

    if out is not None and out.is_dir():
        raise UsageError(f"--out {out}: is a folder; name a file, such as {out / 'report.html'}")
    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--out {out}: is not the name of a page; name a file that ends in .html")
    loaded = load_project(project, profile)
    built = read_current(loaded)
    relations = load_relations(loaded.root / RELATIONS)
    page = out or loaded.artifacts / "report.html"
    with reading(built):
        written = write_report(built, relations, page, figures)
    if built.doubts:
        say("\n  ".join(["Before you cite this build:", *built.doubts]))
    print(page)
    if figures:
        print(f"{figures}: {len(written)} files")
