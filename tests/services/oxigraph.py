"""A real Oxigraph SPARQL server on loopback, filled from RDF text."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.services import require
from tests.services.process import free_port, stop, wait_for_port


def executable() -> Path | None:
    """The oxigraph binary beside this Python, or on the path."""
    beside = Path(sys.executable).parent / "oxigraph"
    on_path = shutil.which("oxigraph")
    return beside if beside.is_file() else Path(on_path) if on_path else None


@contextmanager
def oxigraph(text: str, *, suffix: str = "ttl", timeout_s: int | None = None) -> Iterator[str]:
    """Serve RDF `text` (ttl or nt) read-only; the value is the server's root, its queries are at <root>/query.

    `timeout_s` is the server's own limit for a query: what runs longer ends as a truncated 200.
    """
    binary = executable()
    require(binary is not None, "the oxigraph server is not installed (pip install oxigraph)")
    with tempfile.TemporaryDirectory(prefix="oxigraph-") as folder:
        data = Path(folder) / f"data.{suffix}"
        data.write_text(text, encoding="utf-8")
        store = Path(folder) / "store"
        subprocess.run(
            [str(binary), "load", "--location", str(store), "--file", str(data)], check=True, capture_output=True
        )
        port = free_port()
        command = [str(binary), "serve-read-only", "--location", str(store), "--bind", f"127.0.0.1:{port}"]
        if timeout_s is not None:
            command += ["--timeout-s", str(timeout_s)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for_port(port, process)
            yield f"http://127.0.0.1:{port}"
        finally:
            stop(process)
