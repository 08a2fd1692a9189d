"""Results as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

GRID_METHODS = ("GradAscent", "GradDiff", "NPO")
GRID_STAGES = ("pretrained", "sft")


def markdown(results: Mapping[str, Any]) -> str:
    """Every part that `results` has, one table each."""
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
        found = results.get(name)
        if found and "error" in found:
            lines += [f"{name}: {found['error']}", ""]
        elif found:
            lines += [*make(found), ""]
    if grid := results.get("grid"):
        lines += [*_grid(grid, results.get("cells", {})), ""]
    return "\n".join(lines)


def _ceilings(found: Mapping[str, Any]) -> list[str]:
    first = f"Ceilings: {found['flops'] / 1e12:.4g} TFLOP/s, {found['bytes'] / 1e9:.4g} GB/s"
    return [f"{first}, {found['launch_seconds'] * 1e6:.3g} us a small operation.", "", *_floors(found["floor"])]


def _floors(found: Mapping[str, Any]) -> list[str]:
    rows = [
        [method, part["name"], f"{part['flops'] / 1e12:.4g}", f"{part['bytes'] / 1e9:.4g}", f"{part['seconds']:.3g}"]
        for method, one in found.items()
        for part in [*one["parts"], {"name": "**sum**", **one}]
    ]
    return _table(["floor of a cell", "part", "TFLOP", "GB", "s"], rows)


def _counts(found: Mapping[str, Any]) -> list[str]:
    rows = []
    for name, one in found.items():
        if name in ("floor", "modelled"):
            continue
        weights = one.get("weights_bytes")
        rows.append(
            [
                name,
                f"{one['flops'] / 1e12:.4g}",
                f"{one['bytes'] / 1e9:.4g}",
                str(one["kernels"]),
                f"{one['seconds'] * 1e3:.3g}",
                f"{one['eager_seconds'] * 1e3:.3g}",
                f"{one['peak_bytes'] / 2**30:.2f}",
                f"{one['peak_bytes'] / weights:.2f}" if weights else "",
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
    cells = [[method, f"{one['seconds']:.3g}", f"{one['over_floor']:.3g}"] for method, one in found["modelled"].items()]
    modelled = _table(["a cell at the ceilings (modelled, not measured)", "s", "x floor"], cells)
    return [*_floors(found["floor"]), "", *_table(head, rows), "", *modelled]


def _cells(found: Mapping[str, Any]) -> list[str]:
    rows = []
    for method, variants in found.items():
        base = variants.get("plain", {})
        for name, one in variants.items():
            if "error" in one:
                rows.append([method, name, *[""] * 5, one["error"]])
                continue
            parts = ", ".join(f"{part} {seconds:.3g}" for part, seconds in one["seconds"].items())
            rows.append(
                [
                    method,
                    name,
                    f"{one['total']:.3g}",
                    _times(base, one, "total"),
                    f"{one['cpu_total']:.3g}",
                    _times(base, one, "cpu_total"),
                    f"{max(peaks) / 2**30:.3g}" if (peaks := one["peak_bytes"].values()) else "",
                    "; ".join([parts, *_remarks(one)]),
                ]
            )
    return _table(["one cell", "by", "s", "times faster", "processor s", "times less", "peak GiB", "parts"], rows)


def _remarks(one: Mapping[str, Any]) -> list[str]:
    scaled = ["scaled up: " + ", ".join(one["scaled"])] if one.get("scaled") else []
    return scaled + list(one.get("how", {}).get("notes", ()))


def _times(base: Mapping[str, Any], one: Mapping[str, Any], unit: str) -> str:
    return f"{base[unit] / one[unit]:.3g}" if unit in base else ""


def _grid(found: Mapping[str, Any], cells: Mapping[str, Any]) -> list[str]:
    """The whole of it where all of its pieces are there; the plain loop's is its cells' time, method by method."""
    rows = [[f"ours, {stage}", *_spent(one)] for stage, one in found.items()]
    done = [one for one in found.values() if "error" not in one]
    count = sum(one["cells"] for one in done)
    if len(done) == len(GRID_STAGES) == len(found):
        total, busy = (sum(one["clock"][unit] for one in done) for unit in ("total", "cpu_total"))
        rows.append(["ours, whole", f"{total:.4g}", f"{busy:.4g}", "", ""])
        plain = {method: one for method, of in cells.items() if "total" in (one := of.get("plain", {}))}
        if plain:
            wall, other = (_extrapolated(plain, unit) * count for unit in ("total", "cpu_total"))
            faster = f"{wall / total:.3g} ({other / busy:.3g} in processor time)"
            rows.append(["plain, extrapolated from its cells", f"{wall:.4g}", f"{other:.4g}", faster, ""])
    return _table([f"grid of {count} cells", "s", "processor s", "times slower", "notes"], rows)


def _spent(one: Mapping[str, Any]) -> list[str]:
    if "error" in one:
        return ["", "", "", one["error"]]
    notes = [
        f"{one['how']['cells_at_once']} cells and {one['how']['rows_at_once']} rows at once",
        f"{one['written_bytes'] / 1e6:.3g} MB written",
        *([f"{one['failed']} failed"] if one["failed"] else []),
        *one["how"]["notes"],
    ]
    return [f"{one['clock']['total']:.4g}", f"{one['clock']['cpu_total']:.4g}", "", ", ".join(notes)]


def _extrapolated(plain: Mapping[str, Any], unit: str) -> float:
    """Of a mean cell of a grid: a method that was not measured costs what the cheapest does."""
    cheapest = min(one[unit] for one in plain.values())
    known = [plain[method][unit] if method in plain else cheapest for method in GRID_METHODS]
    return float(sum(known) / len(known))


def _parity(found: Mapping[str, Any]) -> list[str]:
    head = ["parity, float32", "loss, step 0", "loss, step 10", "loss, worst", "log p, worst", "same greedy text"]
    rows = [
        [method, *[""] * 4, one["error"]]
        if "error" in one
        else [
            method,
            *(f"{one[name]:.1e}" for name in ("loss_first", "loss_tenth", "loss_worst", "log_p_worst")),
            f"{one['same_generations']} of {one['generations']}",
        ]
        for method, one in found.items()
    ]
    return _table(head, rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    return lines + [f"| {' | '.join(row)} |" for row in rows]
