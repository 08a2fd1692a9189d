"""Downloading from a loopback server that cuts, refuses, forgets ranges and serves what it should not."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dual_data.errors import DualDataError, InputError, ProjectBusy, Refused, ServiceError, UsageError
from dual_data.sources.dumps.fetch import LONGEST_WAIT, TRIES, fetch, remote
from dual_data.sources.dumps.files import WIKI_TABLES
from dual_data.system.progress import Progress
from tests.cli.command import dual_data
from tests.clock import FakeClock
from tests.services.loopback import Handler, serving

DAY = "20261101"
PREFIX = f"/enwiki/{DAY}/enwiki-{DAY}"
FILES = {f"{PREFIX}-{table}.sql.gz": table.encode() * 30_000 for table in WIKI_TABLES}
PAGE = f"{PREFIX}-page.sql.gz"
SUMS = f"{PREFIX}-sha1sums.txt"


class Server:
    """Files by path; `cuts` bytes to send before the connection breaks; `answers` statuses, and `notices` types and
    bodies with status 200, to give first, by path. `sizes` are told when asked for, and of other files none is."""

    def __init__(self) -> None:
        self.files = dict(FILES)
        self.cuts: dict[str, list[int]] = {}
        self.answers: dict[str, list[tuple[int, dict[str, str]]]] = {}
        self.notices: dict[str, list[tuple[str, bytes]]] = {}
        self.ranges = True
        self.sizes: dict[str, int] = {}
        self.requests: list[tuple[str, str]] = []
        self.agents: set[str] = set()
        self.url = ""
        self.list_sums()

    def list_sums(self) -> None:
        lines = [f"{hashlib.sha1(data).hexdigest()}  {path.rsplit('/', 1)[1]}" for path, data in FILES.items()]
        self.files[SUMS] = "\n".join(lines).encode()

    def ranges_of(self, path: str) -> list[str]:
        return [byte_range for requested, byte_range in self.requests if requested == path]


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Own(Handler):
        def serve(self) -> None:
            if self.command == "HEAD":
                size = state.sizes.get(self.path)
                return self.answer(405 if size is None else 200, (), b"", size)
            byte_range = self.headers.get("Range", "")
            state.requests.append((self.path, byte_range))
            state.agents.add(self.headers["User-Agent"])
            if answers := state.answers.get(self.path):
                status, headers = answers.pop(0)
                return self.send(status, b"", headers)
            if notices := state.notices.get(self.path):
                kind, body = notices.pop(0)
                return self.send(200, body, {"Content-Type": kind} if kind else {})
            if self.path not in state.files:
                return self.send(404, b"nothing here", {})
            data = state.files[self.path]
            begin = int(byte_range[6:-1]) if byte_range and state.ranges else 0
            if begin >= len(data) and begin:
                return self.send(416, b"", {})
            head = {"Content-Range": f"bytes {begin}-{len(data) - 1}/{len(data)}"} if begin else {}
            return self.send(206 if begin else 200, data[begin:], head)

        def send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            cuts = state.cuts.get(self.path)
            if cuts and status < 300:
                self.answer(status, headers.items(), body[: cuts.pop(0)], len(body))
                self.close_connection = True
            else:
                self.answer(status, headers.items(), body)

    with serving(Own) as state.url:
        yield state


def run(server: Server, folder: Path, clock: FakeClock | None = None) -> list[bool]:
    files = remote("enwiki", DAY, server.url)
    return [new for _, new in fetch(files, folder, "", Progress(), clock=clock or FakeClock())]


def contents(folder: Path) -> list[Path]:
    """The files of a folder, except for the lock."""
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


def complete(folder: Path) -> bool:
    return {path.name: path.read_bytes() for path in contents(folder)} == {
        path.rsplit("/", 1)[1]: data for path, data in FILES.items()
    }


def test_all_files_arrive_and_are_not_fetched_twice(server: Server, tmp_path: Path) -> None:
    assert run(server, tmp_path) == [True] * 5
    assert complete(tmp_path)
    count = len(server.requests)
    assert run(server, tmp_path) == [False] * 5
    assert [path for path, _ in server.requests[count:]] == [SUMS]
    assert all(agent.startswith("dual-data/") for agent in server.agents)


def test_a_download_goes_on_after_every_cut(server: Server, tmp_path: Path) -> None:
    server.cuts[PAGE] = [50_000, 1, 0, 0, 30_000]
    server.cuts[SUMS] = [40]
    clock = FakeClock()
    run(server, tmp_path, clock)
    assert complete(tmp_path)
    assert server.ranges_of(PAGE) == ["", "bytes=50000-", *["bytes=50001-"] * 3, "bytes=80001-"]
    assert len(clock.slept) == 6


def test_a_server_that_refuses_the_rest_of_a_file_takes_nothing_away(server: Server, tmp_path: Path) -> None:
    partial = tmp_path / f"enwiki-{DAY}-page.sql.gz.part"
    partial.write_bytes(FILES[PAGE][:70_000])
    server.answers[PAGE] = [(416, {"Content-Range": f"bytes */{len(FILES[PAGE])}"})] * TRIES
    with pytest.raises(ServiceError, match=r"page.sql.gz: answered 416 .* What has arrived is kept"):
        run(server, tmp_path)
    assert partial.stat().st_size == 70_000
    run(server, tmp_path)
    assert server.ranges_of(PAGE)[-1] == "bytes=70000-"
    assert complete(tmp_path)


def test_a_refused_range_that_was_not_asked_for_is_told(server: Server, tmp_path: Path) -> None:
    server.answers[PAGE] = [(416, {})]
    with pytest.raises(ServiceError, match=r"page.sql.gz: answered 416"):
        run(server, tmp_path)


def test_a_stopped_download_is_taken_up_by_the_next_run(server: Server, tmp_path: Path) -> None:
    server.cuts[PAGE] = [70_000, *[0] * TRIES]
    with pytest.raises(ServiceError, match=r"page.sql.gz: the connection broke .* What has arrived is kept"):
        run(server, tmp_path)
    assert (tmp_path / f"enwiki-{DAY}-page.sql.gz.part").stat().st_size == 70_000
    server.cuts.clear()
    before = len(server.ranges_of(PAGE))
    run(server, tmp_path)
    assert server.ranges_of(PAGE)[before:] == ["bytes=70000-"]
    assert complete(tmp_path)


def test_a_server_without_ranges_begins_again(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.cuts[PAGE] = [50_000, 60_000]
    run(server, tmp_path)
    assert complete(tmp_path)


@pytest.mark.parametrize(
    ("kind", "body"),
    [("text/html; charset=utf-8", b"<html>maintenance</html>"), ("text/plain", b"x" * 90_000), ("", b"busy")],
)
def test_what_has_arrived_outlives_a_notice_instead_of_the_file(
    server: Server, tmp_path: Path, kind: str, body: bytes
) -> None:
    partial = tmp_path / f"enwiki-{DAY}-page.sql.gz.part"
    partial.write_bytes(FILES[PAGE][:70_000])
    server.notices[PAGE] = [(kind, body)] * TRIES
    with pytest.raises(
        ServiceError, match=r"answered (200 with a page of HTML|with something other than the file).* is kept"
    ):
        run(server, tmp_path)
    assert partial.read_bytes() == FILES[PAGE][:70_000]
    run(server, tmp_path)
    assert server.ranges_of(PAGE)[TRIES:] == ["bytes=70000-"]
    assert complete(tmp_path)


def test_a_page_of_html_is_never_taken_for_a_file(server: Server, tmp_path: Path) -> None:
    server.notices[PAGE] = [("text/html", b"<html>maintenance</html>")]
    clock = FakeClock()
    run(server, tmp_path, clock)
    assert complete(tmp_path)
    assert len(clock.slept) == 1


def test_a_wrong_checksum_deletes_what_arrived(server: Server, tmp_path: Path) -> None:
    server.files[PAGE] = b"x" + FILES[PAGE][1:]
    with pytest.raises(ServiceError, match=r"page.sql.gz: its SHA-1 is [0-9a-f]{40}, .* deleted"):
        run(server, tmp_path)
    assert contents(tmp_path) == []
    server.files[PAGE] = FILES[PAGE]
    assert run(server, tmp_path)[0]
    assert complete(tmp_path)


def test_a_part_that_is_too_long_or_another_file_is_found_out(server: Server, tmp_path: Path) -> None:
    partial = tmp_path / f"enwiki-{DAY}-page.sql.gz.part"
    for data in (FILES[PAGE] + b"more", b"another" * 100):
        partial.write_bytes(data)
        with pytest.raises(ServiceError, match="deleted"):
            run(server, tmp_path)
        assert not partial.exists()
    partial.write_bytes(FILES[PAGE])
    run(server, tmp_path)
    assert complete(tmp_path)


def test_a_damaged_file_from_before_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    run(server, tmp_path)
    (tmp_path / f"enwiki-{DAY}-redirect.sql.gz").write_bytes(b"damaged")
    assert run(server, tmp_path) == [False, True, False, False, False]
    assert complete(tmp_path)


def test_retry_after_is_obeyed_and_patience_ends(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers[PAGE] = [(429, {"Retry-After": "17"}), (503, {}), (429, {}), (429, {"Retry-After": "0"})]
    clock = FakeClock()
    run(server, tmp_path, clock)
    assert clock.slept == [17, 4, 60, 60]
    assert capsys.readouterr().err.splitlines()[:2] == [
        f"enwiki-{DAY}-page.sql.gz: answered 429 Too Many Requests; trying again in 17 s (2 of 8)",
        f"enwiki-{DAY}-page.sql.gz: answered 503 Service Unavailable; trying again in 4 s (3 of 8)",
    ]
    server.answers[SUMS] = [(429, {"Retry-After": str(int(LONGEST_WAIT) + 1)})]
    with pytest.raises(
        ServiceError, match=r"answered 429 Too Many Requests and asks to wait 601 s\. What has arrived is kept"
    ):
        run(server, tmp_path)


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (403, Refused, "does not want this client"),
        (404, InputError, r"no such dump; look for the dates at http://127.0.0.1:\d+/enwiki/"),
        (418, ServiceError, "choose another --mirror"),
    ],
)
def test_answers_that_no_try_will_change(
    server: Server, tmp_path: Path, status: int, kind: type[Exception], message: str
) -> None:
    server.answers[SUMS] = [(status, {})]
    clock = FakeClock()
    with pytest.raises(kind, match=message):
        run(server, tmp_path, clock)
    assert clock.slept == []


def test_lists_that_are_none_and_dumps_that_are_not_finished(server: Server, tmp_path: Path) -> None:
    server.files[SUMS] = b"<html>hello world</html>"
    with pytest.raises(ServiceError, match="is not a list of SHA-1 sums"):
        run(server, tmp_path)
    server.files[SUMS] = b"a" * 40 + f"  enwiki-{DAY}-page.sql.gz".encode()
    with pytest.raises(ServiceError, match=r"does not name enwiki-20261101-redirect.sql.gz"):
        run(server, tmp_path)


def test_nowhere_to_write_is_said(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DualDataError, match="cannot be written"):
        run(server, tmp_path / "file")


def test_what_is_to_be_downloaded_is_told_first(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.sizes = {path: len(data) for path, data in FILES.items()}
    server.sizes[PAGE] = 2_150_000_000  # of which 0.1 GB are not missing
    with (tmp_path / f"enwiki-{DAY}-page.sql.gz.part").open("wb") as partial:
        partial.truncate(100_000_000)
    with pytest.raises(ServiceError, match="it was deleted"):
        run(server, tmp_path)
    assert re.search(r"^5 files to download, 2\.1 GB; [0-9.]+ GB are free$", capsys.readouterr().err, re.MULTILINE)
    server.sizes.clear()
    assert run(server, tmp_path) == [True] * 5
    assert "to download" not in capsys.readouterr().err


def test_a_disk_without_room_is_told_before_anything_is_downloaded(server: Server, tmp_path: Path) -> None:
    server.sizes = {PAGE: 10**18}
    message = r"1000000000\.0 GB are to be downloaded, and [0-9.]+ GB are free; make room, or name a folder on another"
    with pytest.raises(InputError, match=message):
        run(server, tmp_path)
    assert contents(tmp_path) == []
    assert [path for path, _ in server.requests] == [SUMS]


def test_of_two_downloads_at_once_one_is_refused(server: Server, tmp_path: Path) -> None:
    download = fetch(remote("enwiki", DAY, server.url), tmp_path, "", Progress(), clock=FakeClock())
    next(download)
    with pytest.raises(ProjectBusy, match="another download is running here; wait for it to end, or stop it"):
        run(server, tmp_path)
    assert [new for _, new in download] == [True] * 4
    assert complete(tmp_path)
    assert run(server, tmp_path) == [False] * 5


@pytest.mark.parametrize(
    "mirror",
    [
        "dumps.wikimedia.org", "ftp://dumps.wikimedia.org", "https://", "http://[::1", "http://x:port", "",
        "http://..org", "http://dumps wikimedia org", "http://" + "d" * 64 + ".org",
    ],
)  # fmt: skip
def test_a_mirror_that_is_no_address_is_said_at_once(tmp_path: Path, mirror: str) -> None:
    message = re.escape(f"--mirror: {mirror!r} is not a URL such as ")
    with pytest.raises(InputError, match=message):
        remote("enwiki", DAY, mirror)
    outcome = dual_data("dumps", "fetch", tmp_path, "--wiki", "enwiki", "--date", DAY, "--mirror", mirror)
    assert outcome.code == 2


@pytest.mark.parametrize("day", ["20261301", "2026111", "2026-11-01", "latest", "2026W451"])
def test_a_date_that_is_no_day_is_said_at_once(day: str) -> None:
    with pytest.raises(InputError, match=f"--date {day}: a day such as 20261101 is expected"):
        remote("enwiki", day)


def test_a_password_of_a_mirror_is_refused_and_not_repeated() -> None:
    with pytest.raises(InputError, match="must hold no user or password") as caught:
        remote("enwiki", DAY, "https://me:secret@mirror.example")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("where", ["http://127.0.0.1:99999999/x", "gopher://127.0.0.1/x"])
def test_being_led_on_to_no_address_is_said_at_once(server: Server, tmp_path: Path, where: str) -> None:
    server.answers[SUMS] = [(302, {"Location": where})] * TRIES
    clock = FakeClock()
    with pytest.raises(InputError, match=r"sha1sums.txt: cannot be requested .* choose another --mirror"):
        run(server, tmp_path, clock)
    assert clock.slept == []


def test_a_contact_is_needed_beyond_this_machine(tmp_path: Path) -> None:
    for contact in ("", "José"):
        with pytest.raises(
            UsageError, match="Set DUAL_DATA_CONTACT, or --contact, to your own e-mail address"
        ) as caught:
            list(fetch(remote("enwiki", DAY), tmp_path, contact, Progress()))
        assert "profile" not in str(caught.value)


def test_where_dumps_lie() -> None:
    truthy = remote("wikidata", DAY, "http://x/")
    assert truthy == ("http://x/wikidatawiki/entities/20261101/", "wikidata-20261101-sha1sums.txt", truthy.names)
    assert truthy.names == ("wikidata-20261101-truthy-BETA.nt.gz",)
    assert remote("wikidatawiki", DAY).names == ("wikidatawiki-20261101-wb_items_per_site.sql.gz",)
    assert len(remote("simplewiki", DAY).names) == 5
    for wiki, date in (("enwiki", "latest"), ("../x", DAY), ("foo", DAY), ("wiki", DAY)):
        with pytest.raises(InputError, match="is expected"):
            remote(wiki, date)


def test_the_command_says_what_it_did(server: Server, tmp_path: Path) -> None:
    outcome = dual_data("dumps", "fetch", tmp_path, "--wiki", "enwiki", "--date", DAY, "--mirror", server.url)
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("downloaded, checksum verified") == 5
    assert complete(tmp_path)
    wrong = dual_data("dumps", "fetch", tmp_path, "--wiki", "enwiki", "--date", "20250101", "--mirror", server.url)
    assert (wrong.code, wrong.out) == (2, "")
    assert "there is no such dump" in wrong.err
