"""`dual-data eval score`, `report`, `compare`, `attack`: what is done with results; only `attack` needs the model."""

from __future__ import annotations

import importlib.util
import json as json_format
import sys
from pathlib import Path
from typing import Annotated

import typer

from dual_data.cli.options import HERE, ProjectFolder
from dual_data.cli.text import table
from dual_data.errors import MissingExtra

_ALWAYS = ("stage", "set", "method", "lr", "forget", "retain_eval")
_SHOWN = ("data", "model", *_ALWAYS)
"""Columns of the main table that a terminal has room for; those that tell no rows apart are left out."""


def score(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Results, folders of them, or logs of open-unlearning.")
    ],
    json: Annotated[
        bool, typer.Option("--json", help='Print one JSON object {"items": ..., "max_abs_difference": ..., ...}.')
    ] = False,
) -> None:
    """Recompute every score from saved generations and compare with the scores that are held.

    Reads results of `dual-data eval run` and open-unlearning's evaluation logs, plain or gzipped. Prints the number of
    items and the largest absolute difference, 0 where every score and mean is reproduced to the last bit.

    Example: dual-data eval score artifacts/evaluation/demo
    """
    from dual_data.evaluation.foreign import log_files, read_log, rescore
    from dual_data.evaluation.results import finite

    found = {str(path): rescore(read_log(path)) for given in paths for path in log_files(given)}
    items = sum(one.items for one in found.values())
    largest = max(one.max_abs_difference for one in found.values())
    if json:
        files = {
            path: {
                "items": one.items,
                "max_abs_difference": one.max_abs_difference,
                "differences": dict(one.differences),
                "means": {section: dict(means) for section, means in one.means.items()},
            }
            for path, one in found.items()
        }
        whole = {"items": items, "max_abs_difference": largest, "files": files}
        print(json_format.dumps(finite(whole), ensure_ascii=False, allow_nan=False))
        return
    rows = [
        (Path(path).name, section, f"{means['rougeL_recall']:.4f}", f"{means['contains_answer']:.4f}",
         f"{one.max_abs_difference:g}")
        for path, one in found.items()
        for section, means in one.means.items()
    ]  # fmt: skip
    print(table(("file", "set", "ROUGE-L recall", "answers held", "largest difference"), rows))
    print(f"{items} items, largest absolute difference {largest:g}")


def report(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDER...", help="Folders of results, such as artifacts/evaluation/demo.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the report.", show_default="the first folder")
    ] = None,
    title: Annotated[str, typer.Option("--title", help="Title of the page.")] = "Unlearning evaluation",
) -> None:
    """Write the report of one or more grids: report.html (one self-contained page), report.md and report.csv.

    It chooses a learning rate for every method on forget and retain_train, draws the frontier of forgetting against
    retention with trivial baselines, and answers in words: are popular facts harder to forget, and does a training
    stage first help. Every number has its interval and a link to the items behind it. The frontier is printed as well.

    Example: dual-data eval report artifacts/evaluation/demo
    """
    from dual_data.evaluation.report.write import write_report

    written = write_report(folders, out or folders[0], title=title, say=lambda text: print(text, file=sys.stderr))
    if written.rows:
        kept = [name for name in _SHOWN if len({row[name] for row in written.rows}) > 1 or name in _ALWAYS]
        print(table(kept, [[row[name] for name in kept] for row in written.rows]))
        print("ROUGE-L recall with its 95 % interval at the learning rate that was chosen on forget and retain_train\n")
    for path in (written.html, written.markdown, written.table):
        print(path)


def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="A result: a file below cells/.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another result that measured the same items.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare two results item by item: A minus B with 95 % intervals, paired, subjects drawn with replacement.

    p-values carry Holm's correction over all rows. Sets that only one of the two has are left out.

    Example: dual-data eval compare artifacts/evaluation/demo/cells/0a1b.json artifacts/evaluation/demo/cells/2c3d.json
    """
    from dual_data.evaluation.compare import compare_results

    rows = compare_results(first, second)
    if json:
        found = [{**row._asdict(), "difference": row.difference._asdict()} for row in rows]
        print(json_format.dumps({"rows": found}, ensure_ascii=False, allow_nan=False))
        return
    cells = [
        (row.set, row.score, str(row.items), f"{row.first:.4f}", f"{row.second:.4f}", f"{row.difference.value:+.4f}",
         f"[{row.difference.low:+.4f}, {row.difference.high:+.4f}]", f"{row.corrected:.4f}")
        for row in rows
    ]  # fmt: skip
    print(table(("set", "score", "items", "A", "B", "A - B", "95 % interval", "p (Holm)"), cells))


def attack(
    *,
    grid: Annotated[str, typer.Option("--grid", "-g", help="Grid of the file.")] = "demo",
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Grid file.", show_default="pipeline/evaluation.toml")
    ] = None,
    project: ProjectFolder = HERE,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder of the results.", show_default="artifacts/evaluation/GRID"),
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="cpu, cuda, cuda:1.", show_default="a GPU if there is one")
    ] = None,
    lr: Annotated[float, typer.Option("--lr", help="Learning rate of relearning.")] = 1e-4,
    task: Annotated[
        list[str] | None, typer.Option("--task", help="Task of lm-eval, such as mmlu or hellaswag; may be repeated.")
    ] = None,
    panel: Annotated[
        Path | None, typer.Option("--panel", help="Utility panel, JSON lines.", show_default="the shipped one")
    ] = None,
    task_folder: Annotated[
        Path | None, typer.Option("--task-folder", help="Folder with definitions of further tasks of lm-eval.")
    ] = None,
) -> None:
    """Attack the cells that the report shows: relearning curves, int8 and int4 rounding, the utility panel.

    For every method, the learning rate chosen on forget and retain_train and its first seed; what is done is not done
    again. The grid must have been run with --save-adapters. `dual-data eval report` then shows what was found.

    Example: dual-data eval attack --grid demo
    """
    for package in ("torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, "eval")
    import torch

    from dual_data.evaluation.cells import cells_of, spell_out
    from dual_data.evaluation.examine import AttackOptions, targets
    from dual_data.evaluation.examine import attack as run_attacks
    from dual_data.evaluation.models import identify
    from dual_data.evaluation.settings import grid_named, load_settings
    from dual_data.evaluation.utility import PANEL
    from dual_data.project import find_root

    root = find_root(project)
    path = file or root / "pipeline" / "evaluation.toml"
    settings = load_settings(path)
    grid_named(settings, grid, path)
    spelled = spell_out(settings, grid, root, out or root / "artifacts" / "evaluation" / grid)
    cells = cells_of(
        spelled, lambda one: identify(one.spec, trust_remote_code=one.trust_remote_code, revision=one.revision)
    )
    options = AttackOptions(
        device=device or ("cuda" if torch.cuda.is_available() else "cpu"),
        lr=lr,
        tasks=tuple(task or ()),
        panel=panel or PANEL,
        task_folder=task_folder,
    )
    found = targets(spelled, cells)
    written = run_attacks(spelled, found, options, say=lambda line: print(line, file=sys.stderr, flush=True))
    print(f"{spelled.folder}: attacks on {len(written)} cell{'' if len(written) == 1 else 's'}")
