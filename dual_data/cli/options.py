"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ProjectFolder = Annotated[
    Path, typer.Option("--project", "-C", help="Folder of the project, or one below it.", show_default="here")
]
ProfileName = Annotated[
    str, typer.Option("--profile", "-p", help="Profile: NAME for pipeline/NAME.toml, or a path to a TOML file.")
]
HERE = Path()
"""Default of `ProjectFolder`."""
DEFAULT_PROFILE = "dual"
MOST_ROWS = 2**31
"""Most that a limit of rows may be: the bound of `dual_data.config.Rows`, which help is not to import."""
