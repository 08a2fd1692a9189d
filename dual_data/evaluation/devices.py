"""The devices that a user names, checked before anything is loaded."""

from __future__ import annotations

import re

import torch

from dual_data.errors import UsageError

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


def _check_gpu(name: str, number: int) -> None:
    if not torch.cuda.is_available():
        why = "is built without CUDA" if torch.version.cuda is None else "finds no GPU that it can use"
        raise UsageError(
            f"--device: {name}: the installed torch {torch.__version__} {why}: use --device cpu, or install a torch "
            "for CUDA on a machine with a GPU"
        )
    if number >= (count := torch.cuda.device_count()):
        raise UsageError(f"--device: {name}: there are {count} GPUs, numbered from 0 to {count - 1}")
