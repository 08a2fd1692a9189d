"""`dual-data check`."""

from __future__ import annotations

import typer

from dual_data.cli.options import HERE, ProjectFolder
from dual_data.cli.text import say


def check(project: ProjectFolder = HERE) -> None:
    """Check the files of a project.

    Prints every fault with its file and key, and exits with 2 if there is one. What depends on a faulty key is checked
    only once that key is right.

    Checks profiles, topics, relations, prompts and grids: TOML syntax and UTF-8, known keys, types and ranges; Wikidata
    ids; that every topic that a relation names exists, that no two files of a property name the same topic, and that no
    two properties have the same label in a topic; that EXCLUDED.toml contradicts no relation and explains its reasons;
    that questions contain their variables, are filled in, are all different, and number at least four; that prompts
    declare and use their variables, and have the ones that their stages fill in; the parameters of every stage in every
    profile, and that its folder of facts holds tables; keys and names in files of grids, and that the files of their
    data are there, if not below artifacts/; the syntax of pipeline/methods; and, with the extra `eval`, the methods
    defined there and the options of all methods in presets.

    `dual-data eval run --dry-run` also reads the rows of a grid and tries its methods.

    Example: dual-data check --project my-benchmark
    """
    from dual_data.project.checks import check_project
    from dual_data.project.loading import find_root, load_stages
    from dual_data.text.display import count

    root = find_root(project)
    findings, summary = check_project(root, load_stages(root))
    for finding in findings:
        say(f"error: {finding}")
    if findings:
        say(count(len(findings), "fault"))
        raise typer.Exit(2)
    print(summary)
