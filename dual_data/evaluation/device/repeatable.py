"""Training on a GPU that gives bitwise the same numbers each time it is repeated.

The blocks of a kernel finish in a different order each time; where several add to one number, its last digits differ.
Torch's deterministic algorithms add in a fixed order: one block computes the attention gradients of a head, and the
gradients of a hidden state from which several labels are predicted are sorted first. Only forward and backward passes
need them: the optimiser and the logs do not add several values to one place, and generation would only be slower.
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
    """To be called before the first matrix product on a GPU: older versions of torch read the variable only then."""
    if os.environ.get(_WORKSPACE) not in _FIXED:
        os.environ[_WORKSPACE] = _FIXED[0]


@contextmanager
def repeatable(device: torch.device, *, wanted: bool = True) -> Iterator[None]:
    """On a GPU, passes inside are deterministic; an operation that cannot be raises an error (see `is_refused`)."""
    if device.type != "cuda" or not wanted:
        yield
        return
    prepare()
    memory: Any = torch.utils.deterministic
    filled = memory.fill_uninitialized_memory
    on, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        memory.fill_uninitialized_memory = False  # it is always written before it is read, and filling takes time
        # Not warn_only: attention would then stay nondeterministic, and an H100's first choice for it is cuDNN, whose
        # gradients with a mask are also NaN at some lengths (pytorch issue 196678).
        torch.use_deterministic_algorithms(True)
        yield
    finally:
        torch.use_deterministic_algorithms(on, warn_only=warns)
        memory.fill_uninitialized_memory = filled


def is_refused(error: BaseException) -> bool:
    """Whether an error says that an operation has no deterministic implementation."""
    return any(text in str(error) for text in _REFUSED)
