"""The devices that a user names, checked before anything is loaded, and how much they take at once."""

from __future__ import annotations

import re

import torch

from dual_data.errors import UsageError
from dual_data.evaluation.device import repeatable

_FULL = 1_100_000_000
"""Parameters that keep a large GPU busy: a step of a smaller model is over before its kernels are launched."""
_MOST_CELLS = 8
_MOST_ROWS = 4096

_KNOWN = re.compile(r"cpu|cuda(?::(\d+))?")


def devices_named(text: str | None, *, used: bool = True) -> list[str]:
    """The devices of a list with commas; without one a GPU if there is one, else the CPU.

    Raises UsageError for a name that is none and, where they are to be `used`, for a GPU that torch does not see.
    """
    if text is None:
        return ["cuda" if torch.cuda.is_available() else "cpu"]
    names = [name.strip() for name in text.split(",")]
    for name in names:
        found = _KNOWN.fullmatch(name)
        if found is None:
            raise UsageError(
                f"--device: {name!r} is no device: write cpu, cuda, or one GPU by its number, as in cuda:1"
            )
        if used and name != "cpu":
            _check_gpu(name, int(found[1] or 0))
    return names


def device_named(text: str | None) -> str:
    """The one device that is named, or the default; UsageError as of `devices_named`, and for several."""
    names = devices_named(text)
    if len(names) > 1:
        raise UsageError(f"--device: {text}: one device is used here, name one")
    return names[0]


def settle(device: torch.device | str) -> None:
    """Make a device ready before a model is put on it; nothing to do for a processor.

    Streams and graphs belong to the current device. cuDNN's attention plans every shape anew, for most of a second, and
    rows of text have many shapes; its gradients are no numbers at some lengths (pytorch issue 196678).
    """
    chosen = torch.device(device)
    if chosen.type == "cuda":
        if chosen.index is not None:
            torch.cuda.set_device(chosen)
        torch.backends.cuda.enable_cudnn_sdp(False)
        repeatable.prepare()


def cells_at_once(device: str, parameters: int) -> int:
    """How many cells are trained as one batch where nobody says: on a GPU as many as fill it, on a processor one.

    A batch of cells has as many kernels as one cell. Counted at an H100's ceilings, a step of SmolLM2 (135 million) has
    2 ms of work in kernels that take twice that to launch from a graph, and one of a model of 8 billion 27 ms, which
    cells at once would only multiply, and the memory with them.
    """
    return max(1, min(_MOST_CELLS, _FULL // parameters)) if device.startswith("cuda") else 1


def rows_at_once(device: str, parameters: int) -> int:
    """How many rows, of all cells together, are asked as one batch where nobody says.

    A step that makes a token reads all weights once, and of a small model launches more than it computes: what many
    rows cost there is memory, 15 GiB for 4,000 rows of SmolLM2 by count.
    """
    if not device.startswith("cuda"):
        return 64
    return min(_MOST_ROWS, 1024 * max(1, _FULL // parameters))


def _check_gpu(name: str, number: int) -> None:
    if not torch.cuda.is_available():
        why = "is built without CUDA" if torch.version.cuda is None else "finds no GPU that it can use"
        raise UsageError(
            f"--device: {name}: the installed torch {torch.__version__} {why}: use --device cpu, or install a torch "
            "for CUDA on a machine with a GPU"
        )
    if number >= (count := torch.cuda.device_count()):
        raise UsageError(f"--device: {name}: there are {count} GPUs, numbered from 0 to {count - 1}")
