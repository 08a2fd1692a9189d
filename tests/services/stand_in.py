"""A stand-in for OpenAI-compatible servers: only for behaviour that llama-cpp-python does not have.

It shows that the client copes with what OpenAI, vLLM and transformers answer; it proves nothing about them.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

Body = dict[str, Any]
Reply = Callable[[Body], "tuple[int, Body]"]


class StandIn(NamedTuple):
    """Address and record of a running stand-in."""

    base_url: str
    bodies: list[Body]
    """Every request, in order of arrival."""
    headers: list[Mapping[str, str]]
    """Their headers, names in lower case."""


def completion(
    text: str | None,
    tokens: list[tuple[str, dict[str, float]]] | None = None,
    *,
    usage: Mapping[str, Any] | None = None,
    **message: Any,
) -> tuple[int, Body]:
    """A chat completion; `tokens` are (token, {alternative: probability}) pairs."""
    logprobs = None
    if tokens is not None:
        logprobs = {"content": [_token(token, top) for token, top in tokens]}
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "logprobs": logprobs}
    counts = usage or {"prompt_tokens": 100, "completion_tokens": 2}
    return 200, {"id": "x", "model": "stand-in-1", "choices": [choice | {"finish_reason": "stop"}], "usage": counts}


def _token(token: str, top: Mapping[str, float]) -> Body:
    listed = [{"token": text, "logprob": math.log(p) if p > 0 else -9999.0} for text, p in top.items()]
    return {
        "token": token,
        "logprob": math.log(top[token]) if top.get(token, 0) > 0 else -9999.0,
        "top_logprobs": listed,
    }


def error(status: int, message: str, code: str | None = None) -> tuple[int, Body]:
    """An error in OpenAI's form."""
    return status, {"error": {"message": message, "type": "invalid_request_error", "code": code}}


@contextmanager
def stand_in(reply: Reply) -> Iterator[StandIn]:
    """Serve `reply` on a free loopback port."""
    bodies: list[Body] = []
    headers: list[Mapping[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body are two writes; the second would wait 40 ms for the first to be acknowledged.
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            bodies.append(body)
            headers.append({name.lower(): value for name, value in self.headers.items()})
            status, data = reply(body)
            content = json.dumps(data).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield StandIn(f"http://127.0.0.1:{server.server_address[1]}/v1", bodies, headers)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)
