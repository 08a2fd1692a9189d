"""A disk that fills up: a limit on the size of every file that a command writes."""

from __future__ import annotations

import sys

_LIMITED = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, 2 * (int(sys.argv[1]),)); "
_LIMITED += "os.execv(sys.argv[2], sys.argv[2:])"


def no_file_beyond(size: int) -> tuple[str, ...]:
    """A prefix of a command, whose program is given by its path. No file grows beyond `size` bytes.

    Run Python with -B after it: bytecode of packages that is cut off at that size would be read by later processes.
    """
    return (sys.executable, "-Bc", _LIMITED, str(size))
