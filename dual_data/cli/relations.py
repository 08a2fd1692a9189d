"""`dual-data relations list | new | preview`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dual_data.cli.options import DEFAULT_PROFILE, HERE, MOST_ROWS, ProfileName, ProjectFolder
from dual_data.cli.text import printable, say, table
from dual_data.text.display import count

if TYPE_CHECKING:
    from dual_data.errors import ConfigError
    from dual_data.project.loading import Project

app = typer.Typer(help="List, add and preview relations.", no_args_is_help=True)


@app.command("list")
def list_relations(
    project: ProjectFolder = HERE,
    topic: Annotated[str, typer.Option("--topic", metavar="TOPIC", help="Only relations of this topic.")] = "",
) -> None:
    """Print every relation of the project.

    Shows id, name, labels in tables of labels, kind of object, uniqueness, number of questions and topics.

    Example: dual-data relations list --topic places_city
    """
    from dual_data.config import RELATIONS, TOPICS, load_relations, load_topics
    from dual_data.errors import UsageError
    from dual_data.project.loading import find_root

    root = find_root(project)
    relations = load_relations(root / RELATIONS, _left_out)
    if topic and topic not in (known := load_topics(root / TOPICS)):
        raise UsageError(f"{topic}: no such topic; the topics are: {', '.join(known)}")
    rows = [
        (stem, r.name, ", ".join(r.labels), r.object, r.unique, len(r.questions.questions()), " ".join(r.topics))
        for stem, r in relations.items()
        if not topic or r.applies_to(topic)
    ]
    print(table(("relation", "name", "labels", "object", "unique", "questions", "topics"), rows))


@app.command()
def new(
    stem: Annotated[
        str,
        typer.Argument(metavar="RELATION", help="Property id, such as P36, or a property id and a variant: P17_river."),
    ],
    project: ProjectFolder = HERE,
) -> None:
    """Write a relation file to fill in.

    For P36, the file is pipeline/relations/P36.toml. An existing file is never overwritten.

    Example: dual-data relations new P36
    """
    from dual_data.config import RELATIONS
    from dual_data.engine.places import command
    from dual_data.project.loading import find_root
    from dual_data.project.relations import is_own, new_relation

    root = find_root(project)
    path = new_relation(root / RELATIONS, stem)
    preview = command(root, f"relations preview {stem}")
    # The default profile asks Wikidata.
    of_tables = " --profile NAME   # whose tables name it" if is_own(stem) else ""
    print(f"{path} is written. Fill it in, then:\n  {command(root, 'check')}\n  {preview}{of_tables}")


@app.command()
def preview(
    stem: Annotated[
        str,
        typer.Argument(
            metavar="RELATION",
            help="A relation of the project: its id as `relations list` shows it, such as P36 or P17_river, or its "
            "file.",
        ),
    ],
    project: ProjectFolder = HERE,
    profile: ProfileName = DEFAULT_PROFILE,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=MOST_ROWS, help="Show at most N questions.", metavar="N")
    ] = 5,
) -> None:
    """Print some questions that a relation gives.

    Asks the profile's source for a few facts of the relation, and says why a build would reject a fact.

    Example: dual-data relations preview P30 --profile embedded --limit 3
    """
    from dual_data.project.loading import load_project
    from dual_data.project.relations import preview_relation

    loaded = load_project(project, profile)
    questions, rejected, statements, has_several = preview_relation(loaded, stem, limit, _left_out)
    if not questions and not rejected:
        print(_nothing(loaded, Path(stem).name.removesuffix(".toml")))  # `stem` may be the path of the file
    for entry in questions:
        print(printable(entry.question))
        print(f"  answers: {printable(' | '.join(entry.answers))}")
        for paraphrase in entry.paraphrases:
            print(f"  {printable(paraphrase)}")
        if entry.left_out:
            print(f"  left out: {', '.join(entry.left_out)}: some give the answer away; validation keeps an odd number")
        if entry.reason:
            print(f"  rejected: {entry.reason}")
        print()
    if questions and has_several:
        print(
            f"The answers are those among {count(statements, 'statement')} taken here: a build takes all, and accepts "
            "every object of a subject.\n"
        )
    if rejected:
        also = f"Of {count(statements, 'statement')}, a build would reject:"
        print(also if questions else "No question came of it. A build would reject:")
    for group in rejected:
        sample = f", such as {printable(group.sample)}" if group.sample else ""
        print(f"  {count(group.statements, 'statement')}: {group.reason}{sample}")
        if group.hint:
            print(f"    hint: {group.hint}")


def _nothing(project: Project, name: str) -> str:
    """What a preview says of a relation of which the source has no statement."""
    from dual_data.config import EMBEDDED
    from dual_data.sources.embedded import EmbeddedGraph

    if project.profile.services.sparql != EMBEDDED or "folder" in project.profile.stages.get("facts", {}):
        return f"At this source, no subject of the relation's topics has {name}."
    asked = EmbeddedGraph().sources["facts"]
    if name in asked:
        return (
            f"The embedded snapshot has {name}, but for no subject of the relation's topics; name another topic, or "
            "try another profile."
        )
    return (
        f"The embedded snapshot has no {name} for a subject of the relation's topics; try another profile. It has "
        f"{', '.join(asked)}."
    )


def _left_out(error: ConfigError) -> None:
    """Print one line on a relation file that does not load: the file and what is missing."""
    faults = "; ".join(line.removeprefix(f"{error.file}: ") for line in str(error).split("\n"))
    say(f"warning: {error.file} is left out: {faults}")
