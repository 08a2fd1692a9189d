"""Downloading dumps: from a mirror, going on after every cut, and kept only if the dump's own checksums agree.

A file arrives as `NAME.part` and gets its name once its SHA-1 is the published one. Each request asks for what is still
missing (Range); a server that cannot do that begins again. The call log is not used: a file is identified by its
checksum.
"""

from __future__ import annotations

import datetime
import hashlib
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import requests
import urllib3

from dual_data.calls.fetching import TOLD, Clock, tell
from dual_data.config import check_url
from dual_data.errors import InputError, Refused, ServiceError, Transient
from dual_data.sources.dumps import MIRROR
from dual_data.sources.dumps.files import SITELINKS, WIKI_TABLES
from dual_data.sources.etiquette import user_agent, wait_asked
from dual_data.system.files import locked, writing
from dual_data.system.progress import Progress
from dual_data.text.display import count

TRIES = 8
"""Tries in a row that bring nothing new before the download stops; what has arrived is kept."""
LONGEST_WAIT = 600.0
"""Seconds; a server that asks for more stops the download instead."""
_NO_ADDRESS = (requests.exceptions.MissingSchema, requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL)
_CHUNK = 1 << 20
_MB, _GB = 10**6, 10**9
_TIMEOUT = 60.0


class Remote(NamedTuple):
    """A folder of a mirror, and the files wanted of it."""

    folder: str
    """URL with a slash."""
    sums: str
    """Name of its list of SHA-1 sums."""
    names: tuple[str, ...]


def remote(wiki: str, date: str, mirror: str = MIRROR) -> Remote:
    """Where the dumps of a wiki lie: `wikidata` for truthy statements, `wikidatawiki` for the table of sitelinks, the
    name of a Wikipedia for the five tables that links are counted in. Raises InputError for a malformed mirror, date or
    wiki."""
    try:
        check_url(mirror)
    except ValueError as error:
        raise InputError(f"--mirror: {error}") from None
    if not _is_day(date):
        raise InputError(f"--date {date}: a day such as 20261101 is expected, as in the folders of {mirror}")
    if not re.fullmatch(r"[a-z0-9_]+wiki|wikidata", wiki):
        raise InputError(
            f"--wiki {wiki}: wikidata, wikidatawiki or the name of a Wikipedia, such as enwiki, is expected"
        )
    root = mirror.rstrip("/")
    if wiki == "wikidata":
        folder, names = f"{root}/wikidatawiki/entities/{date}/", [f"wikidata-{date}-truthy-BETA.nt.gz"]
    else:
        tables = (SITELINKS,) if wiki == "wikidatawiki" else WIKI_TABLES
        folder, names = f"{root}/{wiki}/{date}/", [f"{wiki}-{date}-{table}.sql.gz" for table in tables]
    return Remote(folder, f"{wiki}-{date}-sha1sums.txt", tuple(names))


def _is_day(text: str) -> bool:
    try:
        return bool(re.fullmatch(r"[0-9]{8}", text) and datetime.date.fromisoformat(text))
    except ValueError:
        return False


def fetch(
    wanted: Remote, target: Path, contact: str, progress: Progress, *, clock: Clock | None = None
) -> Iterator[tuple[Path, bool]]:
    """Download the files into `target`; yields each with whether anything was downloaded.

    How much that is, is told first, and InputError raised if the disk has no room for it. Also raises Refused,
    ServiceError or InputError for what the server does, ProjectBusy while another process downloads there, and
    DualDataError where nothing can be written.
    """
    download = _Download(wanted.folder, contact, clock or Clock())
    sums = download.sums(wanted.sums)
    if missing := [name for name in wanted.names if name not in sums]:
        raise ServiceError(
            f"{wanted.folder}{wanted.sums}: does not name {missing[0]}: that dump is not finished or failed. Take "
            "another date, or try again later."
        )
    with writing(target, "What has arrived is kept"), locked(target / ".fetch.lock", "another download"):
        paths = [target / name for name in wanted.names]
        here = {path for path in paths if path.is_file() and _sha1(path) == sums[path.name]}
        sizes = {path: download.size(path.name) for path in paths if path not in here}
        _expect_room(target, sizes)
        for path in paths:
            if path not in here:
                download.file(path, sizes[path], sums[path.name], progress)
            yield path, path not in here


def _expect_room(target: Path, sizes: Mapping[Path, int | None]) -> None:
    """Tell how much is to be downloaded; raise InputError if the disk has no room for what is known of it."""
    missing = [size - _arrived(path) for path, size in sizes.items() if size is not None]
    if not missing:
        return
    amount, free = sum(missing), shutil.disk_usage(target).free
    if amount > free:
        raise InputError(
            f"{target}: {amount / _GB:.1f} GB are to be downloaded, and {free / _GB:.1f} GB are free; make room, or "
            "name a folder on another disk"
        )
    tell(f"{count(len(missing), 'file')} to download, {amount / _GB:.1f} GB; {free / _GB:.1f} GB are free")


def _partial(path: Path) -> Path:
    """Where a file arrives."""
    return path.with_name(path.name + ".part")


def _arrived(path: Path) -> int:
    """Bytes of a file that an earlier download left."""
    partial = _partial(path)
    return partial.stat().st_size if partial.is_file() else 0


class _Download:
    def __init__(self, folder: str, contact: str, clock: Clock) -> None:
        self._folder, self._clock = folder, clock
        self._session = requests.Session()
        client = f"requests/{requests.__version__}"
        self._session.headers["User-Agent"] = user_agent(contact, folder, client, setting="--contact")
        # A compressed file must come as it is stored, or byte offsets in it would mean nothing.
        self._session.headers["Accept-Encoding"] = "identity"

    def sums(self, name: str) -> dict[str, str]:
        """SHA-1 by file name."""
        body = bytearray()
        self._persist(name, lambda: self._receive(name, 0, body.clear, body.extend), lambda: len(body))
        lines = (line.split() for line in body.decode("utf-8", "replace").splitlines())
        sums = {words[-1].lstrip("*"): words[0].lower() for words in lines if len(words) == 2}
        if not sums or not all(re.fullmatch("[0-9a-f]{40}", value) for value in sums.values()):
            raise ServiceError(f"{self._folder}{name}: is not a list of SHA-1 sums; choose another --mirror")
        return sums

    def size(self, name: str) -> int | None:
        """Bytes of a file; None where the server does not say."""
        try:
            with self._session.head(self._folder + name, allow_redirects=True, timeout=_TIMEOUT) as response:
                length = response.headers.get("Content-Length", "")
        except (requests.RequestException, urllib3.exceptions.HTTPError):
            return None  # whatever is wrong, the download will tell
        return int(length) if response.status_code == 200 and length.isdigit() else None

    def file(self, path: Path, size: int | None, sha1: str, progress: Progress) -> None:
        """Complete the download of a file of `size` bytes, verify it and give it its name."""
        name, partial, told = path.name, _partial(path), 0
        total = None if size is None else size // _MB
        with partial.open("ab") as file, progress.task(f"{name}, MB", total) as advance:

            def restart() -> None:
                file.truncate(0)

            def write(data: bytes) -> None:
                nonlocal told
                file.write(data)
                if arrived := file.tell() // _MB - told:
                    advance(arrived)
                    told += arrived

            def step() -> None:
                file.flush()
                self._receive(name, partial.stat().st_size, restart, write)

            self._persist(name, step, file.tell)
        hashed = _sha1(partial)
        if hashed != sha1:
            partial.unlink()
            raise ServiceError(
                f"{self._folder}{name}: its SHA-1 is {hashed}, and the dump's list says {sha1}; it was deleted. Run "
                "the same command again, or choose another --mirror."
            )
        partial.replace(path)

    def _persist(self, name: str, step: Callable[[], None], size: Callable[[], int]) -> None:
        """Repeat `step` until it succeeds. Whenever it brings something new, the count of tries starts afresh."""
        tries, reached = 0, size()
        while True:
            try:
                step()
                return
            except Transient as error:
                grown = size() > reached
                reached = size()
                tries = 1 if grown else tries + 1
                wait = error.retry_after if error.retry_after is not None else min(2.0**tries, 60.0)
                if tries >= TRIES or wait > LONGEST_WAIT:
                    asks = f" and asks to wait {wait:.0f} s" if wait > LONGEST_WAIT else ""
                    raise ServiceError(
                        f"{self._folder}{name}: {error}{asks}. What has arrived is kept; run the same command again "
                        "later, or choose another --mirror."
                    ) from None
                if wait >= TOLD:
                    tell(f"{name}: {error}; trying again in {wait:.0f} s ({tries + 1} of {TRIES})")
                self._clock.sleep(wait)

    def _receive(self, name: str, offset: int, restart: Callable[[], None], write: Callable[[bytes], object]) -> None:
        """Ask for what is missing after `offset` bytes. Raises Transient where it may come later."""
        url = self._folder + name
        headers: Mapping[str, str] = {"Range": f"bytes={offset}-"} if offset else {}
        try:
            with self._session.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
                if response.status_code == 416 and offset:
                    whole = re.fullmatch(r"bytes \*/(\d+)", response.headers.get("Content-Range", ""))
                    if whole is not None and int(whole[1]) > offset:
                        raise Transient(f"answered 416 to a request for what is missing of {whole[1]} bytes")
                    return  # Nothing is missing, or too much is here: the checksum will tell.
                self._judge(response, url)
                content_range = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
                if response.status_code != 206 or content_range is None or int(content_range[1]) != offset:
                    if offset and not _may_be_whole(response, offset):
                        raise Transient("answered with something other than the file")
                    restart()
                # Bytes are written as they arrive: iter_content would wait for a whole chunk, and lose it at a cut.
                while data := response.raw.read1(_CHUNK, decode_content=False):
                    write(data)
        except _NO_ADDRESS as error:
            # Not an address, or redirected to none: another try would fail alike.
            raise InputError(f"{url}: cannot be requested ({error}); choose another --mirror") from None
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise Transient(f"the connection broke ({type(error).__name__})") from None

    def _judge(self, response: requests.Response, url: str) -> None:
        status = response.status_code
        if status in (401, 403):
            raise Refused(
                f"{url}: answered {status}: the server does not want this client. Check that the contact is yours, "
                "wait a day if it was banned, or choose another --mirror."
            )
        if status in (404, 410):
            raise InputError(f"{url}: there is no such dump; look for the dates at {url.rsplit('/', 2)[0]}/")
        if status == 429 or status >= 500:
            wait = wait_asked(status, response.headers.get("Retry-After"), self._clock.now())
            raise Transient(f"answered {status} {response.reason}", retry_after=wait)
        if status not in (200, 206):
            raise ServiceError(f"{url}: answered {status} {response.reason}; choose another --mirror")
        if response.headers.get("Content-Type", "").lower().startswith("text/html"):
            raise Transient(f"answered {status} with a page of HTML")


def _may_be_whole(response: requests.Response, offset: int) -> bool:
    """Whether this may be the file from its beginning, for which the `offset` bytes here can be given up: it is no
    text, such as a notice of maintenance, and no shorter than they are."""
    kind, length = response.headers.get("Content-Type", ""), response.headers.get("Content-Length", "")
    return not kind.lower().startswith("text/") and (not length.isdigit() or int(length) >= offset)


def _sha1(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.sha1(usedforsecurity=False)).hexdigest()
