"""`dual-data eval score`, `report`, `compare`: commands on results that do not need the model."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dual_data.cli.text import as_json, printable, table

if TYPE_CHECKING:
    from dual_data.evaluation.compare import Side
    from dual_data.evaluation.foreign import Rescored

_ALWAYS = ("stage", "set", "method", "lr", "forget", "retain_eval")
_SHOWN = ("data", "model", *_ALWAYS)
"""Columns of the main table that fit into a terminal; those with one value, except `_ALWAYS`, are left out."""
_ALWAYS_NAMED = ("stage", "set", "method", "lr", "seed")
_CELL = ("data", "model", *_ALWAYS_NAMED)
"""Coordinates in a table of results."""
_MOST_LINES = 20
"""Lines of a table of scores that are printed without `--all`."""


def score(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH...", help="Results, folders of `eval run`, logs of open-unlearning, or .jsonl files."
        ),
    ],
    everything: Annotated[
        bool, typer.Option("--all", help=f"Print the table even if it has more than {_MOST_LINES} lines.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help='Print one JSON object {"items": ..., "max_abs_difference": ..., ...}.')
    ] = False,
) -> None:
    """Recompute every score from saved generations.

    Reads results of `dual-data eval run` and open-unlearning's evaluation logs, plain or gzipped, and compares with the
    scores that they hold: prints the number of items and the largest absolute difference, 0 where every score and mean
    is reproduced to the last bit.

    Answers of other code are scored from a .jsonl file with lines of {"question": ..., "answer": ..., "generation":
    ...}. A list "answers" of accepted texts may stand for "answer"; its first is the one that ROUGE compares with.
    "question" is optional, and so are "kind" (entity, text, date or quantity: how answers are compared) and "set"
    (under which means are shown). Other keys are ignored, except scores, such as "rougeL_recall", to compare with.

    Example: dual-data eval score artifacts/evaluation/demo
    """
    from dual_data.evaluation.foreign import log_files, read_log, rescore
    from dual_data.evaluation.results import finite

    rescored: dict[str, Rescored] = {}
    cells: dict[str, Mapping[str, Any]] = {}
    for path in (path for argument in paths for path in log_files(argument)):
        log = read_log(path)
        rescored[str(path)], cells[str(path)] = rescore(log), log.cell
    items = sum(result.items for result in rescored.values())
    largest = max(result.max_abs_difference for result in rescored.values())
    if json:
        files = {
            path: {
                "cell": dict(cells[path]) or None,
                "items": result.items,
                "max_abs_difference": result.max_abs_difference,
                "differences": dict(result.differences),
                "aggregates": dict(result.aggregates),
                "left_alone": result.left_alone,
                "means": {section: dict(means) for section, means in result.means.items()},
            }
            for path, result in rescored.items()
        }
        whole = {"items": items, "max_abs_difference": largest, "files": files}
        print(as_json(finite(whole)))
        return
    coordinates = {path: {name: _coordinate(cell, name) for name in _CELL} for path, cell in cells.items()}
    columns = [
        name
        for name in _CELL
        if len(values := {row[name] for row in coordinates.values()}) > 1
        or (name in _ALWAYS_NAMED and values != {None})
    ]
    rows = [
        (Path(path).name, *(coordinates[path][name] for name in columns), section, f"{means['rougeL_recall']:.4f}",
         f"{means['contains_answer']:.4f}", f"{result.max_abs_difference:g}" if result.differences else None)
        for path, result in sorted(rescored.items(), key=lambda entry: _order(cells[entry[0]]))
        for section, means in result.means.items()
    ]  # fmt: skip
    are_shown = everything or len(rows) <= _MOST_LINES
    if are_shown:
        print(table(("file", *columns, "items of", "ROUGE-L recall", "answers held", "largest difference"), rows))
    alone = {name for result in rescored.values() for name in result.left_alone}
    compared = any(result.differences for result in rescored.values())
    difference = f"largest absolute difference {largest:g}" if compared else "with no scores to compare with"
    print(f"{items} items, {difference}")
    if not are_shown:
        print(f"{len(rows)} lines of means by file and set are left out: --all prints them")
    if alone:
        print(f"{len(alone)} scores need the model and were left alone: --json names them")


def report(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDER...", help="Folders of results, such as artifacts/evaluation/demo.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the report.", show_default="the first folder")
    ] = None,
    title: Annotated[str, typer.Option("--title", help="Title of the page.")] = "Unlearning evaluation",
    no_items: Annotated[
        bool,
        typer.Option(
            "--no-items",
            help="Leave out the questions and answers, and links to them: for a report that goes where these may not.",
        ),
    ] = False,
) -> None:
    """Write the report of one or more grids.

    It is written as report.html (one self-contained page), report.md and report.csv (the main table in numbers). It
    chooses a learning rate for every method on forget and retain_train, draws the frontier of forgetting against
    retention with trivial baselines, and answers in words: are popular facts harder to forget, and does a training
    stage first help. Scores have their intervals, and every row of a table of scores links to the results that it is
    made from, items and all. The frontier is printed as well.

    Example: dual-data eval report artifacts/evaluation/demo
    """
    from dual_data.evaluation.attacks.files import outdated
    from dual_data.evaluation.report.write import write_report

    def say(line: str) -> None:
        print(line, file=sys.stderr)

    written = write_report(folders, out or folders[0], title=title, items=not no_items, say=say)
    for remark in filter(None, map(outdated, folders)):
        say(remark)
    if written.rows:
        columns = [name for name in _SHOWN if len({row[name] for row in written.rows}) > 1 or name in _ALWAYS]
        print(table(columns, [[row[name] for name in columns] for row in written.rows]))
        print("ROUGE-L recall with its 95 % interval at the learning rate that was chosen on forget and retain_train\n")
    for path in (written.html, written.markdown, written.table):
        print(path)


def compare(
    first: Annotated[
        Path,
        typer.Argument(
            metavar="A",
            help="FOLDER:method=NPO,lr=1e-4 for all seeds of a setting in a grid's folder, with as many coordinates as "
            "tell it from the others; or one result, a file below cells/.",
        ),
    ],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another that measured the same items.")],
    seeds: Annotated[
        bool,
        typer.Option("--seeds", help="Take all seeds of a file: the results beside it that differ in seed alone."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare two settings of a grid, or two results, item by item.

    Shows A minus B, paired by item and by seed, with 95 % intervals from a bootstrap over seeds and subjects (for the
    utility panel over its questions). p-values carry Holm's correction over all rows; those of one seed a side are of
    two models and say nothing of two methods. Sets that only one of the two has are left out, and so is the panel where
    the two were not asked the same questions.

    Coordinates are model, data, stage, set, method, preset, profile, lr and seed; the method is none before unlearning.
    Where they leave several settings, those that differ are listed.

    Example: dual-data eval compare artifacts/evaluation/mine:method=NPO artifacts/evaluation/mine:method=none
    """
    from dual_data.evaluation.compare import compare_results

    comparison = compare_results(first, second, seeds=seeds)
    sides = {"A": comparison.first, "B": comparison.second}
    if json:
        rows = [{**row._asdict(), "difference": row.difference._asdict()} for row in comparison.rows]
        cells = {name: {**side.cell, "seeds": list(side.seeds)} for name, side in sides.items()}
        print(as_json({**cells, "rows": rows}))
        return
    # Shown only if they differ, since otherwise the two sides could read as the same.
    more = [name for name in ("preset", "profile") if comparison.first.cell[name] != comparison.second.cell[name]]
    for name, side in sides.items():
        print(f"{name}: {_described(side, more)}")
    lines = [
        (row.set, row.score, str(row.items), str(row.seeds), f"{row.first:z.4f}", f"{row.second:z.4f}",
         _signed(row.difference.value), f"[{_signed(row.difference.low)}, {_signed(row.difference.high)}]",
         f"{row.corrected:.4f}")
        for row in comparison.rows
    ]  # fmt: skip
    print(table(("set", "score", "items", "seeds", "A", "B", "A - B", "95 % interval", "p (Holm)"), lines))


def _coordinate(cell: Mapping[str, Any], name: str) -> str | None:
    """A coordinate of a cell as shown in a table; None if the cell lacks it."""
    from dual_data.evaluation.results import BASE

    if name not in cell or (name == "lr" and cell.get("method") == BASE):
        return None
    value = cell[name]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _order(cell: Mapping[str, Any]) -> list[tuple[float, str]]:
    """Key that sorts results by their coordinates, numbers by value; logs without any come first."""
    values = (cell.get(name, "") for name in _CELL)
    return [(value, "") if isinstance(value, int | float) else (math.inf, str(value)) for value in values]


def _described(side: Side, more: Sequence[str]) -> str:
    """One line on a side of a comparison: data, model, stage and set, method, and the seeds used."""
    from dual_data.evaluation.results import BASE

    cell = side.cell
    place = ", ".join(str(cell[name]) for name in ("data", "model", "stage", "set", *more))
    done = "before unlearning" if cell["method"] == BASE else f"{cell['method']}, lr {cell['lr']:g}"
    return printable(f"{place}, {done}, seed{'' if len(side.seeds) == 1 else 's'} {', '.join(map(str, side.seeds))}")


def _signed(value: float) -> str:
    """A difference with its sign; zero has none."""
    text = f"{value:+z.4f}"
    return text.removeprefix("+") if float(text) == 0 else text
