"""`dual-data audit`: measure DUAL-like datasets."""

from __future__ import annotations

import shutil
from typing import Annotated

import typer

from dual_data.cli.text import as_json, say


def _explain(value: bool) -> None:
    if value:
        from dual_data.audit.meanings import explained

        print(explained())
        raise typer.Exit


def audit(
    targets: Annotated[
        list[str], typer.Argument(metavar="PATH|REPO[@revision]", help="Files, release folders or Hub datasets.")
    ],
    config: Annotated[
        list[str] | None,
        typer.Option("--config", metavar="CONFIG", help="Only this configuration of a release; may be repeated."),
    ] = None,
    split: Annotated[
        list[str] | None, typer.Option("--split", metavar="SPLIT", help="Only splits of this name; may be repeated.")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Show every measurement also of more than 6 splits; a summary is shown else.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help='Print one JSON object {"splits": ..., "pairs": ...}.')] = False,
    explain: Annotated[  # noqa: ARG001 - its callback ends the command
        bool,
        typer.Option(
            "--explain",
            is_eager=True,
            callback=_explain,
            help="Explain each measurement and the columns read, and exit.",
        ),
    ] = False,
) -> None:
    """Measure confounds and leaks of any DUAL-like dataset.

    For each split: malformed questions, empty questions and answers, trivial baselines, majority answers. For each pair
    of splits: what tells them apart, and what they share. Of more than 6 splits, a summary is shown.

    Reads Parquet, JSON lines, JSON and CSV files with the column names of the published dataset or of dual-data
    (--explain lists them), release folders, and datasets on the Hub. A table without such columns is skipped with a
    message if there are others. A measurement that the columns do not allow is null ("-" in the table). Splits of one
    configuration are compared with each other, or only within each topic if their names have one. Single files and
    configurations with one split are compared with each other too. Where more than 30 splits would be compared, only
    those of the same topic are.

    Example: dual-data audit city_forget_rare_5.parquet city_forget_popular_5.parquet
    """
    from dual_data.audit import audit as measure_splits
    from dual_data.audit.groups import grouped
    from dual_data.audit.read import Selection, read_all, select
    from dual_data.audit.table import render
    from dual_data.cli.audit_summary import MOST_IN_FULL, summary

    selection = Selection(config or [], split or [])
    splits = select(read_all(targets, say, selection), selection)
    groups = grouped(splits)
    for line in groups.skipped:
        say(line)
    report = measure_splits({item.name: item.rows for item in splits}, groups.by_split, say)
    if json:
        print(as_json(report))
    elif len(splits) > MOST_IN_FULL and not full:
        print(summary(report))
    else:
        print(render(report, shutil.get_terminal_size((120, 24)).columns))
