"""A build with real servers is killed and resumed repeatedly: nothing is lost and no answered call is repeated.

That no call is repeated is checked in two ways: rows of the call log never change, and the proxies gave as many good
answers as the log holds, except for those in flight when the build was killed.
"""

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
from dual_data.sources.chat.openai.features import BRIEF, PROBE
from tests.faults.proxy import DROP, RESET, Proxy, error_500, proxy, too_many
from tests.services.llama import KEY, llama
from tests.services.mediawiki import mediawiki
from tests.services.oxigraph import oxigraph
from tests.wiki.project import add_stages, make_project
from tests.wiki.world import world

KILLS = 20
AT_ONCE = 2
"""Most calls in flight at once, by the profile's paces."""
RELATIONS = ("P17", "P36", "P37", "P1376", "P19", "P27", "P569", "P2044")
PASSING = (too_many(1), error_500(), DROP, RESET)

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
sample = 4

[[knowledge.models]]
name = "small"
endpoint = {{ base_url = "{model}/v1", model = "smollm2", api_key_env = "TEST_KEY" }}

[salience]
sample = 4
endpoint = {{ base_url = "{model}/v1", model = "smollm2", api_key_env = "TEST_KEY" }}
"""


TRIALS = [body[-1]["content"] for body in (PROBE, BRIEF)]


class Services(NamedTuple):
    """The three real services, each behind a proxy that fails at times."""

    sparql: Proxy
    wikipedia: Proxy
    model: Proxy

    def good_answers(self) -> int:
        """Answers without a fault since the proxies started, without the requests that test a server's capabilities:
        some of these are refused."""
        return sum(
            not fault and not any(trial.encode() in request.body for trial in TRIALS)
            for front in self
            for fault, request in zip(front.faults_made, front.requests, strict=True)
        )


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    articles = sorted(item.title for item in world().items.values() if item.title)
    chosen = articles[::6]
    pages = {title: " ".join(f"[[{target}]]" for target in chosen[:: 1 + n % 7]) for n, title in enumerate(chosen)}
    with ExitStack() as stack:
        sparql = stack.enter_context(oxigraph(world().turtle()))
        wiki = stack.enter_context(mediawiki(pages))
        model = llama()
        fronts = [
            stack.enter_context(proxy(url, rate=0.05, kinds=PASSING, seed=seed))
            for seed, url in enumerate((sparql, wiki.url.rstrip("/"), model.root))
        ]
        yield Services(*fronts)


def project(folder: Path, services: Services) -> Path:
    make_project(folder, relations=RELATIONS)
    add_stages(folder)
    urls = {name: front.url for name, front in services._asdict().items()}
    (folder / "pipeline" / "dual.toml").write_text(PROFILE.format(**urls), encoding="utf-8")
    return folder


def start(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from dual_data.cli import main; main()", "build", "--project", str(folder)]
    environment = {**os.environ, "TEST_KEY": KEY}
    with (folder / "build.log").open("wb") as log:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log, env=environment)


def finish(folder: Path) -> float:
    """Build to the end, undisturbed, and return the seconds that it took."""
    began = time.monotonic()
    assert start(folder).wait(timeout=1200) == 0, (folder / "build.log").read_text()
    return time.monotonic() - began


def contents(folder: Path) -> dict[str, dict[str, str]]:
    """Content hash of every table, by stage."""
    hashes = {}
    for path in sorted((folder / "artifacts" / "killed").glob("*/manifest.json")):
        manifest = Manifest.model_validate_json(path.read_bytes())
        hashes[path.parent.name] = {name: table.content for name, table in manifest.outcome.items()}
        if path.parent.name == "links":
            # Without the day of counting: one of two builds may run past midnight.
            hashes["links"]["data"] = content_hash(pl.read_parquet(path.with_name("data.parquet")).drop("counted_on"))
    return hashes


def logged(folder: Path) -> dict[str, str]:
    """Answered calls by key: request, time of the answer, number of tries, and answer, as one text."""
    path = folder / "artifacts" / "killed" / "calls.sqlite"
    if not path.exists():
        return {}
    connection = sqlite3.connect(path, timeout=10)
    try:
        rows = connection.execute(
            "SELECT key, request || answered_at || ' ' || attempts || ' ' || hex(answer) FROM calls"
        )
        return dict(rows.fetchall())
    except sqlite3.OperationalError:
        # Killed before the table was made. If it had rows, their absence would be noticed below.
        return {}
    finally:
        connection.close()


def without_trials(calls: dict[str, str]) -> int:
    """The number of answered calls other than those that test a server's capabilities, and what came of these."""
    return sum(not any(trial in row for trial in ('"probe":"', *TRIALS)) for row in calls.values())


@pytest.mark.slow
def test_a_build_killed_twenty_times_equals_an_undisturbed_one(services: Services, tmp_path: Path) -> None:
    undisturbed = project(tmp_path / "undisturbed", services)
    seconds = finish(undisturbed)
    expected = contents(undisturbed)
    assert list(expected) == ["facts", "knowledge", "links", "questions", "salience", "splits"]
    calls = logged(undisturbed)
    assert len(calls) > 60
    assert services.good_answers() == without_trials(calls)
    start_up = finish(undisturbed)

    chance = random.Random(20)
    killed = project(tmp_path / "killed", services)
    before: dict[str, str] = {}
    answered_before, kills, kills_before = services.good_answers(), 0, 0
    while kills < KILLS:
        process = start(killed)
        try:
            # After start-up, up to twice a twentieth of the work: on average, all kills together take all of it.
            process.wait(
                timeout=start_up * chance.uniform(0.5, 1) + chance.uniform(0, 2) * (seconds - start_up) / KILLS
            )
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        else:
            assert process.returncode == 0, (killed / "build.log").read_text()
        after = logged(killed)
        # An answered call is never made again: its row never changes.
        assert before.items() <= after.items()
        under_way = AT_ONCE * (kills - kills_before)
        answered = without_trials(after)
        assert answered <= services.good_answers() - answered_before <= answered + under_way
        before = after
        if process.returncode == 0:
            # It finished before the last kill: start again.
            assert contents(killed) == expected
            shutil.rmtree(killed / "artifacts")
            before, answered_before, kills_before = {}, services.good_answers(), kills
    finish(killed)
    assert contents(killed) == expected
    assert not list(killed.rglob("*.tmp"))
