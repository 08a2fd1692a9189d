"""A real Oxigraph SPARQL server on loopback, filled from RDF text."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.services import require


def executable() -> Path | None:
    """The oxigraph binary beside this Python, or on the path."""
    beside = Path(sys.executable).parent / "oxigraph"
    found = shutil.which("oxigraph")
    return beside if beside.is_file() else Path(found) if found else None


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int, process: subprocess.Popen[bytes], seconds: float = 20.0) -> None:
    """Return once something listens on the port. Raises RuntimeError where the process ends or time runs out."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with code {process.returncode}")
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"nothing listens on port {port} after {seconds:.0f} s")


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
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
