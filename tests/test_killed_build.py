"""A build over real servers is killed again and again and resumed: nothing is lost and no answered call is repeated."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

from dual_data.engine.manifest import Manifest
from dual_data.engine.tables import content_hash
from tests.faults.proxy import DROP, RESET, Proxy, error_500, proxy, too_many
from tests.services.llama import KEY, llama
from tests.services.mediawiki import mediawiki
from tests.services.oxigraph import oxigraph
from tests.wiki.project import ROOT, make_project
from tests.wiki.world import world

KILLS = 20
RELATIONS = ("P17", "P36", "P37", "P1376", "P19", "P27", "P569", "P2044")
PASSING = (too_many(0), error_500(), DROP, RESET)

PROFILE = """\
[project]
name = "killed"

[services]
sparql = "{sparql}/query"
wikipedia = "{wikipedia}/"

[services.pace]
wikidata = {{ attempts = 9 }}
wikipedia = {{ attempts = 9 }}
probe = {{ attempts = 9, concurrency = 2 }}
judge = {{ attempts = 9, concurrency = 2 }}

[facts.queries]
subjects = 40
entities = 60

[links]
method = "linkshere"

[knowledge]
sample = 6

[[knowledge.models]]
name = "small"
endpoint = {{ base_url = "{model}/v1", model = "smollm2", api_key_env = "TEST_KEY" }}

[salience]
sample = 6
endpoint = {{ base_url = "{model}/v1", model = "smollm2", api_key_env = "TEST_KEY" }}
"""


class Services(NamedTuple):
    """The three real services, each behind a proxy that fails now and then."""

    sparql: Proxy
    wikipedia: Proxy
    model: Proxy


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    articles = sorted(item.title for item in world().items.values() if item.title)
    chosen = articles[::6]
    pages = {title: " ".join(f"[[{other}]]" for other in chosen[:: 1 + n % 7]) for n, title in enumerate(chosen)}
    with ExitStack() as stack:
        sparql = stack.enter_context(oxigraph(world().turtle()))
        wiki = stack.enter_context(mediawiki(pages))
        model = llama()
        fronts = [
            stack.enter_context(proxy(url, rate=0.05, of=PASSING, seed=seed))
            for seed, url in enumerate((sparql, wiki.url.rstrip("/"), model.root))
        ]
        yield Services(*fronts)


def project(folder: Path, services: Services) -> Path:
    make_project(folder, relations=RELATIONS)
    for path in (ROOT / "pipeline").glob("*.py"):
        shutil.copy(path, folder / "pipeline")
    shutil.copytree(ROOT / "prompts", folder / "prompts")
    urls = {name: front.url for name, front in services._asdict().items()}
    (folder / "pipeline" / "dual.toml").write_text(PROFILE.format(**urls), encoding="utf-8")
    return folder


def start(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from dual_data.cli import main; main()", "build", "--project", str(folder)]
    environment = {**os.environ, "TEST_KEY": KEY}
    with (folder / "build.log").open("wb") as log:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log, env=environment)


def finish(folder: Path) -> None:
    """Build to the end, undisturbed."""
    assert start(folder).wait(timeout=300) == 0, (folder / "build.log").read_text()


def contents(folder: Path) -> dict[str, dict[str, str]]:
    """Content hash of every table, by stage."""
    found = {}
    for path in sorted((folder / "artifacts" / "killed").glob("*/manifest.json")):
        manifest = Manifest.model_validate_json(path.read_bytes())
        found[path.parent.name] = {name: table.content for name, table in manifest.outcome.items()}
        if path.parent.name == "links":
            # The day of counting is part of a row; one of two builds may run past midnight.
            found["links"]["data"] = content_hash(pl.read_parquet(path.with_name("data.parquet")).drop("counted_on"))
    return found


def logged(folder: Path) -> dict[str, str]:
    """Answered calls by key: when they were answered and in how many tries."""
    path = folder / "artifacts" / "killed" / "calls.sqlite"
    if not path.exists():
        return {}
    connection = sqlite3.connect(path, timeout=10)
    try:
        rows = connection.execute("SELECT key, answered_at || ' ' || attempts || ' ' || hex(answer) FROM calls")
        return dict(rows.fetchall())
    except sqlite3.OperationalError:
        # Killed before the table was there. Were there a table, what it held would be missed below.
        return {}
    finally:
        connection.close()


@pytest.mark.slow
def test_a_build_killed_twenty_times_equals_an_undisturbed_one(services: Services, tmp_path: Path) -> None:
    undisturbed = project(tmp_path / "undisturbed", services)
    began = time.monotonic()
    finish(undisturbed)
    seconds = time.monotonic() - began
    expected = contents(undisturbed)
    assert list(expected) == ["facts", "knowledge", "links", "questions", "salience", "splits"]
    calls = logged(undisturbed)
    assert len(calls) > 60

    chance = random.Random(20)
    killed = project(tmp_path / "killed", services)
    before: dict[str, str] = {}
    kills = 0
    while kills < KILLS:
        process = start(killed)
        try:
            # Most of a short run is start-up: aim between there and a little beyond what is left.
            process.wait(timeout=chance.uniform(0.3, 1.0) * max(2.0, seconds / 6))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        else:
            assert process.returncode == 0, (killed / "build.log").read_text()
            # It got through: begin again with the calls that are known.
            kills += 1
            for stage in ("facts", "links", "questions", "knowledge", "salience", "splits"):
                shutil.rmtree(killed / "artifacts" / "killed" / stage)
        after = logged(killed)
        # An answered call is never made again: its row stays as it was written first.
        assert before.items() <= after.items()
        before = after
    finish(killed)
    assert contents(killed) == expected
    assert not list(killed.rglob("*.tmp"))
