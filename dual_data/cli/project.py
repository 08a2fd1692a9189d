"""`dual-data init`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer


def init(folder: Annotated[Path, typer.Argument(help="New or empty folder.")]) -> None:
    """Make a project of your own.

    It is a copy of the project that builds DUAL: pipeline/ and prompts/ to edit, artifacts/ for the results.

    Example: dual-data init my-benchmark
    """
    from dual_data.cli.text import say
    from dual_data.config import shipped_project
    from dual_data.engine.manifest import git_state
    from dual_data.project.new import init as make

    make(folder)
    source = shipped_project()
    if (git_state(source) or {}).get("dirty"):
        say(f"note: {source}, of which it is a copy, has changes that are not committed")
    place = quote(str(folder))
    print(
        f"{folder} is ready. Next:\n"
        f"  cd {place}\n"
        "  git init && git add -A && git commit -m start   # a release names the commit that it was built from\n"
        "  dual-data check\n"
        "  dual-data build --profile embedded --dry-run"
    )
