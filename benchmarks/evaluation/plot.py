"""python -m benchmarks.evaluation.plot RESULTS... --out FILE: how time grows with cells, facts and model size."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.evaluation.clock import is_gpu

PANELS = (("cells", "cells at once"), ("facts", "facts to forget"), ("parameters", "parameters"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the part `growth` of each results.json; files without it are named and left out."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluation.plot", description=__doc__)
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    results = {path: json.loads(path.read_text()) for path in options.results}
    for path in [path for path, result in results.items() if not result.get("growth")]:
        print(f"{path}: has no growth, which --parts growth measures: left out", file=sys.stderr)
        del results[path]
    if results:
        draw(list(results.values()), options.out)
    return 0 if results else 1


def draw(results: Sequence[Mapping[str, Any]], target: Path) -> None:
    """One panel per quantity, with a line each for training and measuring; processor time where there is no GPU."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, NullLocator

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    for place, (name, label) in enumerate(PANELS):
        axes = figure.add_subplot(1, len(PANELS), place + 1)
        ticks = set[float]()
        for result in results:
            on_gpu = is_gpu(result["setting"].get("torch_device", "cpu"))
            unit = "seconds" if on_gpu else "cpu_seconds"
            measured = result["growth"].get(name, {}).items()
            points = sorted((float(x), value[unit]) for x, value in measured if unit in value)
            ticks.update(x for x, _ in points)
            for part, style in (("train", "-"), ("measure", "--")) if points else ():
                series = [(x, parts[part]) for x, parts in points]
                model = result["setting"]["model"]
                if name == "parameters":
                    # Several results have the same models, measured with other numbers of rows at once.
                    model = "random models" + (f", with {model}" if len(results) > 1 else "")
                axes.plot([x for x, _ in series], [y for _, y in series], style, marker="o", label=f"{model}, {part}")
        axes.set(xlabel=label, ylabel="seconds")
        if axes.lines:
            axes.set(xscale="log", yscale="log")
            axes.set_xticks(sorted(ticks))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_major_formatter(EngFormatter(places=0, sep=""))
            axes.legend(fontsize=7)
    figure.savefig(target)


if __name__ == "__main__":
    raise SystemExit(main())
