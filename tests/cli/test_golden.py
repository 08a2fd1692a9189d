"""Texts for users, word for word: help, a plan, a summary. DUAL_DATA_UPDATE_GOLDEN=1 rewrites the files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import Outcome, dual_data, project_on_table
from tests.cli.test_main import COMMANDS

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "cli"
TABLE = "subject_qid,subject_label,property_id,object_qid,object_label\nQ1,Orbus,P30,Q2,Selmia\nQ3,Varn,P30,Q2,Selmia\nQ4,Uln,P30,Q4,Uln\n"
PROFILE = """\
[project]
name = "mine"

[services.pace]
probe = { per_minute = 60 }

[facts]
source = "tables"
folder = "tables"

[links]
method = "none"

[[knowledge.models]]
name = "small"
endpoint = { base_url = "http://127.0.0.1:9/v1", model = "small" }
"""


def same_as_golden(name: str, text: str) -> None:
    """Compare with the golden file, after writing it if requested."""
    path = GOLDEN / f"{name}.txt"
    text = text.rstrip() + "\n"
    if os.environ.get("DUAL_DATA_UPDATE_GOLDEN") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def same_error(name: str, outcome: Outcome, root: Path) -> None:
    """Compare a command's stderr with a golden file, independently of paths and ports."""
    message = re.sub(r"(127\.0\.0\.1|localhost):\d+", r"\1:PORT", outcome.err.replace(str(root), "PROJECT"))
    message = message.replace("A parquet file", "A Parquet file")  # polars before 1.41
    same_as_golden(f"errors/{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}", message)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    with project_on_table(tmp_path / "mine", PROFILE, TABLE) as root:
        yield root


@pytest.mark.parametrize("path", [(), *COMMANDS], ids=lambda path: "-".join(path) or "dual-data")
def test_help(path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERMINAL_WIDTH", "100")
    monkeypatch.setenv("COLUMNS", "100")
    same_as_golden(f"help/{'-'.join(path) or 'dual-data'}", dual_data(*path, "--help").out)


def test_plans_and_summary(project: Path) -> None:
    options = ("--project", project, "--profile", "mine")
    same_as_golden("plan-of-a-new-project", dual_data("build", "--dry-run", *options).out)
    assert not (project / "artifacts").exists()
    outcome = dual_data("build", "questions", "links", *options)
    assert outcome.code == 0, outcome.err
    same_as_golden("build-report", outcome.err)
    same_as_golden("build-report-of-what-stands", dual_data("build", "questions", "links", *options).err)
    before = {path: path.stat().st_mtime_ns for path in project.rglob("*")}
    same_as_golden("plan-of-the-rest", dual_data("build", "--dry-run", *options).out)
    assert {path: path.stat().st_mtime_ns for path in project.rglob("*")} == before
    summary = dual_data("show", *options).out.replace(str(project), "PROJECT")
    same_as_golden("summary", re.sub(r"\d+\.\d$", "0.0", summary, flags=re.MULTILINE))


def test_summary_of_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = dual_data("show", "--project", project, "--profile", "mine")
    assert outcome.code == 1
    assert f"nothing is built here yet; run: dual-data build --project {project} --profile mine\n" in outcome.err
    profile = project / "my profile.toml"
    profile.write_text(PROFILE.replace("mine", "other"))
    outcome = dual_data("show", "--project", project, "--profile", profile)
    assert f"run: dual-data build --project {project} --profile '{profile}'\n" in outcome.err
    (project / "pipeline" / "own").mkdir()
    monkeypatch.chdir(project / "pipeline" / "own")
    outcome = dual_data("show", "--profile", "mine")
    message = "nothing is built here yet; run: dual-data build --profile mine\n"
    assert message in outcome.err, "nothing that is not needed"


def test_where_another_profile_is_built_it_is_named(project: Path) -> None:
    built = ("--project", project, "--profile", "mine")
    assert dual_data("build", "facts", *built).code == 0
    (project / "pipeline" / "faulty.toml").write_text("[project]\nnam = 5\n")
    named = f"Built: --profile mine. To build this one, run: dual-data build --project {project} --profile dual\n"
    for command, fault in (
        ("show", "dual: nothing is built here yet"),
        ("report", "dual: nothing is built here yet"),
        ("release", "dual/facts: is not built"),
    ):
        outcome = dual_data(command, "--project", project)
        assert (outcome.code, outcome.err) == (1, f"error: {project / 'artifacts'}/{fault}. {named}")
    of_mine = f"mine/links: is not built; run: dual-data build --project {project} --profile mine\n"
    assert dual_data("release", *built).err == f"error: {project / 'artifacts'}/{of_mine}"


def test_a_table_cut_off_in_the_middle(project: Path) -> None:
    options = ("--project", project, "--profile", "mine")
    assert dual_data("build", "questions", *options).code == 0
    table = project / "artifacts" / "mine" / "questions" / "data.parquet"
    table.write_bytes(table.read_bytes()[:1000])
    outcome = dual_data("show", *options)
    assert outcome.code == 1
    assert outcome.err.startswith(f"error: {table}: cannot be read (")
    assert outcome.err.endswith(f"); run: dual-data build --project {project} --profile mine questions\n")
    planned = dual_data("build", "--dry-run", *options)
    assert planned.code == 0
    assert "data.parquet is not what was written" in planned.out
    assert dual_data("build", "questions", *options).code == 0
    assert dual_data("show", *options).code == 0
