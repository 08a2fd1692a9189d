"""`dual-data check`."""

from __future__ import annotations

import sys

import typer

from dual_data.cli.options import HERE, ProjectFolder


def check(project: ProjectFolder = HERE) -> None:
    """Check the files of a project.

    Prints the faults of all files with file and key, and exits with 2 where there is one. What rests on a faulty key is
    checked once that is right. Checked are profiles, topics, relations and prompts: TOML syntax and UTF-8, known keys,
    types and ranges; Wikidata ids; that every topic a relation names exists, and no two files of a property claim one
    topic, nor two properties one label there; that EXCLUDED.toml contradicts no relation and explains its reasons; that
    questions hold their variables, are filled in, differ, and number at least four; that prompts declare and use their
    variables, and are what their stages ask with; the parameters of every stage in every profile.

    Example: dual-data check --project my-benchmark
    """
    from dual_data.checks import check_project
    from dual_data.project import find_root, load_stages

    root = find_root(project)
    findings, summary = check_project(root, load_stages(root))
    for finding in findings:
        print(f"error: {finding}", file=sys.stderr)
    if findings:
        print(f"{len(findings)} fault(s)", file=sys.stderr)
        raise typer.Exit(2)
    print(summary)
