"""The devices that a user names, checked before anything is loaded, and how much they process at once."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import torch

from dual_data.errors import UsageError
from dual_data.evaluation.device import repeatable

_FULL = 1_100_000_000
"""Parameters that keep a large GPU busy: a smaller model computes a step faster than its kernels are launched."""
_MOST_CELLS = 8
_MOST_ROWS = 4096

_KNOWN = re.compile(r"cpu|cuda(?::(0|[1-9][0-9]*))?")


def devices_named(text: str | None, *, used: bool = True) -> list[str]:
    """The devices of a comma-separated list; for None a GPU if there is one, else the CPU.

    Raises UsageError for a name that is no device and, if `used`, for a GPU that torch does not see.
    """
    if text is None:
        return ["cuda" if torch.cuda.is_available() else "cpu"]
    names = [name.strip() for name in text.split(",")]
    for name in names:
        match = _KNOWN.fullmatch(name)
        if match is None:
            raise UsageError(
                f"--device: {name!r} is not a device: write cpu, cuda, or one GPU by its number, as in cuda:1"
            )
        if used and name != "cpu":
            _check_gpu(name, int(match[1] or 0))
    return names


def device_named(text: str | None) -> str:
    """The single device that is named, or the default. Raises UsageError as `devices_named` does, and for several."""
    names = devices_named(text)
    if len(names) > 1:
        raise UsageError(f"--device: {text}: this command uses one device; name only one")
    return names[0]


def expect_shareable(devices: Sequence[str]) -> None:
    """Raise UsageError for devices that cannot hold one model: one alone, a CPU beside a GPU, or a GPU twice."""
    kinds = {name.partition(":")[0] for name in devices}
    if len(devices) == 1 or len(kinds) > 1 or ("cuda" in kinds and len(set(devices)) < len(devices)):
        raise UsageError(
            "--shard: name the devices that share the model, as in --device cuda:0,cuda:1: several of one kind, each "
            "GPU once"
        )


def settle(device: torch.device | str) -> None:
    """Prepare a device before a model is put on it; does nothing for a CPU.

    Streams and graphs belong to the current device. cuDNN's attention is disabled: it takes most of a second to plan
    each new shape, and rows of text have many; its gradients are NaN at some lengths (pytorch issue 196678).
    """
    target = torch.device(device)
    if target.type == "cuda":
        if target.index is not None:
            torch.cuda.set_device(target)
        torch.backends.cuda.enable_cudnn_sdp(False)
        repeatable.prepare()


def cells_at_once(device: str, parameters: int) -> int:
    """Default number of cells that are trained as one batch: on a GPU as many as fill it, on a CPU one.

    A batch of cells launches as many kernels as one cell. At an H100's peak rates, a step of SmolLM2 (135 million) has
    2 ms of work in kernels that take twice that to launch from a graph. A step of a model of 8 billion has 29 ms of
    work, which several cells would only multiply, as they would its memory.
    """
    return max(1, min(_MOST_CELLS, _FULL // parameters)) if device.startswith("cuda") else 1


def rows_at_once(device: str, parameters: int) -> int:
    """Default number of rows, of all cells together, that are measured as one batch.

    A decoding step reads all weights once, and that of a small model takes longer to launch than to compute. So many
    rows cost mainly memory: 15 GiB, calculated, for 4,000 rows of SmolLM2.
    """
    if not device.startswith("cuda"):
        return 64
    return min(_MOST_ROWS, 1024 * max(1, _FULL // parameters))


def rows_per_bin(device: str, parameters: int) -> int:
    """Most rows that training packs into one sequence, whose common beginning is computed once.

    On a GPU one block of threads computes the attention gradients of a head and a sequence, if they are to be the same
    each time: its time grows with the square of the sequence's length while the rest of the device is idle. Shorter
    sequences repeat the common beginning. With 16 of the published rows in each, there are 5 to 8 % more tokens than
    with 32; with 8 there are 18 to 29 % more, which a small model has time for.
    """
    if not device.startswith("cuda"):
        return 32
    return 16 if parameters >= _FULL else 8


def even_size(count: int, most: int) -> int:
    """Size of the batches where `count` are divided into the fewest of at most `most`; the last one may be smaller.

    Batches of similar size can share graphs and need little filling.
    """
    return math.ceil(count / math.ceil(count / most))


def _check_gpu(name: str, number: int) -> None:
    if not torch.cuda.is_available():
        why = "is built without CUDA" if torch.version.cuda is None else "finds no GPU that it can use"
        raise UsageError(
            f"--device: {name}: the installed torch {torch.__version__} {why}: use --device cpu, or install a torch "
            "for CUDA on a machine with a GPU"
        )
    if number >= (count := torch.cuda.device_count()):
        raise UsageError(f"--device: {name}: there are {count} GPUs, numbered from 0 to {count - 1}")
