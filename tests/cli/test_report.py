"""`dual-data report`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import dual_data, project_on_table
from tests.cli.test_golden import PROFILE, TABLE


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    with project_on_table(tmp_path / "mine", PROFILE, TABLE) as root:
        yield root


def test_report(project: Path, tmp_path: Path) -> None:
    options = ("--project", project, "--profile", "mine")
    nothing = dual_data("report", *options)
    assert nothing.code == 1
    assert f"nothing is built here yet; run: dual-data build --project {project} --profile mine\n" in nothing.err

    assert dual_data("build", "questions", "links", *options).code == 0
    page = project / "artifacts" / "mine" / "report.html"
    doubts = (
        "Before you cite this build:\n"
        "  The stage knowledge is not built.\n"
        "  The stage salience is not built.\n"
        "  The stage splits is not built.\n"
        "  The commit of the project that built it is not known.\n"
    )
    assert dual_data("report", *options) == (0, f"{page}\n", doubts)
    assert "On which continent is Orbus?" in page.read_text()

    elsewhere, figures = tmp_path / "new" / "page.html", tmp_path / "figures"
    outcome = dual_data("report", *options, "--out", elsewhere, "--figures", figures)
    assert outcome == (0, f"{elsewhere}\n{figures}: 2 files\n", doubts)
    assert elsewhere.read_bytes() == page.read_bytes()
    assert sorted(path.name for path in figures.iterdir()) == ["stages.png", "stages.svg"]


def test_what_is_out_of_date_is_told(project: Path) -> None:
    options = ("--project", project, "--profile", "mine")
    assert dual_data("build", "questions", "links", "--limit", "2", *options).code == 0
    page, tables = project / "artifacts" / "mine" / "report.html", project / "tables"
    summary = dual_data("show", *options).out
    assert dual_data("report", *options).code == 0
    assert "out of date" not in summary + page.read_text(), "a limit alone is no reason"

    relation = project / "pipeline" / "relations" / "P30.toml"
    relation.write_text(relation.read_text().replace("On which continent is", "Where in the world is"))
    why = (
        "facts must rerun (pipeline/relations/P30.toml changed); links, questions may rerun; "
        f"run: dual-data build --project {project} --profile mine --limit 2"
    )
    assert f"\nOut of date: {why}\n" in dual_data("show", *options).out
    assert dual_data("report", *options).code == 0
    assert f"<li>The build is out of date: {why}.</li>" in page.read_text()

    assert dual_data("build", "facts", "--limit", "1", *options).code == 0
    relation.write_text(relation.read_text().replace("Where in the world is", "On which continent is"))
    command = f"dual-data build --project {project} --profile mine"
    assert f"; run: {command}\n" in dual_data("show", *options).out, "a common limit would cut a stage short"
    assert dual_data("build", "questions", "links", "--limit", "2", *options).code == 0
    relation.write_text(relation.read_text().replace("On which continent is", "Where in the world is"))

    tables.rename(project / "elsewhere")
    outcome = dual_data("show", *options)
    assert outcome.code == 0
    assert "questions must rerun (pipeline/relations/P30.toml changed); run:" in outcome.out
    assert "facts must" not in outcome.out, "whether they changed cannot be looked at"


def test_a_manifest_that_cannot_be_read_is_told(project: Path) -> None:
    options = ("--project", project, "--profile", "mine")
    assert dual_data("build", "questions", "links", *options).code == 0
    artifacts = project / "artifacts" / "mine"
    for stage in ("salience", "splits"):
        (artifacts / stage).mkdir()
        (artifacts / stage / "manifest.json").write_text("{")
    why = (
        "salience must rerun (its manifest cannot be read); splits may rerun; "
        f"run: dual-data build --project {project} --profile mine"
    )
    assert f"\nOut of date: {why}\n" in dual_data("show", *options).out
    outcome, page = dual_data("report", *options), (artifacts / "report.html").read_text()
    assert outcome.code == 0
    for doubt in ("The manifest of the stage splits cannot be read.", f"The build is out of date: {why}."):
        assert f"\n  {doubt}\n" in outcome.err
        assert f"<li>{doubt}</li>" in page
    assert "The manifest of the stage salience cannot be read. So there are no scores" in page
    assert "The stage splits is not built" not in outcome.err + page


def test_a_page_is_no_folder(project: Path, tmp_path: Path) -> None:
    outcome = dual_data("report", "--project", project, "--out", tmp_path)
    message = f"error: --out {tmp_path}: is a folder; name a file, such as {tmp_path / 'report.html'}\n"
    assert outcome == (2, "", message)


def test_a_page_replaces_no_file_of_another_kind(project: Path) -> None:
    profile = project / "pipeline" / "dual.toml"
    before = profile.read_bytes()
    outcome = dual_data("report", "--project", project, "--out", profile)
    message = f"error: --out {profile}: is not the name of a page; name a file that ends in .html\n"
    assert outcome == (2, "", message)
    assert profile.read_bytes() == before
