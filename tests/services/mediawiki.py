"""A real MediaWiki on loopback: Debian's package over SQLite, served by PHP's own server."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

from tests.services import require
from tests.services.process import free_port, wait_for_port

ROOT = Path("/usr/share/mediawiki")
CIRRUS = Path(__file__).with_name("cirrusdoc.php")
_NAMESPACES = {"Template": 10, "Talk": 1, "User": 2}


class Wiki(NamedTuple):
    """A running wiki."""

    url: str
    """Folder of api.php, with a slash."""
    database: Path
    """Its SQLite file: the link tables that the API answers from."""


@contextmanager
def mediawiki(pages: Mapping[str, str], *, cirrus: bool = True) -> Iterator[Wiki]:
    """Serve a wiki with these pages (title with namespace -> wikitext), link tables filled.

    `cirrus` installs the stand-in for CirrusSearch's counter.
    """
    missing = (
        "MediaWiki with SQLite is not installed (Debian: mediawiki php-cli php-sqlite3 php-intl php-mbstring php-xml)"
    )
    require(shutil.which("php") and (ROOT / "maintenance" / "run.php").is_file(), missing)
    with tempfile.TemporaryDirectory(prefix="mediawiki-") as name:
        folder = Path(name)
        port = free_port()
        settings = _install(folder, port, cirrus)
        environment = {**os.environ, "MW_CONFIG_FILE": str(settings)}
        dump = folder / "pages.xml"
        dump.write_text(_dump(pages), encoding="utf-8")
        _maintain(environment, "importDump", str(dump))
        # Links that come out of templates are written by a job.
        _maintain(environment, "runJobs")
        _maintain(environment, "initSiteStats", "--update")
        command = ["php", "-S", f"127.0.0.1:{port}", "-t", str(ROOT)]
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            wait_for_port(port, process)
            yield Wiki(f"http://127.0.0.1:{port}/", folder / "data" / "wiki.sqlite")
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=10)


def count_links_in_tables(database: Path, title: str) -> int:
    """Distinct articles that link to an article or to a redirect to it, straight from the wiki's tables."""
    query = """
        SELECT count(DISTINCT pl_from) FROM pagelinks
        JOIN linktarget ON pl_target_id = lt_id JOIN page AS source ON pl_from = source.page_id
        WHERE pl_from_namespace = 0 AND source.page_is_redirect = 0 AND lt_namespace = 0 AND lt_title IN (
            SELECT :title UNION SELECT page_title FROM redirect JOIN page ON rd_from = page_id
            WHERE rd_namespace = 0 AND rd_title = :title AND page_namespace = 0)
    """
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        count: int = connection.execute(query, {"title": title.replace(" ", "_")}).fetchone()[0]
    connection.close()
    return count


def _install(folder: Path, port: int, cirrus: bool) -> Path:
    (folder / "data").mkdir()
    _maintain(
        dict(os.environ), "install", "--dbtype", "sqlite", "--dbpath", str(folder / "data"), "--dbname", "wiki",
        "--server", f"http://127.0.0.1:{port}", "--scriptpath", "", "--confpath", str(folder),
        "--pass", "a-password-for-tests", "TestWiki", "Admin",
    )  # fmt: skip
    settings = folder / "LocalSettings.php"
    if cirrus:
        with settings.open("a", encoding="utf-8") as file:
            file.write(f"\n$wgAutoloadClasses['ApiQueryCirrusDoc'] = '{CIRRUS}';\n")
            file.write("$wgAPIPropModules['cirrusdoc'] = 'ApiQueryCirrusDoc';\n")
            file.write("$wgExtensionCredits['other'][] = [ 'name' => 'CirrusSearch', 'version' => 'stand-in' ];\n")
    return settings


def _maintain(environment: Mapping[str, str], *arguments: str) -> None:
    command = ["php", str(ROOT / "maintenance" / "run.php"), *arguments]
    process = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False)
    if process.returncode:
        raise RuntimeError(f"{' '.join(arguments[:1])} failed: {process.stdout[-500:]}{process.stderr[-500:]}")


def _dump(pages: Mapping[str, str]) -> str:
    """MediaWiki's export format, reduced to what the importer needs."""
    entries = []
    for title, text in pages.items():
        namespace = _NAMESPACES.get(title.partition(":")[0], 0)
        entries.append(
            f"<page><title>{escape(title)}</title><ns>{namespace}</ns><revision><timestamp>2024-01-01T00:00:00Z</timestamp>"
            f"<contributor><username>Admin</username></contributor><model>wikitext</model><format>text/x-wiki</format>"
            f'<text xml:space="preserve">{escape(text)}</text></revision></page>'
        )
    head = '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="en">'
    return head + "".join(entries) + "</mediawiki>"
