"""What an answer really is, whatever its status says."""

from __future__ import annotations

import gc
import gzip
import http.client
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_data import __version__
from dual_data.errors import BrokenOff, Refused, ServiceError, TooLarge, Transient, UsageError
from dual_data.sources.wikidata.asking import from_log
from dual_data.sources.wikidata.sparql import HttpEndpoint, Term, failure, read_answer, rows_of
from tests.faults.proxy import (
    BANNED,
    CUT,
    DROP,
    REFUSED_AGENT,
    RESET,
    Fault,
    error_500,
    html_200,
    proxy,
    slow,
    stack_trace,
    too_many,
    unavailable,
)
from tests.services import require
from tests.services.oxigraph import oxigraph
from tests.services.process import free_port
from tests.wiki.world import world

DATA = "".join(f'<urn:s{n}> <urn:p> "v{n}"@en .\n' for n in range(300))
QUERY = "SELECT ?s ?o WHERE { ?s <urn:p> ?o }"
JSON_TYPE = "application/sparql-results+json"
NUMBER = b'{"head": {"vars": ["s", "o"]}, "results": {"bindings": [{"s": {"type": "literal", "value": 5}}]}}'
"""A value that is no text, as no term has."""
OTHER = b'{"head": {"vars": ["s"]}, "results": {"bindings": [{"s": {"type": "uri", "value": "urn:s"}}]}}'
"""The answer to another query, or to a part of this one."""
GZIP = gzip.compress(b'{"head": {"vars": ["s", "o"]}, "results": {"bindings": []}}')
ENCODED = (("Content-Encoding", "gzip"),)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with oxigraph(DATA) as url:
        yield url


def endpoint(url: str, **options: float) -> HttpEndpoint:
    return HttpEndpoint(f"{url}/query", "me@example.org", **options)  # type: ignore[arg-type]


def test_rows_come_whole_and_typed(server: str) -> None:
    answer = endpoint(server).ask(QUERY)
    assert len(answer) == 300
    assert [Term("iri", "urn:s7"), Term("literal", "v7", "en")] in answer


def test_the_request_is_a_post_with_the_operators_agent(server: str) -> None:
    with proxy(server) as front:
        endpoint(front.url).ask(QUERY)
    (request,) = front.requests
    assert (request.method, request.path) == ("POST", "/query")
    assert request.headers["User-Agent"].startswith(f"dual-data/{__version__} (me@example.org) SPARQLWrapper/")
    assert "sparql-results+json" in request.headers["Accept"]
    assert b"format=" not in request.body, "one way of asking for JSON is enough"


def test_no_contact_no_request() -> None:
    with pytest.raises(UsageError, match="DUAL_DATA_CONTACT"):
        HttpEndpoint("https://query.wikidata.org/sparql", "").ask(QUERY)


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        (too_many(), Transient, "answered 429 .*Error"),
        (error_500(), Transient, "answered 500"),
        (error_500(b"x java.util.concurrent.TimeoutException y"), TooLarge, "answered 500"),
        (unavailable(502), Transient, "answered 502"),
        (unavailable(504), TooLarge, "answered 504"),
        (html_200(), Transient, "text/html with status 200"),
        (html_200(b"<title>Query timed out</title>"), TooLarge, "text/html with status 200"),
        (html_200(b"<title>Welcome to nginx!</title>"), ServiceError, "Welcome to nginx.*SPARQL 1.1 query endpoint"),
        (CUT, BrokenOff, "broke off after [1-9]"),
        (DROP, BrokenOff, "broke off after [1-9]"),
        (Fault("empty", content_type=JSON_TYPE, body=b""), Transient, "broke off after 0 bytes"),
        (RESET, Transient, "broke|reached"),
        (REFUSED_AGENT, Refused, "robot policy.*contact"),
        (BANNED, Refused, "banned"),
        (stack_trace(b'{"head":{"vars":["s"]},"results":{"bindings":[{"s":{"value":"'), TooLarge, "ran out of time"),
        (Fault("json", content_type="application/json", body=b'{"hello": 1}'), ServiceError, "not SPARQL results"),
        (Fault("list", content_type="application/json", body=b"[]"), ServiceError, "not SPARQL results"),
        (Fault("number", content_type=JSON_TYPE, body=NUMBER), ServiceError, "not SPARQL results"),
        (Fault("other", content_type=JSON_TYPE, body=OTHER), ServiceError, "not SPARQL results of the query"),
        (Fault("gzip", content_type=JSON_TYPE, body=GZIP, headers=ENCODED), ServiceError, "Content-Encoding gzip"),
        (Fault("404", 404), ServiceError, "answered 404.*SPARQL 1.1 query endpoint"),
        (Fault("401", 401), Refused, "answered 401"),
    ],
)
def test_every_fault_has_its_name(server: str, fault: Fault, error: type[ServiceError], message: str) -> None:
    with proxy(server, fault) as front, pytest.raises(ServiceError, match=message) as caught:
        endpoint(front.url).ask(QUERY)
    assert type(caught.value) is error
    assert front.count == 1, "retry is not the client's business"


@pytest.mark.parametrize("address", ["http://[::bad", "http://xn--\xf6/"])
def test_a_redirect_to_no_address_is_one_message(server: str, address: str) -> None:
    fault = Fault("302", 302, headers=(("Location", address),))
    with proxy(server, fault) as front, pytest.raises(ServiceError, match="sends on to an address that is none"):
        endpoint(front.url).ask(QUERY)
    with warnings.catch_warnings(action="ignore"):  # urllib leaves the socket to the garbage collector
        gc.collect()


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_survives_the_client(server: str, as_date: bool) -> None:
    with proxy(server, too_many(40, as_date=as_date)) as front, pytest.raises(Transient) as caught:
        endpoint(front.url).ask(QUERY)
    assert caught.value.retry_after == pytest.approx(40, abs=2)


def test_a_429_that_does_not_say_how_long_means_a_minute(server: str) -> None:
    with proxy(server, too_many()) as front, pytest.raises(Transient) as caught:
        endpoint(front.url).ask(QUERY)
    assert caught.value.retry_after == 60
    with proxy(server, unavailable(503)) as front, pytest.raises(Transient) as caught:
        endpoint(front.url).ask(QUERY)
    assert caught.value.retry_after is None


def test_retry_after_of_a_500_survives_the_client(server: str) -> None:
    busy = Fault("500", 500, headers=(("Retry-After", "9"),))
    with proxy(server, busy) as front, pytest.raises(Transient) as caught:
        endpoint(front.url).ask(QUERY)
    assert caught.value.retry_after == 9


def test_html_after_good_answers_is_a_passing_trouble(server: str) -> None:
    strange = html_200(b"<title>Welcome to nginx!</title>")
    with proxy(server, None, strange, None) as front:
        client = endpoint(front.url)
        client.ask(QUERY)
        with pytest.raises(Transient):
            client.ask(QUERY)
        assert len(client.ask(QUERY)) == 300


def test_a_real_timeout_of_oxigraph_is_too_large() -> None:
    with oxigraph(world().turtle(), timeout_s=1) as url, pytest.raises(TooLarge, match="middle of its answer"):
        endpoint(url).ask("SELECT ?a ?b ?c ?d WHERE { ?b ?p ?a . ?b ?q ?c . ?d ?r ?c }")


def test_a_syntax_error_is_not_retried(server: str) -> None:
    with pytest.raises(ServiceError, match="answered 400") as caught:
        endpoint(server).ask("SELECT ?s WHERE { ?s ")
    assert type(caught.value) is ServiceError


def test_drips_have_a_deadline(server: str) -> None:
    with proxy(server, slow(8)) as front:
        started = time.monotonic()
        with pytest.raises(TooLarge, match="took more than"):
            endpoint(front.url, whole_timeout=0.5).ask(QUERY)
        assert time.monotonic() - started < 5


def test_slow_is_fine_below_the_deadline(server: str) -> None:
    with proxy(server, slow(0.5)) as front:
        assert len(endpoint(front.url).ask(QUERY)) == 300


@contextmanager
def silent_server() -> Iterator[str]:
    """Accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held: list[socket.socket] = []

        def accept() -> None:
            try:
                held.append(listener.accept()[0])
            except OSError:
                return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(timeout=5)
        for connection in held:
            connection.close()


@pytest.mark.parametrize("length", ["62, 62", "many"])
def test_a_body_counts_whatever_length_a_gateway_announces(length: str) -> None:
    body = '{"head": {"vars": ["s", "o"]}, "results": {"bindings": [{"s": {"type": "uri", "value": "urn:s"}}]}}'
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with listener.accept()[0] as connection:
                connection.recv(1 << 16)
                head = f"HTTP/1.1 200 OK\r\nContent-Type: {JSON_TYPE}\r\nContent-Length: {length}\r\n\r\n"
                connection.sendall((head + body).encode())
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(1 << 16):  # a connection that is closed before all was read is reset
                    pass

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        rows = endpoint(f"http://127.0.0.1:{listener.getsockname()[1]}").ask(QUERY)
        thread.join(timeout=5)
    assert rows == [[Term("iri", "urn:s"), None]]


def test_silence_is_too_large() -> None:
    with silent_server() as url, pytest.raises(TooLarge, match="silent for 1 s"):
        endpoint(url, read_timeout=1).ask(QUERY)


@contextmanager
def broken_tls(folder: Path, status: int) -> Iterator[tuple[str, Path]]:
    """Begins an answer and breaks its encryption; the URL, and the certificate to trust."""
    require(shutil.which("openssl"), "openssl, which makes a certificate, is not installed (Debian: openssl)")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "1", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-out", certificate, "-keyout", key], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with context.wrap_socket(listener.accept()[0], server_side=True) as connection:
                connection.recv(1 << 16)
                head = f"HTTP/1.1 {status} X\r\nContent-Type: {JSON_TYPE}\r\nContent-Length: 1000\r\n"
                connection.sendall(head.encode() + b'Retry-After: 9\r\n\r\n{"head":')
                # Past the encryption; then until the client has closed, lest a reset overtakes it.
                socket.socket.send(connection, b"what no TLS record begins with")
                with suppress(OSError):
                    while socket.socket.recv(connection, 1 << 16):
                        pass

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}", certificate
        thread.join(timeout=5)


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [(200, BrokenOff, "broke after 8 bytes"), (503, Transient, "answered 503")],
)
def test_a_connection_that_fails_in_the_body_is_transient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, error: type[Transient], message: str
) -> None:
    with broken_tls(tmp_path, status) as (url, certificate):
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        # Since Python 3.13 the opener that urllib keeps has read the certificates once and for all.
        monkeypatch.setattr("urllib.request._opener", None)
        with pytest.raises(Transient, match=message) as caught:
            endpoint(url).ask(QUERY)
    assert type(caught.value) is error
    assert caught.value.retry_after == (9 if status == 503 else None)


def test_nobody_there_is_transient() -> None:
    with pytest.raises(Transient, match="cannot be reached"):
        endpoint(f"http://127.0.0.1:{free_port()}").ask(QUERY)


@pytest.mark.parametrize(
    ("status", "exception"),
    [
        (429, "Operation timed out."),
        (500, "Tried to allocate 6.6 GB, but only 3.3 GB were available"),
        (500, "The memory limit was exceeded during the computation of a cross-product"),
    ],
)
def test_where_qlever_runs_out_of_time_or_memory_the_query_is_too_large(status: int, exception: str) -> None:
    body = json.dumps({"exception": exception, "query": "SELECT", "resultsize": 0, "status": "ERROR"})
    with pytest.raises(TooLarge):
        read_answer("application/json", body.encode(), QUERY, "u", patient=True)
    assert type(failure(status, http.client.HTTPMessage(), body, "u", 0.0)) is TooLarge


BLAZEGRAPH = "SPARQL-QUERY: queryStr=SELECT ?s WHERE { ?s ?p ?o }\n"


@pytest.mark.parametrize(
    ("status", "text", "error"),
    [
        (500, BLAZEGRAPH + "java.util.concurrent.TimeoutException", TooLarge),
        (500, BLAZEGRAPH + "com.bigdata.rwstore.sector.MemoryManagerOutOfMemory", TooLarge),
        (500, BLAZEGRAPH + "java.util.concurrent.RejectedExecutionException: Task rejected", Transient),
        (500, BLAZEGRAPH + "java.io.IOException: No space left on device", Transient),
        (400, BLAZEGRAPH + "org.openrdf.query.MalformedQueryException: Encountered", ServiceError),
        (502, "upstream connect error. reset reason: connection timed out", Transient),
        (503, "TimeoutException while waiting for a backend", Transient),
        (522, "<title>example.org | 522: Connection timed out</title>", Transient),
    ],
)
def test_only_what_a_service_says_of_the_query_makes_it_too_large(
    status: int, text: str, error: type[ServiceError]
) -> None:
    assert type(failure(status, http.client.HTTPMessage(), text, "u", 0.0)) is error


def test_brackets_without_end_are_no_answer() -> None:
    with pytest.raises(BrokenOff):
        read_answer(JSON_TYPE, b"[" * 100_000, QUERY, "u", patient=True)


CELLS = st.one_of(
    st.none(),
    st.fixed_dictionaries({"type": st.just("uri"), "value": st.text()}),
    st.fixed_dictionaries({"type": st.just("bnode"), "value": st.text()}),
    st.fixed_dictionaries({"type": st.just("literal"), "value": st.text(), "xml:lang": st.sampled_from(["en", "mul"])}),
    st.fixed_dictionaries({"type": st.just("literal"), "value": st.text(), "datatype": st.just("http://x#int")}),
)


@given(st.lists(st.tuples(CELLS, CELLS), max_size=5))
def test_the_log_keeps_an_answer_exactly(rows: list[tuple[dict[str, str] | None, ...]]) -> None:
    bindings = [{name: cell for name, cell in zip("ab", row, strict=True) if cell is not None} for row in rows]
    answer = rows_of({"head": {"vars": ["a", "b"]}, "results": {"bindings": bindings}}, "SELECT ?a ?b WHERE { }")
    assert len(answer) == len(rows)
    assert from_log(json.loads(json.dumps({"rows": answer}))) == answer


@pytest.mark.parametrize("listed", [["s", "o"], ["o", "s"]])
def test_terms_stand_as_the_query_selects_them_however_the_service_lists_its_variables(listed: list[str]) -> None:
    row = {name: {"type": "uri", "value": f"urn:{name}"} for name in listed}
    body = json.dumps({"head": {"vars": listed}, "results": {"bindings": [row]}}).encode()
    answer = read_answer(JSON_TYPE, body, QUERY, "u", patient=True)
    assert answer == [[Term("iri", "urn:s"), Term("iri", "urn:o")]]


@given(st.integers(0, 10**6))
def test_no_cut_of_a_good_body_is_an_answer(seed: int) -> None:
    body = json.dumps(
        {
            "head": {"vars": ["a"]},
            "results": {"bindings": [{"a": {"type": "literal", "value": f"Kraków {n}"}} for n in range(5)]},
        },
        ensure_ascii=False,
    ).encode()
    query = "SELECT ?a WHERE { }"
    with pytest.raises(Transient):
        read_answer(JSON_TYPE, body[: seed % len(body)], query, "u", patient=True)
    assert len(read_answer(JSON_TYPE + "; charset=utf-8", body, query, "u", patient=False)) == 5
