"""One piece of the rehearsal: the build goes on where the last piece stopped, and counts and times are added up."""

from __future__ import annotations

import importlib
import json
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks.rebuild.clock import VirtualClock
from benchmarks.rebuild.project import make_project
from benchmarks.rebuild.services import LIMITS, served
from benchmarks.rebuild.world import Rehearsal, project_files
from dual_data.calls.fetching import Calls
from dual_data.engine.manifest import Manifest
from dual_data.engine.plan import Step
from dual_data.engine.run import build
from dual_data.project.loading import Project, load_project
from tests.services.process import free_port

START = 1_800_000_000.0
STATE = "state.json"


CLIENTS = ("SPARQLWrapper", "mwclient", "openai")
_SOON = 0.01
"""Seconds until another attempt to stop."""


class OutOfTime(BaseException):
    """The time of the piece is over."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise OutOfTime in the main thread after `seconds`."""

    def ring(_: int, __: FrameType | None) -> None:
        raise OutOfTime

    def unraisable(lost: Any) -> None:
        # Python ignores exceptions in destructors, and in callbacks of weak references and of the collector.
        if lost.exc_type is OutOfTime:
            signal.setitimer(signal.ITIMER_REAL, _SOON)
        else:
            hook(lost)

    hook, sys.unraisablehook = sys.unraisablehook, unraisable
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        sys.unraisablehook = hook


def read_state(folder: Path) -> dict[str, Any]:
    """The sums over earlier pieces."""
    path = folder / STATE
    if path.is_file():
        state: dict[str, Any] = json.loads(path.read_text())
        return state
    return {
        "ports": {name: free_port() for name in LIMITS},
        "clock": START,
        "simulated": {},
        "real": {},
        "services": {},
        "pieces": 0,
        "peak_bytes": 0,
        "before_bytes": 0,
        "done": False,
    }


def run_piece(
    folder: Path, rehearsal: Rehearsal, seconds: float, *, rules: Sequence[str] = ("matched", "paper")
) -> dict[str, Any]:
    """Build for at most `seconds`, and return the state afterwards; `done` says whether the build is finished.

    `rules` are those of the probe.
    """
    state = read_state(folder)
    clock = VirtualClock(state["clock"])
    _, relations = project_files()
    state["pieces"] += 1
    seed = f"piece {state['pieces']}"
    for name in CLIENTS:
        importlib.import_module(name)  # A stop in the middle of an import would leave half a package behind.
    state["before_bytes"] = max(state["before_bytes"], _peak())
    with served(folder / "store", rehearsal, relations, clock, ports=state["ports"], seed=seed) as services:
        root = make_project(folder / "project", services.urls, list(rehearsal.members), rules=rules)
        loaded = load_project(root, "dual")
        try:
            with limited(seconds):
                _build(loaded, clock, state)
            state["done"] = True
        except OutOfTime:
            pass
        for name, injector in services.injectors.items():
            state["services"][name] = dict(Counter(state["services"].get(name, {})) + injector.counts)
    state["clock"] = clock.now()
    state["peak_bytes"] = max(state["peak_bytes"], _peak())
    (folder / STATE).write_text(json.dumps(state, indent=1))
    return state


def _build(loaded: Project, clock: VirtualClock, state: dict[str, Any]) -> None:
    pace = loaded.profile.services.pace
    open_stage: list[tuple[str, float, float]] = []

    def close() -> None:
        for name, simulated, real in open_stage:
            state["simulated"][name] = state["simulated"].get(name, 0.0) + clock.now() - simulated
            state["real"][name] = state["real"].get(name, 0.0) + time.monotonic() - real
        open_stage.clear()

    def report(step: Step, manifest: Manifest | None) -> None:
        if manifest is None:
            open_stage.append((step.stage.name, clock.now(), time.monotonic()))
        else:
            close()

    tools = loaded.tools()
    tools.calls.close()
    with Calls(loaded.artifacts / "calls.sqlite", pace, clock=clock) as calls:
        try:
            build(loaded.stages, replace(tools, calls=calls), loaded.profile, report=report)
        finally:
            close()


def _peak() -> int:
    """Most memory that this process ever held, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
