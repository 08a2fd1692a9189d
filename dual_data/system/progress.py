"""Progress of long tasks: bars on a terminal, an occasional line in a log."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

LINE_EVERY = 15.0
"""Seconds between lines where there is no terminal."""


def duration(seconds: float) -> str:
    """A time as it is said in an estimate."""
    if seconds < 60:
        return "less than a minute"
    return f"about {seconds / 60:.0f} min" if seconds < 7200 else f"about {seconds / 3600:.1f} h"


class Progress:
    """Reports nothing; for short tasks and tests. Base class of the reporters."""

    @contextmanager
    def task(self, label: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """A task of `total` steps; yields a function to call with the number of steps just done."""
        yield lambda _: None


class TerminalProgress(Progress):
    """A bar on standard error where a terminal can draw it, else a line every quarter of a minute."""

    @contextmanager
    def task(self, label: str, total: int | None) -> Iterator[Callable[[int], None]]:
        if sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown"):
            with _bar(label, total) as advance:
                yield advance
        else:
            yield lines(label, total, partial(print, file=sys.stderr, flush=True))


@contextmanager
def _bar(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    # A label may hold a model's name that looks like markup.
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda steps: bar.update(task, advance=steps)


def lines(label: str, total: int | None, say: Callable[[str], None]) -> Callable[[int], None]:
    """A function to call with the number of steps just done, which says every quarter of a minute how many are."""
    started = last = time.monotonic()
    done = 0

    def advance(steps: int) -> None:
        nonlocal done, last
        done += steps
        now = time.monotonic()
        if now - last >= LINE_EVERY:
            last = now
            of_total = f"/{total}" if total is not None else ""
            say(f"{label}: {done}{of_total} after {now - started:.0f} s")

    return advance
