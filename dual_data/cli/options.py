"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ProjectFolder = Annotated[
    Path,
    typer.Option(
        "--project", "-C", metavar="DIR", help="Project folder, or a folder inside it.", show_default="current folder"
    ),
]
ProfileName = Annotated[
    str,
    typer.Option(
        "--profile", "-p", metavar="PROFILE", help="Profile: NAME for pipeline/NAME.toml, or a path to a TOML file."
    ),
]
Private = Annotated[
    bool, typer.Option("--private", help="Create the repository as private; an existing public one is refused.")
]
SendNothing = Annotated[bool, typer.Option("--dry-run", help="Check everything and send nothing.")]
HERE = Path()
"""Default of `ProjectFolder`."""
DEFAULT_PROFILE = "dual"
MOST_ROWS = 2**31
"""Upper bound of a limit of rows: that of `dual_data.config.RowCount`, which is too heavy to import for --help."""
