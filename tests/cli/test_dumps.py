"""Dumps on the command line: import, and a build with facts and links from them."""

from __future__ import annotations

import gzip
import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from dual_data.engine.manifest import read_manifest
from dual_data.engine.tables import content_hash
from tests.cli.command import ROOT, dual_data, own_project
from tests.services import require_spark
from tests.sources.dumps.mysqldump import dump
from tests.sources.dumps.wikis import DAY, Page, tables

ENTITY, DIRECT = "http://www.wikidata.org/entity/", "http://www.wikidata.org/prop/direct/"
LABEL = "http://www.w3.org/2000/01/rdf-schema#label"
PAGES = {
    1: Page(0, "Orbus", None, ((0, "Selmia"), (0, "Varn")), "Q1"),
    2: Page(0, "Selmia", None, (), "Q2"),
    3: Page(0, "Varn", None, ((0, "Land_of_Selm"),), "Q3"),
    4: Page(0, "Land_of_Selm", (0, "Selmia", "")),
}
NAMES = {1: "Orbus", 2: "Selmia", 3: "Varn"}


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    with own_project(tmp_path / "mine", "P30") as root:
        (root / "pipeline" / "topics.toml").write_text(
            '[places_country]\nclasses = ["Q6256"]\nlimit = 10\n', encoding="utf-8"
        )
        lines = [f'<{ENTITY}Q{n}> <{LABEL}> "{name}"@en .' for n, name in NAMES.items()]
        for number in (1, 3):
            lines.append(f"<{ENTITY}Q{number}> <{DIRECT}P31> <{ENTITY}Q6256> .")
            lines.append(f"<{ENTITY}Q{number}> <{DIRECT}P30> <{ENTITY}Q2> .")
        (root / "dumps").mkdir()
        (root / "dumps" / f"wikidata-{DAY}-truthy-BETA.nt.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
        yield root


def add_wiki(project: Path) -> None:
    for name, rows in tables(PAGES).items():
        (project / "dumps" / f"testwiki-{DAY}-{name}.sql.gz").write_bytes(gzip.compress(dump(name, rows)))


def test_a_build_from_dumps_needs_no_service(project: Path) -> None:
    add_wiki(project)
    source = f"dump:{project / 'dumps'}"
    outcome = dual_data("build", "links", "--project", project, "--source", source)
    assert outcome.code == 0, outcome.err
    assert f"wikidata-{DAY}-truthy-BETA.nt.gz: imported: 4 claims, 3 terms" in outcome.err
    assert "facts: 2 rows, 0 rejected\n" in outcome.err
    links = pl.read_parquet(project / "artifacts" / "dual" / "links" / "data.parquet")
    counted = links.sort("qid").select("qid", "title", "inbound_links", "method", "counted_on", "capped").rows()
    day = f"{DAY[:4]}-{DAY[4:6]}-{DAY[6:]}"
    assert counted == [
        ("Q1", "Orbus", 0, "dump", day, False),
        ("Q2", "Selmia", 2, "dump", day, False),
        ("Q3", "Varn", 1, "dump", day, False),
    ]
    manifest = read_manifest(project / "artifacts" / "dual" / "links")
    assert manifest is not None
    assert manifest.params()["folder"] == "dumps"
    assert "folder" not in manifest.basis.params, "moved dumps are the same dumps"
    assert len(manifest.basis.sources) == 5
    again = dual_data("build", "links", "--project", project, "--source", source)
    assert again.code == 0
    assert "already imported" in again.err
    assert "never built" not in again.err
    (project / "dumps").rename(project / "moved")
    moved = dual_data("build", "links", "--project", project, "--source", f"dump:{project / 'moved'}", "--dry-run")
    assert [line.split()[1] for line in moved.out.splitlines()[2:4]] == ["current", "current"]
    (project / "moved").rename(project / "dumps")
    plan = dual_data("build", "links", "--project", project, "--source", source, "--dry-run")
    assert [line.split()[1] for line in plan.out.splitlines()[2:4]] == ["current", "current"]
    assert "Out of date" not in dual_data("show", "--project", project).out
    relation = project / "pipeline" / "relations" / "P30.toml"
    relation.write_text(f"{relation.read_text()}# changed\n")
    summary = dual_data("show", "--project", project).out
    assert "\nOut of date: facts must rerun (pipeline/relations/P30.toml changed); links may rerun; " in summary
    command = f"dual-data build --project {project} --profile dual"
    assert f"; run: {command} --source dump:{project / 'dumps'}\n" in summary


def test_a_dump_without_rows_is_said_to_have_none(project: Path) -> None:
    (project / "dumps" / f"testwiki-{DAY}-redirect.sql.gz").write_bytes(gzip.compress(dump("redirect", [])))
    assert f"testwiki-{DAY}-redirect.sql.gz: imported: no rows\n" in dual_data("dumps", "import", project / "dumps").out


@pytest.mark.spark
def test_a_build_on_spark_gives_the_same_rows(project: Path) -> None:
    require_spark()
    add_wiki(project)
    options = ("build", "links", "--project", project, "--source", f"dump:{project / 'dumps'}")
    tables = [project / "artifacts" / "dual" / stage / "data.parquet" for stage in ("facts", "links")]
    assert dual_data(*options).code == 0
    expected = [content_hash(pl.read_parquet(table)) for table in tables]
    shutil.rmtree(project / "artifacts")
    outcome = dual_data(*options, "--engine", "spark", "--master", "local[2]")
    assert outcome.code == 0, outcome.err
    assert "facts: 2 rows, 0 rejected\n" in outcome.err
    assert [content_hash(pl.read_parquet(table)) for table in tables] == expected
    manifest = read_manifest(project / "artifacts" / "dual" / "links")
    assert manifest is not None
    assert manifest.params()["compute"] == {"engine": "spark", "master": "local[2]"}


def test_without_pyspark_both_stages_that_read_dumps_with_it_say_so_first(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_wiki(project)
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pyspark" else found(name))
    assert dual_data("dumps", "import", project / "dumps").code == 0
    source = f"dump:{project / 'dumps'}"
    outcome = dual_data("build", "links", "--project", project, "--source", source, "--engine", "spark")
    assert outcome.code == 2
    message = f"pyspark is not installed. Install it with: pip install -e '{ROOT}[spark]'"
    assert f"error: facts, links: {message}\n" in outcome.err
    assert dual_data("build", "links", "--project", project, "--source", source).code == 0


def test_without_wikipedias_tables_links_stay_as_the_profile_says(project: Path) -> None:
    source = f"dump:{project / 'dumps'}"
    unread = dual_data("build", "facts", "--project", project, "--source", source, "--dry-run")
    assert unread.code == 2
    assert "not imported yet; run: dual-data dumps import" in unread.err
    assert not (project / "dumps" / "imported").exists()
    imported = dual_data("dumps", "import", project / "dumps")
    assert imported.out.startswith(f"wikidata-{DAY}-truthy-BETA.nt.gz: imported")
    plan = dual_data("build", "links", "--project", project, "--source", source, "--dry-run")
    assert plan.code == 0, plan.err
    assert dual_data("build", "facts", "--project", project, "--source", source).code == 0
    replanned = dual_data("build", "links", "--project", project, "--source", source, "--dry-run")
    assert "links  wikipedia" in replanned.out, "the service that the profile names"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--source", "sparql"], "--source sparql: dump:DIR is expected"),
        (["--source", "dump:"], "dump:DIR is expected"),
        (["--engine", "spark"], "are options of --source dump:DIR"),
        (["--source", "dump:nowhere"], "nowhere: no such folder; get the dumps with"),
    ],
)
def test_options_that_do_not_fit_are_named(project: Path, options: list[str], message: str) -> None:
    outcome = dual_data("build", "--project", project, *options)
    assert outcome.code == 2
    assert message in outcome.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--engine", "dask"], "facts.compute.engine: must be 'polars' or 'spark'"),
        (
            ["--engine", "spark", "--master", "nonsense:1"],
            "facts.compute.master: 'nonsense:1' is not a master of Spark such as local[*]",
        ),
        (["lynks"], "lynks: no such stage; the stages are: facts, links"),
    ],
)
def test_wrong_options_are_named_before_dumps_are_imported(project: Path, options: list[str], message: str) -> None:
    outcome = dual_data("build", "facts", "--project", project, "--source", f"dump:{project / 'dumps'}", *options)
    assert outcome.code == 2
    assert message in outcome.err
    assert not (project / "dumps" / "imported").exists()
