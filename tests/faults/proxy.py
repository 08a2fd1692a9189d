"""A loopback proxy that passes requests to a real local server and, when told so, misbehaves as services do."""

from __future__ import annotations

import http.client
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from email.utils import formatdate
from http.server import ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.services.loopback import Handler, serving

HTML = b"<!DOCTYPE html><html><head><title>Error</title></head><body><h1>Server error</h1></body></html>"
UA_REFUSAL = b"Please set a user-agent and respect our robot policy https://w.wiki/4wJS\n"


class Request(NamedTuple):
    """A request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Fault(NamedTuple):
    """One way to misbehave: either an answer of its own, or a way to mangle the real one."""

    name: str
    status: int = 200
    content_type: str = "text/html; charset=utf-8"
    body: bytes = HTML
    headers: tuple[tuple[str, str], ...] = ()
    mangle: str = ""
    """cut: the real body without its end, well framed; drop: a body shorter than announced;
    slow: the real body in drips; reset: no answer at all."""
    seconds: float = 0.0
    """slow: time that the whole body takes."""


def too_many(retry_after: float | None = None, *, as_date: bool = False) -> Fault:
    """429 with an HTML body, as Wikimedia sends it; with or without Retry-After, in seconds or as an HTTP date."""
    headers: tuple[tuple[str, str], ...] = ()
    if retry_after is not None:
        value = formatdate(time.time() + retry_after, usegmt=True) if as_date else f"{retry_after:.0f}"
        headers = (("Retry-After", value),)
    return Fault("429", 429, body=HTML.replace(b"Server error", b"Too Many Requests"), headers=headers)


def error_500(body: bytes = HTML) -> Fault:
    """500, by default with an HTML page."""
    return Fault("500", 500, body=body)


def unavailable(status: int = 503, retry_after: float | None = None) -> Fault:
    """502, 503 or 504."""
    headers = (("Retry-After", f"{retry_after:.0f}"),) if retry_after is not None else ()
    return Fault(str(status), status, headers=headers)


def html_200(body: bytes = HTML) -> Fault:
    """An error page that claims to be fine."""
    return Fault("html", body=body)


def stack_trace(start: bytes, content_type: str = "application/sparql-results+json") -> Fault:
    """Status 200, a good beginning, then the query and a Java stack trace in the middle of a literal."""
    trace = b"SPARQL-QUERY: queryStr=SELECT ...\njava.util.concurrent.TimeoutException\n\tat java.base/x.y(Z.java:1)\n"
    return Fault("stack trace", content_type=content_type, body=start + trace)


def slow(seconds: float) -> Fault:
    """The real answer, in drips."""
    return Fault("slow", mangle="slow", seconds=seconds)


CUT = Fault("cut", mangle="cut")
"""The first two thirds of the real body, framed as if they were all of it."""
DROP = Fault("drop", mangle="drop")
"""The first two thirds of the real body under the full Content-Length, then the connection ends."""
RESET = Fault("reset", mangle="reset")
"""The connection is reset before an answer."""
REFUSED_AGENT = Fault("user agent", content_type="text/plain; charset=utf-8", body=UA_REFUSAL)
"""The plain-text refusal of a poor User-Agent, with status 200."""
BANNED = Fault("403", 403, content_type="text/plain", body=b"You have been banned until tomorrow due to throttling.\n")
"""The ban of a client that ignored 429."""


class Proxy:
    """Address, plan and record of a running proxy. `script` is used up first; then `rate` of the answers misbehave."""

    def __init__(self, upstream: str, script: Sequence[Fault | None], rate: float, faults: Sequence[Fault], seed: int):
        self.upstream = urlsplit(upstream)
        self.requests: list[Request] = []
        self.faults_made: list[str] = []
        self.when: Callable[[Request], Fault | None] | None = None
        """Where set, it decides alone."""
        self.rewrite: Callable[[Request], Request] = lambda request: request
        """Changes the request that the real server gets."""
        self.answer: Callable[[Request], tuple[int, list[tuple[str, str]], bytes]] | None = None
        """Where set, it answers in this process instead of a server upstream."""
        self.keep = True
        """Whether requests and faults are recorded; off for long runs, which would fill the memory."""
        self.url = ""
        """Root of the proxy: http://127.0.0.1:port."""
        self._script = list(script)
        self._rate, self._faults, self._random = rate, list(faults), random.Random(seed)
        self._lock = threading.Lock()
        self.stopping = threading.Event()

    def script(self, *faults: Fault | None) -> None:
        """Plan the next answers; None is a good one."""
        with self._lock:
            self._script = list(faults)

    @property
    def count(self) -> int:
        """Requests that arrived."""
        return len(self.requests)

    def decide(self, request: Request) -> Fault | None:
        """What happens to this request; it is recorded."""
        with self._lock:
            if self.keep:
                self.requests.append(request)
            if self.when is not None:
                fault = self.when(request)
            elif self._script:
                fault = self._script.pop(0)
            else:
                fault = self._random.choice(self._faults) if self._random.random() < self._rate else None
            if self.keep:
                self.faults_made.append(fault.name if fault else "")
            return fault

    def forward(self, request: Request) -> tuple[int, list[tuple[str, str]], bytes]:
        """The real server's answer."""
        request = self.rewrite(request)
        if self.answer is not None:
            return self.answer(request)
        connection = http.client.HTTPConnection(self.upstream.hostname or "", self.upstream.port, timeout=120)
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP_BY_HOP | {"content-length"}}
        headers["Host"] = self.upstream.netloc
        try:
            connection.request(request.method, request.path, request.body or None, headers)
            answer = connection.getresponse()
            try:
                body = answer.read()
            except http.client.IncompleteRead as error:
                body = error.partial
            answer_headers = [
                (k, v) for k, v in answer.getheaders() if k.lower() not in _HOP_BY_HOP | {"content-length"}
            ]
            return answer.status, answer_headers, body
        finally:
            connection.close()


_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-connection", "host"}


@contextmanager
def proxy(
    upstream: str,
    *faults: Fault | None,
    rate: float = 0.0,
    kinds: Sequence[Fault] = (),
    seed: int = 0,
    port: int = 0,
) -> Iterator[Proxy]:
    """Run a proxy in front of `upstream` (http://127.0.0.1:port) on a free port, or on `port`.

    The first answers follow `faults` (None: a good one); after them each answer misbehaves with probability `rate`,
    in a way drawn from `kinds` by `seed`.
    """
    front = Proxy(upstream, faults, rate, kinds, seed)

    class Own(_Handler):
        proxy = front

    with serving(Own, port, _Server) as front.url:
        try:
            yield front
        finally:
            front.stopping.set()


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # not 5: more clients connect at once, and on a busy machine they would wait or be dropped

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that hung up."""


class _Handler(Handler):
    proxy: Proxy

    def serve(self) -> None:
        request = Request(self.command, self.path, dict(self.headers.items()), self.body())
        fault = self.proxy.decide(request)
        if fault is None:
            status, headers, body = self.proxy.forward(request)
            self._answer(status, headers, body)
        elif not fault.mangle:
            self._answer(fault.status, [("Content-Type", fault.content_type), *fault.headers], fault.body)
        elif fault.mangle == "reset":
            self._reset()
        else:
            self._mangle(fault, *self.proxy.forward(request))

    def _answer(self, status: int, headers: Sequence[tuple[str, str]], body: bytes, length: int | None = None) -> None:
        # This server writes its own of these.
        forwarded = [(name, value) for name, value in headers if name.lower() not in ("date", "server")]
        self.answer(status, forwarded, body, length)

    def _mangle(self, fault: Fault, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        start = body[: len(body) * 2 // 3]
        if fault.mangle == "cut":
            self._answer(status, headers, start)
        elif fault.mangle == "drop":
            self._answer(status, headers, start, length=len(body))
            self.close_connection = True
        else:
            self._answer(status, headers, b"", length=len(body))
            steps = 20
            for step in range(steps):
                self.wfile.write(body[len(body) * step // steps : len(body) * (step + 1) // steps])
                self.wfile.flush()
                if self.proxy.stopping.wait(fault.seconds / steps):
                    return

    def _reset(self) -> None:
        # Lingering for zero seconds makes close() send a reset instead of an orderly end.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.shutdown(socket.SHUT_RD)
        self.close_connection = True
        self.connection.close()
