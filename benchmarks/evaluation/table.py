"""Results as Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.readme import table

GRID_METHODS = ("GradAscent", "GradDiff", "NPO")
GRID_STAGES = ("pretrained", "sft")


def markdown(results: Mapping[str, Any]) -> str:
    """Tables of the parts in `results`, but profiles and growth."""
    setting = results["setting"]
    lines = [
        f"## {setting['model']} on {setting['device']}, {setting['dtype']}",
        "",
        f"{setting['rows']['forget']} rows to forget, {setting['rows']['retain']} to retain "
        f"({setting['rows']['source']}), {setting['epochs']} epochs, batches of {setting['batch']}, "
        f"{setting['new_tokens']} new tokens. `{setting['command']}`",
        "",
    ]
    makers = {"ceilings": _ceilings, "counts": _counts, "cells": _cells, "parity": _parity}
    for name, make in makers.items():
        part = results.get(name)
        if part and "error" in part:
            lines += [f"{name}: {part['error']}", ""]
        elif part:
            lines += [make(part), ""]
    if grid := results.get("grid"):
        lines += [_grid(grid, results.get("cells", {})), ""]
    return "\n".join(lines)


def _ceilings(ceilings: Mapping[str, Any]) -> str:
    first = f"Ceilings: {ceilings['flops'] / 1e12:.4g} TFLOP/s, {ceilings['bytes'] / 1e9:.4g} GB/s"
    link = f", {ceilings['link'] / 1e9:.4g} GB/s from the host" if ceilings.get("link") else ""
    launch = f"{ceilings['launch_seconds'] * 1e6:.3g} us a small operation"
    return f"{first}{link}, {launch}.\n\n{_floors(ceilings['floor'])}"


def _floors(floors: Mapping[str, Any]) -> str:
    rows = [
        [
            method,
            part["name"],
            _figure(part["flops"] / 1e12, 4),
            _figure(part["bytes"] / 1e9, 4),
            _figure(part["seconds"]),
        ]
        for method, floor in floors.items()
        for part in [*floor["parts"], {"name": "**sum**", **floor}]
    ]
    return table(["floor of a cell", "part", "TFLOP", "GB", "s"], rows)


def _counts(counts: Mapping[str, Any]) -> str:
    rows = []
    for name, count in counts.items():
        if name in ("floor", "modelled"):
            continue
        weights = count.get("weights_bytes")
        rows.append(
            [
                name,
                _figure(count["flops"] / 1e12, 4),
                _figure(count["bytes"] / 1e9, 4),
                str(count["kernels"]),
                _figure(count["seconds"] * 1e3),
                _figure(count["eager_seconds"] * 1e3),
                f"{count['peak_bytes'] / 2**30:.2f}",
                f"{count['peak_bytes'] / weights:.2f}" if weights else "",
            ]
        )
    head = [
        "counted",
        "TFLOP",
        "GB moved",
        "kernels",
        "ms at the ceilings",
        "ms eager, at least",
        "peak GiB",
        "x weights",
    ]
    cells = [
        [method, _figure(count["seconds"]), _figure(count["over_floor"])]
        for method, count in counts["modelled"].items()
    ]
    modelled = table(["a cell at the ceilings (modelled, not measured)", "s", "x floor"], cells)
    return "\n\n".join([_floors(counts["floor"]), table(head, rows), modelled])


def _cells(cells: Mapping[str, Any]) -> str:
    head = ["one cell", "by", "s", "times faster", "processor s", "times less", "peak GiB", "parts"]
    rows = []
    for method, variants in cells.items():
        base = variants.get("plain", {})
        for name, run in variants.items():
            if "error" in run:
                rows.append([method, name, *[""] * (len(head) - 3), run["error"]])
                continue
            parts = ", ".join(f"{part} {_figure(seconds)}" for part, seconds in run["seconds"].items())
            rows.append(
                [
                    method,
                    name,
                    _figure(run["total"]),
                    _times(base, run, "total"),
                    _figure(run["cpu_total"]),
                    _times(base, run, "cpu_total"),
                    _peak(run),
                    "; ".join([parts, *_remarks(run)]),
                ]
            )
    return table(head, rows)


def _peak(run: Mapping[str, Any]) -> str:
    """The largest peak of the parts: of tensors, and as reserved by them and graphs; empty on a processor."""
    peaks = [max(run[kind].values()) / 2**30 for kind in ("peak_bytes", "reserved_bytes") if run.get(kind)]
    return ", reserved ".join(_figure(peak) for peak in peaks)


def _remarks(run: Mapping[str, Any]) -> list[str]:
    scaled = ["scaled up: " + ", ".join(run["scaled"])] if run.get("scaled") else []
    return scaled + list(run.get("how", {}).get("notes", ()))


def _times(base: Mapping[str, Any], run: Mapping[str, Any], unit: str) -> str:
    return _figure(base[unit] / run[unit]) if unit in base else ""


def _grid(pieces: Mapping[str, Any], cells: Mapping[str, Any]) -> str:
    """The pieces, and if all are there, their sum and the plain loop's time, extrapolated from its cells by method."""
    rows = [[f"ours, {stage}", *_spent(piece)] for stage, piece in pieces.items()]
    done = [piece for piece in pieces.values() if "error" not in piece]
    count = sum(piece["cells"] for piece in done)
    if len(done) == len(GRID_STAGES) == len(pieces):
        total, busy = (sum(piece["clock"][unit] for piece in done) for unit in ("total", "cpu_total"))
        rows.append(["ours, whole", _figure(total, 4), _figure(busy, 4), "", ""])
        runs = {method: variants.get("plain", {}) for method, variants in cells.items()}
        plain = {method: run for method, run in runs.items() if "total" in run}
        if plain:
            wall, cpu = (_extrapolated(plain, unit) * count for unit in ("total", "cpu_total"))
            faster = f"{_figure(wall / total)} ({_figure(cpu / busy)} in processor time)"
            notes = ["its cells scaled up"] if any(run.get("scaled") for run in plain.values()) else []
            if lacking := [method for method in GRID_METHODS if method not in plain]:
                notes.append(f"{' and '.join(lacking)} not measured: counted as the quickest of the others")
            figures = _figure(wall, 4), _figure(cpu, 4)
            rows.append(["plain, extrapolated from its cells", *figures, faster, "; ".join(notes)])
    return table([f"grid of {count} cells", "s", "processor s", "times slower", "notes"], rows)


def _spent(piece: Mapping[str, Any]) -> list[str]:
    if "error" in piece:
        return ["", "", "", piece["error"]]
    notes = [
        f"{piece['how']['cells_at_once']} cells and {piece['how']['rows_at_once']} rows at once",
        f"{piece['written_bytes'] / 1e6:.3g} MB written",
        *piece["how"]["notes"],
    ]
    return [_figure(piece["clock"]["total"], 4), _figure(piece["clock"]["cpu_total"], 4), "", ", ".join(notes)]


def _extrapolated(plain: Mapping[str, Any], unit: str) -> float:
    """Mean time of a cell of a grid; a method that was not measured counts as much as the cheapest."""
    cheapest = min(run[unit] for run in plain.values())
    costs = [plain[method][unit] if method in plain else cheapest for method in GRID_METHODS]
    return float(sum(costs) / len(costs))


def _parity(cells: Mapping[str, Any]) -> str:
    head = ["parity, float32", "loss, step 0", "loss, step 10", "loss, worst", "log p, worst", "same greedy text"]
    rows = [
        [method, *[""] * 4, cell["error"]]
        if "error" in cell
        else [
            method,
            *(f"{cell[name]:.1e}" for name in ("loss_first", "loss_tenth", "loss_worst", "log_p_worst")),
            f"{cell['same_generations']} of {cell['generations']}",
        ]
        for method, cell in cells.items()
    ]
    return table(head, rows)


def _figure(value: float, digits: int = 3) -> str:
    """So many significant digits, and all digits of a larger number, which would otherwise be a power of ten."""
    text = f"{value:.{digits}g}"
    return f"{value:.0f}" if "e+" in text else text
