"""Where a cell belongs: its model before unlearning, its place in tables and titles, and links to its results."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import compress
from typing import NamedTuple

from dual_data.evaluation.report.analysis.runs import Collection, Group, Key, Run, chosen_cells
from dual_data.evaluation.report.document import ITEMS, Entry, Link, Table
from dual_data.evaluation.results import BASE
from dual_data.evaluation.settings import PRETRAINED

_PLACE = ("data", "model", "stage", "set")
BEFORE = "before"
"""What charts and tables call the model before unlearning."""


class CellLine(NamedTuple):
    """A row of a table of cells, with the texts of its columns and links to the results behind it."""

    key: Key
    method: str
    texts: Sequence[str]
    links: tuple[Link, ...]
    id: str = ""
    """By which charts link to it; all rows of a table have one, or none."""


class Start(NamedTuple):
    """A model before unlearning, and the groups that start from it; none where nothing was unlearned yet."""

    key: Key
    """Key of the model before unlearning."""
    before: tuple[Run, ...]
    """Its runs; empty where it could not be measured."""
    groups: list[Group]
    title: str
    """Title of its charts and tables."""

    @property
    def unlearned(self) -> list[tuple[str, Sequence[Run]]]:
        """Runs of every method at its chosen learning rate, by name; none where it was not measured itself."""
        return [(group.key.method, runs) for group, runs in chosen_cells(self.groups)]

    @property
    def cells(self) -> list[tuple[str, Sequence[Run]]]:
        """Its own runs and those of :attr:`unlearned`; none where it was not measured."""
        return [(BEFORE, self.before), *self.unlearned] if self.before else []


def starts(collection: Collection) -> list[Start]:
    """All models before unlearning, separate for each preset and profile, except where nothing was measured."""
    groups_by_key: dict[Key, list[Group]] = defaultdict(list)
    for group in collection.groups:
        groups_by_key[group.key._replace(method=BASE)].append(group)
    unlearned = {key for key, groups in groups_by_key.items() if any(group.lrs for group in groups)}
    keys = sorted(unlearned | collection.bases.keys())
    return [Start(key, collection.bases.get(key, ()), groups_by_key[key], title_of(key, keys)) for key in keys]


def several_settings(keys: Sequence[Key]) -> tuple[str, ...]:
    """Preset and profile, where the keys have several."""
    values = {name: {getattr(key, name) for key in keys} for name in ("preset", "profile")}
    return tuple(name for name, of_name in values.items() if len(of_name) > 1)


def place_columns(keys: Sequence[Key]) -> tuple[str, ...]:
    """The columns that name the place of a row: preset and profile too, where the rows have several."""
    return (*_PLACE, *several_settings(keys))


def place_of(key: Key, columns: Iterable[str]) -> tuple[str, ...]:
    """The place of a group, by column."""
    return tuple(getattr(key, name) for name in columns)


def cell_table(columns: Sequence[str], lines: Sequence[CellLine], caption: str, exact: Sequence[str] = ()) -> Table:
    """A table with place and method before the columns, and the links after them."""
    place = place_columns([line.key for line in lines])
    rows: tuple[tuple[Entry, ...], ...] = tuple(
        (*place_of(line.key, place), line.method, *line.texts, line.links) for line in lines
    )
    ids = tuple(line.id for line in lines if line.id)
    return Table((*place, "method", *columns, ITEMS), rows, caption, tuple(exact), ids)


def title_of(key: Key, keys: Sequence[Key]) -> str:
    """Title of a chart or fold: stage, set and the other fields, except method, in which `keys` differ."""

    def is_named(field: str) -> bool:
        return field in ("stage", "set") or (field != "method" and len({getattr(other, field) for other in keys}) > 1)

    return ", ".join(getattr(key, field) for field in Key._fields if is_named(field))


def rate_of(runs: Sequence[Run]) -> str:
    """The learning rate of some runs; empty before unlearning."""
    return f"{runs[0].lr:g}" if runs[0].lr else ""


def seeds_of(runs: Sequence[Run]) -> str:
    """The number of seeds of some runs, and how many of them stopped before their training ended."""
    stopped = stopped_of(runs)
    return f"{len(runs)} ({stopped} stopped)" if stopped else str(len(runs))


def stopped_of(runs: Sequence[Run]) -> int:
    """How many of some measured runs stopped before their training ended."""
    return sum(run.stopped for run in runs)


def is_trained(run: Run) -> bool:
    """Whether anything was trained, so that the seed matters; the pretrained model before unlearning has seed 0."""
    return bool(run.lr) or run.cell["stage"] != PRETRAINED


def row_id(table: str, runs: Sequence[Run]) -> str:
    """Id, on the page, of the row of these runs in a table; charts link to it."""
    return f"{table}-{runs[0].id}"


def sources(runs: Sequence[Run]) -> tuple[Link, ...]:
    """Links to the results of some runs, with the items behind a number; named by seed and by what else differs."""

    def coordinates(run: Run) -> tuple[str, ...]:
        unlearned = (run.cell["method"], f"{run.lr:g}") if run.lr else ("", BEFORE)
        return (run.cell["stage"], run.cell["set"], *unlearned)

    of_runs = [coordinates(run) for run in runs]
    differs = [len(set(values) - {""}) > 1 for values in zip(*of_runs, strict=True)]
    names = [" ".join(filter(None, compress(values, differs))) for values in of_runs]
    return tuple(Link(f"{name} seed {run.seed}".strip(), run.path) for name, run in zip(names, runs, strict=True))
