"""How the models of a report were trained and asked: methods with their options, presets, stages, prompts and rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dual_data.evaluation.report.analysis.runs import Collection, Run
from dual_data.evaluation.report.document import Block, Heading, Table

_OF_STAGE = "stage.recipe."


def settings(collection: Collection) -> list[Block]:
    """A table of the methods, and one of how presets train and of what stages before unlearning train."""
    runs = [run for run in collection.runs if run.sets]
    return [*_methods(runs), *_training(runs)]


def prompts_and_rows(collection: Collection) -> list[tuple[str, str]]:
    """What was asked and how: prompts by profile, hashes of the rows of each set, and the seeds, each with its name."""
    lines = set()
    for run in collection.runs:
        # Answers that a method prefers to the true ones differ between methods, and are made of the rows to forget.
        rows = {name: text for name, text in _under("data.", run).items() if name not in ("name", "preferred")}
        prompts = {name: text for name, text in _under("profile.", run).items() if name != "name"}
        swapped = ", answers swapped" if run.settings.get(f"{_OF_STAGE}counterfactual") else ""
        lines |= {
            (f"profile {run.cell['profile']}", _line(prompts)),
            (f"rows of {run.cell['data']}, {run.cell['set']}{swapped}", _line(rows)),
        }
    seeds = sorted({run.seed for run in collection.runs if run.lr})
    return [*sorted(line for line in lines if line[1]), *([("seeds", ", ".join(map(str, seeds)))] if seeds else [])]


def _methods(runs: Sequence[Run]) -> list[Block]:
    rows = sorted(
        {
            (
                run.cell["preset"],
                run.cell["method"],
                _line(_under("options.", run)) or "none",
                str(run.settings.get("code", "")),
            )
            for run in runs
            if run.lr
        }
    )
    caption = "An option that the grid file does not set has the method's default. Code: hash of the method's code."
    header = ("preset", "method", "options", "code")
    return [Heading("Methods", 3), Table(header, tuple(rows), caption, ("options", "code"))]


def _training(runs: Sequence[Run]) -> list[Block]:
    """One column for each preset and each stage, and for each version of it where results of several are shown."""
    versions: dict[str, list[dict[str, str]]] = {}
    for title, values in _trained(runs):
        of_title = versions.setdefault(title, [])
        if values not in of_title:
            of_title.append(values)
    columns = {
        title if number == 1 else f"{title} ({number})": values
        for title, of_title in sorted(versions.items())
        for number, values in enumerate(of_title, 1)
    }
    names = dict.fromkeys(name for values in columns.values() for name in values)
    rows = tuple((name, *(values.get(name, "-") for values in columns.values())) for name in names)
    caption = "Named as in the grid file, which explains them. Batch: rows of a step."
    return [Heading("Training", 3), Table(("setting", *columns), rows, caption, tuple(columns))]


def _trained(runs: Iterable[Run]) -> Iterable[tuple[str, dict[str, str]]]:
    """What trained each model, by title: its preset, and the stage before it."""
    for run in runs:
        if run.lr:
            whole = {"full": "true"} if "lora" in run.settings else {}
            adapter = {f"lora.{name}": value for name, value in _under("lora.", run).items()}
            yield f"preset {run.cell['preset']}", _under("optimisation.", run) | (adapter or whole)
        if recipe := _under(_OF_STAGE, run):
            yield f"stage {run.cell['stage']}", recipe


def _under(start: str, run: Run) -> dict[str, str]:
    """The settings of a result whose names begin so, without this beginning."""
    return {name.removeprefix(start): _text(value) for name, value in run.settings.items() if name.startswith(start)}


def _line(values: Mapping[str, str]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in values.items())


def _text(value: Any) -> str:
    """A value as one reads it in a grid file."""
    match value:
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case list():
            return ", ".join(map(_text, value))
        case str() if " " in value:
            return f'"{value}"'
    return "-" if value is None else str(value)
