"""A disk that fills up: a limit on the size of every file that a command writes."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_LIMITED = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, 2 * (int(sys.argv[1]),)); "
_LIMITED += "os.execv(sys.argv[2], sys.argv[2:])"


def no_file_beyond(size: int) -> tuple[str, ...]:
    """A prefix of a command, whose program is given by its path. No file grows beyond `size` bytes.

    Run Python with -B after it: bytecode of packages that is cut off at that size would be read by later processes.
    """
    return (sys.executable, "-Bc", _LIMITED, str(size))


@contextmanager
def no_room(size: int = 2000) -> Iterator[None]:
    """Inside, no file that this process writes grows beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
