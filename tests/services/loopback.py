"""HTTP servers on a loopback port, in threads of the tests' process."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """Keeps connections open, and logs nothing."""

    protocol_version = "HTTP/1.1"
    # Head and body are two writes; the second would wait 40 ms for the first to be acknowledged.
    disable_nagle_algorithm = True

    def serve(self) -> None:
        """Answer a request of any method."""
        raise NotImplementedError

    def do_GET(self) -> None:
        self.serve()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def body(self) -> bytes:
        """That of the request."""
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status: int, headers: Iterable[tuple[str, str]], body: bytes, length: int | None = None) -> None:
        """Answer with a body, or with the part of it that is given if it is announced to have another `length`."""
        self.send_response(status)
        for name, value in (*headers, ("Content-Length", str(len(body) if length is None else length))):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def serving(
    handler: type[Handler], port: int = 0, kind: type[ThreadingHTTPServer] = ThreadingHTTPServer
) -> Iterator[str]:
    """A server on `port`, by default a free one; yields its URL."""
    server = kind(("127.0.0.1", port), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)
