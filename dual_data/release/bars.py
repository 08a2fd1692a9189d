"""Progress bars of the Hub's libraries: a bar a file or a split would drown everything else."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def without_bars(library: Any) -> Iterator[None]:
    """Turn off the progress bars of `datasets` or `huggingface_hub.utils` for the length of a block."""
    if library.are_progress_bars_disabled():
        yield
        return
    library.disable_progress_bars()
    try:
        yield
    finally:
        library.enable_progress_bars()
