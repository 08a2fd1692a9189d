"""The recipes of CONTRIBUTING.md, followed step by step in a project of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import polars as pl
import pytest

from tests.cli.command import ROOT, copy_project, dual_data, forget_pipeline, own_project
from tests.services import require

GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PROFILE = """\
[project]
name = "mine"

[services]
sparql = "embedded"

[facts]
topics = ["places_country"]

[links]
method = "in_degree"
"""

NEW_RELATION = """\
property = "P299"
name = "ISO 3166-1 numeric code"
topics = ["places_country"]
object = "text"

[questions]
canonical = "Which number does {subject} have in ISO 3166-1?"
validation = ["What number does ISO 3166-1 give to {subject}?"]
training = ["State the ISO 3166-1 number of {subject}."]
test = ["By which number does ISO 3166-1 know {subject}?"]
statement = "The ISO 3166-1 number of {subject} is {answer}."
"""

STAGE = '''\
"""How long each answer is."""

import dataframely as dy
import polars as pl

from dual_data.config import Strict
from dual_data.engine.stage import Stage


class Lengths(dy.Schema):
    """One row a question."""

    fact_id = dy.String(primary_key=True)
    characters = dy.UInt32(min=1)


class LengthsParams(Strict):
    """What counts."""

    longest: int = 2
    """Longer answers are rejected."""


def run(params, tools, *, questions):
    """Count."""
    characters = pl.col("answer").str.len_chars()
    reason = pl.when(characters > params.longest).then(pl.lit("long"))
    return questions.select("fact_id", characters=characters, reason=reason)


LENGTHS = Stage(name="lengths", version=1, run=run, schema=Lengths, params=LengthsParams, inputs=("questions",))
'''


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """A project of its own with the embedded snapshot."""
    try:
        import pyoxigraph  # noqa: F401
    except ImportError:
        require(False, "pyoxigraph is not installed (pip install 'dual-data[embedded]')")
    with own_project(tmp_path / "mine", "P30", "P297") as root:
        (root / "pipeline" / "mine.toml").write_text(PROFILE)
        yield root


def build(root: Path, *stages: str) -> str:
    """Build and return the messages on stderr."""
    forget_pipeline()
    outcome = dual_data("build", *stages, "--project", root, "--profile", "mine")
    assert outcome.code == 0, outcome.err
    return outcome.err


def table(root: Path, stage: str, name: str = "data") -> pl.DataFrame:
    return pl.read_parquet(root / "artifacts" / "mine" / stage / f"{name}.parquet")


def test_add_a_relation(project: Path) -> None:
    build(project, "questions")
    before = table(project, "questions")
    assert dual_data("relations", "new", "P299", "--project", project).code == 0
    path = project / "pipeline" / "relations" / "P299.toml"
    assert dual_data("check", "--project", project).code == 2, "a skeleton that is not filled in must not pass"
    path.write_text(NEW_RELATION)
    assert len(NEW_RELATION.splitlines()) <= 15
    assert dual_data("check", "--project", project).code == 0
    outcome = dual_data("relations", "preview", "P299", "--limit", "3", "--project", project, "--profile", "mine")
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("in ISO 3166-1?") == 3
    assert outcome.out.count("test: By which number does ISO 3166-1 know ") == 3
    assert not (project / "artifacts" / "mine" / "previewed").exists()
    assert "pipeline/relations/P299.toml is new" in build(project, "questions")
    after = table(project, "questions")
    added = after.join(before, on="fact_id", how="anti")
    assert added.height > 20
    assert added["question"].str.ends_with("in ISO 3166-1?").all()
    assert before.join(after, on="fact_id", how="semi").height == before.height
    assert {path.name for path in (project / "pipeline").rglob("*.py")} == {
        p.name for p in (ROOT / "pipeline").rglob("*.py")
    }


def test_a_project_of_own_topics_alone_is_without_fault(tmp_path: Path) -> None:
    with own_project(tmp_path / "mine", "none") as root:
        pipeline = root / "pipeline"
        for name in ("dual.toml", "embedded.toml", *re.findall(r"`pipeline/(relations/EXCLUDED.toml)` and", GUIDE)):
            (pipeline / name).unlink()
        (pipeline / "topics.toml").write_text("[people_author]\narticle = []\n")
        relation = NEW_RELATION.replace("P299", "P1000000").replace("places_country", "people_author")
        (pipeline / "relations" / "P1000000.toml").write_text(relation)
        (pipeline / "mine.toml").write_text('[project]\n[facts]\nsource = "labels"\nfolder = "tables"\n')
        (root / "tables").mkdir()
        (root / "tables" / "people_author.csv").write_text("subjectLabel,relation,objectLabel\nA,P1000000,7\n")
        outcome = dual_data("check", "--project", root)
        assert (outcome.code, outcome.err) == (0, "")


def test_the_relation_to_add_is_one_that_does_not_ship(tmp_path: Path) -> None:
    (stem,) = set(re.findall(r"dual-data relations (?:new|preview) (\w+)", GUIDE))
    root = copy_project(tmp_path / "mine")
    outcome = dual_data("relations", "new", stem, "--project", root)
    assert outcome.code == 0, outcome.err
    skeleton = (root / "pipeline" / "relations" / f"{stem}.toml").read_text()
    assert all(f"# {key} = " in skeleton for key in ("precision", "unit", "unit_name"))


def test_add_a_source(project: Path) -> None:
    section = GUIDE.split("## Add a source\n")[1].partition("\n## ")[0]
    source, swap = (dedent(block) for block in re.findall(r"```python\n(.*?)```", section, re.DOTALL))
    (path,) = re.findall(r"`(pipeline/\w+\.py)`", section.partition("```")[0])
    (project / path).write_text(source)
    init = project / "pipeline" / "__init__.py"
    init.write_text(init.read_text().replace("from pipeline.facts import FACTS", swap.strip()))
    codes = project / "codes.json"
    codes.write_text('{"Q183": ["Germany", "DE"], "Q148": ["China", "CN"], "Q1000": [null, "GA"]}')
    profile = (
        '[project]\nname = "mine"\n[services.pace]\n"own:codes" = { per_minute = 600 }\n[links]\nmethod = "none"\n'
        f'[facts]\nurl = "{codes.as_uri()}"\n[salience]\nlocal = "nobody/nothing"\n'
    )
    (project / "pipeline" / "mine.toml").write_text(profile)
    forget_pipeline()
    faults = dual_data("check", "--project", project).err
    for name in ("dual", "embedded"):
        assert re.search(rf"pipeline/{name}\.toml: facts\.\w+: unknown key", faults), faults
        (project / "pipeline" / f"{name}.toml").unlink()
    checked = dual_data("check", "--project", project)
    assert (checked.code, checked.err) == (0, "")
    planned = dual_data("build", "--dry-run", "--project", project, "--profile", "mine")
    assert planned.code == 0, planned.err
    assert re.search(r"^salience .* known once facts is built$", planned.out, re.MULTILINE), planned.out
    assert "own:codes: 1 call, 0 replayed" in build(project, "questions")
    assert table(project, "facts")["subject_label"].to_list() == ["Germany", "China"]
    assert table(project, "facts", "rejected")["reason"].to_list() == ["no_label"]
    assert sorted(table(project, "questions")["answer"]) == ["CN", "DE"]


def test_add_a_stage(project: Path) -> None:
    (project / "pipeline" / "lengths.py").write_text(STAGE)
    init = project / "pipeline" / "__init__.py"
    text = init.read_text().replace("from pipeline.links", "from pipeline.lengths import LENGTHS\nfrom pipeline.links")
    init.write_text(text.replace("SPLITS)", "SPLITS, LENGTHS)"))
    forget_pipeline()
    planned = dual_data("build", "--dry-run", "--project", project, "--profile", "mine")
    assert re.search(r"^lengths +run +never built$", planned.out, re.MULTILINE), planned.out
    build(project, "lengths")
    answers = table(project, "questions").select("fact_id", pl.col("answer").str.len_chars())
    lengths = table(project, "lengths").join(answers, on="fact_id")
    assert (lengths["characters"] == lengths["answer"]).all()
    assert lengths["characters"].max() == 2
    assert table(project, "lengths", "rejected")["reason"].unique().to_list() == ["long"]
    with (project / "pipeline" / "mine.toml").open("a") as file:
        file.write("\n[lengths]\nlongest = 9\n")
    assert "lengths: parameter longest is 9, was 2" in build(project, "lengths")


def test_what_to_edit_in_dual_data_is_there() -> None:
    section = GUIDE.split("## Extend dual-data itself\n")[1].partition("\n## ")[0]

    def found(path: str) -> Path:
        package = ROOT / "dual_data"
        return package / path if (package / path).exists() else package / "evaluation" / path

    paths = set(re.findall(r"`([\w/]+(?:\.py|/))`", section)) - {"dual_data/", "dual_data/evaluation/"}
    assert {path for path in paths if not found(path).exists()} == set()
    named = re.findall(r"`(\w+)` of `([\w/]+\.py)`", section)
    assert len(named) >= 12
    for name, path in named:
        text = found(path).read_text(encoding="utf-8")
        assert re.search(rf"^ *(def )?{name}\b", text, re.MULTILINE), f"{path} has no {name}"
