"""The output of a measured process: seconds by part, peak memory, and enough of the result to compare two processes."""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

RECIPES = ("matched", "matched_answer", "paper")
PERCENTS = (1, 5, 10)
SMALLEST = 20


@dataclass
class Outcome:
    """One run of one version."""

    seconds: dict[str, float] = field(default_factory=dict)
    """Wall time by part."""
    cpu: dict[str, float] = field(default_factory=dict)
    """Processor time by part, of all threads: to be compared where the machine is busy with other work."""
    rows: int = 0
    """Raw triplets read."""
    facts: int = 0
    questions: int = 0
    members: int = 0
    removed: dict[str, int] = field(default_factory=dict)
    """Triplets that were removed, by rule of facts and questions."""
    splits: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)
    """By recipe and split: rows, and rows that the data could give (which only ours counts)."""
    digest: str = ""
    """Hash of all members, with recipe, split and position."""
    peak_megabytes: float = 0.0

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the time of the block to `name`."""
        started, busy = time.perf_counter(), time.process_time()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started
        self.cpu[name] = self.cpu.get(name, 0.0) + time.process_time() - busy

    def keep(self, members: Iterable[tuple[str, str, int, str]]) -> None:
        """Count and hash the members: rows of recipe, split, position, fact_id."""
        lines = sorted(f"{recipe}|{split}|{position}|{fact}" for recipe, split, position, fact in members)
        self.members = len(lines)
        self.digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]

    def print(self) -> None:
        """One JSON line on standard output."""
        self.peak_megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        sys.stdout.write(json.dumps(asdict(self)) + "\n")


def read(line: str) -> Outcome:
    """The outcome that a process printed."""
    fields: Mapping[str, object] = json.loads(line)
    return Outcome(**fields)  # type: ignore[arg-type]
