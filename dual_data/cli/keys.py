"""`dual-data keys`: what the files of a project may hold in TOML."""

from __future__ import annotations

import shutil
import textwrap
from typing import TYPE_CHECKING, Annotated, NamedTuple, get_args

import typer

from dual_data.cli.options import HERE, ProjectFolder
from dual_data.cli.text import table
from dual_data.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from dual_data.config import Strict


class Described(NamedTuple):
    """A table that can be asked for."""

    head: str
    """How it is written."""
    file: str
    model: type[Strict]


def keys(
    name: Annotated[
        str | None, typer.Argument(metavar="[TABLE]", help="Such as links or grids.", show_default="list the tables")
    ] = None,
    project: ProjectFolder = HERE,
) -> None:
    """Print the keys that a table of a TOML file may have.

    Each comes with the values that it takes, its default and its meaning. Those of the project's own stages, and of
    the TOML above a prompt, are among them; outside a project, the stages are the shipped ones. The options of
    unlearning methods are shown by `dual-data eval methods`.

    Example: dual-data keys links
    """
    from dual_data.config.keys import keys_of, meaning_of
    from dual_data.project.loading import project_or_shipped

    tables = _tables(project_or_shipped(project))
    if name is None:
        print(table(("table", "written", "in"), [(key, told.head, told.file) for key, told in tables.items()]))
        return
    if name not in tables:
        raise UsageError(f"{name}: no such table; the tables are: {', '.join(tables)}")
    told = tables[name]
    width = min(shutil.get_terminal_size((100, 24)).columns, 120)
    words = textwrap.TextWrapper(width, break_on_hyphens=False, break_long_words=False)
    print(f"{told.head} in {told.file}\n{words.fill(meaning_of(told.model))}")
    words.initial_indent = words.subsequent_indent = "    "
    for key in keys_of(told.model):
        given = "required" if key.required else f"default {key.default}" if key.default else "optional"
        print(f"\n{key.name}: {key.takes}; {given}")
        print(words.fill(key.meaning))


def _tables(root: Path) -> dict[str, Described]:
    """The tables of all files that users write, by the name to ask for them."""
    from dual_data.config import RELATIONS, TOPICS, Excluded, ProjectTable, Relation, Services, Topic
    from dual_data.evaluation.settings import EvaluationSettings
    from dual_data.project.loading import load_stages
    from dual_data.prompts import FrontMatter

    profile, grids = "a profile, such as pipeline/dual.toml", "a grid file, such as pipeline/evaluation.toml"
    of_stages = {stage.name: Described(f"[{stage.name}]", profile, stage.params) for stage in load_stages(root)}
    of_grids = {
        name: Described(f"[{name}.NAME]", grids, get_args(field.annotation)[1])
        for name, field in EvaluationSettings.model_fields.items()
    }
    return {
        "project": Described("[project]", profile, ProjectTable),
        "services": Described("[services]", profile, Services),
        **of_stages,
        **of_grids,
        "topic": Described("[NAME]", TOPICS, Topic),
        "relation": Described("top level", f"a relation file, such as {RELATIONS}/P36.toml", Relation),
        "excluded": Described('["LABEL"]', f"{RELATIONS}/EXCLUDED.toml", Excluded),
        "prompt": Described("between two lines +++", "a prompt file, such as prompts/salience.md", FrontMatter),
    }
