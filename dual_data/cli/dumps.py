"""`dual-data dumps fetch | import`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from dual_data.sources.dumps import MIRROR

app = typer.Typer(help="Fetch and import dumps of Wikidata and Wikipedia.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="Folder of the dumps.")]


@app.command()
def fetch(
    folder: Folder,
    wiki: Annotated[
        str,
        typer.Option(
            "--wiki",
            metavar="NAME",
            help="wikidata for statements, wikidatawiki for sitelinks, a Wikipedia such as enwiki for links.",
        ),
    ],
    date: Annotated[str, typer.Option("--date", metavar="DAY", help="Day of the dump: YYYYMMDD.")],
    mirror: Annotated[str, typer.Option("--mirror", metavar="URL", help="Server with the same folders.")] = MIRROR,
    contact: Annotated[
        str,
        typer.Option(
            "--contact", metavar="CONTACT", help="Your e-mail address or URL.", show_default="$DUAL_DATA_CONTACT"
        ),
    ] = "",
) -> None:
    """Download dumps and verify their checksums.

    Resumes an interrupted download.

    Example: dual-data dumps fetch dumps --wiki enwiki --date 20261101
    """
    from dual_data.sources.dumps.fetch import fetch as download
    from dual_data.sources.dumps.fetch import remote
    from dual_data.system.progress import TerminalProgress

    contact = contact or os.environ.get("DUAL_DATA_CONTACT", "")
    for path, new in download(remote(wiki, date, mirror), folder, contact, TerminalProgress()):
        print(f"{path}: {'downloaded' if new else 'already here'}, checksum verified")


@app.command("import")
def import_(folder: Folder) -> None:
    """Convert the dumps in a folder to Parquet.

    Skips dumps that were imported before. After the import, the dumps themselves may be deleted.

    Example: dual-data dumps import dumps
    """
    from dual_data.cli.from_dumps import imported_lines

    for line in imported_lines(folder):
        print(line)
