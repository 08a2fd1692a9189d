"""python -m benchmarks.evaluation.plot RESULTS... --out FILE: how time grows with cells, facts and model size."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PANELS = (("cells", "cells at once"), ("facts", "facts to forget"), ("parameters", "parameters"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the part `growth` of one or several results.json, one line a file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluation.plot", description=__doc__)
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args(arguments)
    draw([json.loads(path.read_text()) for path in chosen.results], chosen.out)
    return 0


def draw(results: Sequence[Mapping[str, Any]], target: Path) -> None:
    """One panel a quantity, training and measuring apart; processor time where there is no GPU."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    for place, (name, label) in enumerate(PANELS):
        axes = figure.add_subplot(1, len(PANELS), place + 1)
        for one in results:
            unit = "seconds" if "cuda" in one["setting"]["command"] else "cpu_seconds"
            points = sorted((float(x), value[unit]) for x, value in one["growth"][name].items())
            for part, style in (("train", "-"), ("measure", "--")):
                drawn = [(x, parts[part]) for x, parts in points]
                title = f"{one['setting']['model']}, {part}"
                axes.plot([x for x, _ in drawn], [y for _, y in drawn], style, marker="o", label=title)
        axes.set(xlabel=label, ylabel="seconds", xscale="log", yscale="log")
        axes.legend(fontsize=7)
    figure.savefig(target)


if __name__ == "__main__":
    raise SystemExit(main())
