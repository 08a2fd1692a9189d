"""Server processes on loopback: a port for one, waiting until it listens, and its end."""

from __future__ import annotations

import socket
import subprocess
import time
from contextlib import suppress
from random import SystemRandom

_OWN_PORTS = range(20_000, 32_768)
"""Below those that systems give to whoever asks for any, so that one is still free when a server starts there later."""


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    for port in SystemRandom().sample(_OWN_PORTS, 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError(f"no port is free of a hundred in {_OWN_PORTS}")


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


def stop(process: subprocess.Popen[bytes], seconds: float = 10.0) -> None:
    """Terminate the process; kill it where it has not ended in time."""
    process.terminate()
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
