"""The rehearsal's services, each behind a proxy with faults and limits of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.rebuild.chat import Model
from benchmarks.rebuild.clock import VirtualClock
from benchmarks.rebuild.fault_injection import FaultInjector, Limit
from benchmarks.rebuild.wiki import ActionApi
from benchmarks.rebuild.world import Rehearsal
from dual_data.config import Relation
from tests.faults.proxy import Proxy, proxy
from tests.services.oxigraph import executable
from tests.services.process import free_port, wait_for_port

LIMITS = {
    # 60 s of processing a minute; Oxigraph's speed differs from Blazegraph's, so the time of a query is assumed.
    "wikidata": Limit(None, 1.0, processing=60.0),
    "wikipedia": Limit(200, 0.15),
    # A server of one's own has no limit; a commercial judge allows 500 requests a minute in its first tier.
    "probe": Limit(None, 0.3, at_once=16),
    "judge": Limit(500, 0.6, at_once=16),
}
"""The assumed limits of each service, and the median time of its answers in seconds."""


class Services(NamedTuple):
    """Address of each service, and the faults and counts of its requests."""

    urls: Mapping[str, str]
    injectors: Mapping[str, FaultInjector]


def load(turtle: Path, store: Path) -> None:
    """Fill an Oxigraph store from a file. Raises RuntimeError where Oxigraph is not installed."""
    binary = executable()
    if binary is None:
        raise RuntimeError("the oxigraph server is not installed (pip install oxigraph)")
    subprocess.run(
        [str(binary), "load", "--location", str(store), "--file", str(turtle)], check=True, capture_output=True
    )


@contextmanager
def served(
    store: Path,
    rehearsal: Rehearsal,
    relations: Mapping[str, Relation],
    clock: VirtualClock,
    *,
    ports: Mapping[str, int],
    seed: str,
) -> Iterator[Services]:
    """Run a real Oxigraph over `store`, and the wiki and the models from the world, each behind the fault proxy.

    The addresses are part of the calls in the log, so that a resumed run needs the same `ports`.
    """
    with ExitStack() as stack:
        port = free_port()
        command = [str(executable()), "serve-read-only", "--location", str(store), "--bind", f"127.0.0.1:{port}"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stack.callback(_stop, process)
        wait_for_port(port, process)
        model = Model(rehearsal, relations)
        answers = {"wikidata": None, "wikipedia": ActionApi(rehearsal), "probe": model, "judge": model}
        urls, injectors = {}, {}
        for name, answer in answers.items():
            front: Proxy = stack.enter_context(proxy(f"http://127.0.0.1:{port}", port=ports[name]))
            front.answer = answer
            front.keep = False
            injectors[name] = FaultInjector(LIMITS[name], clock, f"{seed} {name}")
            front.when = injectors[name]
            urls[name] = front.url
        yield Services(urls, injectors)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(timeout=20)
