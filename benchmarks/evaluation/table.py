"""Results as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


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
    makers = {"ceilings": _ceilings, "counts": _counts, "cells": _cells, "grid": _grid, "parity": _parity}
    for name, make in makers.items():
        if results.get(name):
            lines += [*make(results[name]), ""]
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
        base = variants["plain"]
        for name, one in variants.items():
            parts = ", ".join(f"{part} {seconds:.3g}" for part, seconds in one["seconds"].items())
            rows.append(
                [
                    method,
                    name,
                    f"{one['total']:.3g}",
                    f"{base['total'] / one['total']:.3g}",
                    f"{one['cpu_total']:.3g}",
                    f"{base['cpu_total'] / one['cpu_total']:.3g}",
                    f"{max(one['peak_bytes'].values(), default=0) / 2**30:.3g}",
                    parts + (" (scaled up: " + ", ".join(one["scaled"]) + ")" if one.get("scaled") else ""),
                ]
            )
    return _table(["one cell", "by", "s", "times faster", "processor s", "times less", "peak GiB", "parts"], rows)


def _grid(found: Mapping[str, Any]) -> list[str]:
    rows = [["ours, whole", f"{found['ours']['total']:.4g}", f"{found['ours']['cpu_total']:.4g}", ""]]
    if "plain_extrapolated_total" in found:
        wall, busy = found["plain_extrapolated_total"], found["plain_extrapolated_cpu_total"]
        faster = f"{wall / found['ours']['total']:.3g} ({busy / found['ours']['cpu_total']:.3g} in processor time)"
        rows.append(["plain, extrapolated from its cells", f"{wall:.4g}", f"{busy:.4g}", faster])
    return _table([f"grid of {found['cells']} cells", "s", "processor s", "times slower"], rows)


def _parity(found: Mapping[str, Any]) -> list[str]:
    head = ["parity, float32", "loss, step 0", "loss, step 10", "loss, worst", "log p, worst", "same greedy text"]
    rows = [
        [
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
