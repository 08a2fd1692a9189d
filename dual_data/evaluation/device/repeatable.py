"""Training on a GPU that gives the same numbers, to the bit, each time it is repeated.

Blocks of a kernel end in another order each time, and where several add to one number its last digits differ. Torch's
deterministic algorithms add in one order: a head's gradients of attention are left to one block, and those of a hidden
state that several labels were predicted from are sorted first. Nothing but a forward and a backward pass needs them:
the optimiser and the logs add nothing twice to one place, and generation would only be slower.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
_FIXED = (":4096:8", ":16:8")
_REFUSED = ("does not have a deterministic implementation", "Deterministic behavior was enabled")


def prepare() -> None:
    """Call it before the first product on a GPU: older versions of torch look at this variable then, and once."""
    if os.environ.get(_WORKSPACE) not in _FIXED:
        os.environ[_WORKSPACE] = _FIXED[0]


@contextmanager
def repeatable(device: torch.device, *, wanted: bool = True) -> Iterator[None]:
    """On a GPU, passes inside add in one order; an operation that has none is an error, which `is_refused` knows."""
    if device.type != "cuda" or not wanted:
        yield
        return
    prepare()
    memory: Any = torch.utils.deterministic
    filled = memory.fill_uninitialized_memory
    on, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        memory.fill_uninitialized_memory = False  # it is always written before it is read, and filling takes time
        # Not to warn only: attention would then keep its own order, and an H100's first choice for it is cuDNN, whose
        # gradients under a mask are also NaN at some lengths (pytorch issue 196678).
        torch.use_deterministic_algorithms(True)
        yield
    finally:
        torch.use_deterministic_algorithms(on, warn_only=warns)
        memory.fill_uninitialized_memory = filled


def is_refused(error: BaseException) -> bool:
    """Whether an error says that an operation has no order of its own."""
    return any(text in str(error) for text in _REFUSED)
