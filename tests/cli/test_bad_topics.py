"""A wrong topics.toml: one clear message that names file and key, exit code 2, nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command import dual_data
from tests.cli.faults import Fault, edited, expect_fault, replaced

FAULTS: dict[str, Fault] = {
    "topics that no stage reads": (
        replaced("pipeline/more.toml", '[places_village]\nclasses = ["Q532"]\n'),
        r"more.toml: nothing reads it: it has neither \[project\] nor \[grids\]; topics are in pipeline/topics.toml",
    ),
    "topic without class": (
        replaced("pipeline/topics.toml", "[a]\nclasses = []\n"),
        "topics.toml: a.classes: name at least one$",
    ),
    "topic with a wrong class": (
        replaced("pipeline/topics.toml", '[a]\nclasses = ["515"]\n'),
        "topics.toml: a.classes.0: '515' is not a Wikidata item id such as Q515",
    ),
    "topic with a hyphen": (
        replaced("pipeline/topics.toml", '[my-topic]\nclasses = ["Q515"]\n'),
        "topics.toml: my-topic: is not a valid topic name: .*lower-case letters a to z, digits and _$",
    ),
    "topic named as all topics are": (
        replaced("pipeline/topics.toml", '[all]\nclasses = ["Q515"]\n'),
        "topics.toml: all: is reserved for the splits of all topics together, .*; give the topic another name$",
    ),
    "topic limit of nothing": (
        replaced("pipeline/topics.toml", '[a]\nclasses = ["Q515"]\nlimit = 0\n'),
        "topics.toml: a.limit: .*greater than or equal to 1",
    ),
    "topic without a limit, by a number that no frame can count": (
        replaced("pipeline/topics.toml", '[a]\nclasses = ["Q515"]\nlimit = 10_000_000_000\n'),
        "topics.toml: a.limit: .*less than or equal to 2147483648",
    ),
    "article that the engine refuses": (
        replaced("pipeline/topics.toml", '[a]\nclasses = ["Q515"]\narticle = ["^(a)\\\\1"]\n'),
        "topics.toml: a.article: .* is not a supported regular expression: backreferences are not supported$",
    ),
    "article that is no pattern": (
        replaced("pipeline/topics.toml", '[a]\nclasses = ["Q515"]\narticle = ["("]\n'),
        "topics.toml: a.article: '\\(' is not a supported regular expression: unclosed group$",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_check_names_file_and_key(project: Path, fault: str) -> None:
    expect_fault(project, fault, *FAULTS[fault])


@pytest.mark.parametrize(("language", "refused"), [("de", True), ("en-GB", False)])
def test_an_english_article_is_refused_in_another_language(project: Path, language: str, refused: bool) -> None:
    edited("pipeline/embedded.toml", r"\[project\]", f'[project]\nlanguage = "{language}"')(project)
    message = (
        'topics.toml: `article` puts the English "the" into questions, but language = "de" in '
        f"{project}/pipeline/embedded.toml; remove it from art_sculpture, business_corporation, "
    )
    for command in (["check"], ["build", "--dry-run", "--profile", "embedded"]):
        outcome = dual_data(*command, "--project", project)
        assert (outcome.code == 2) == refused, outcome.err
        assert (message in outcome.err) == refused


@pytest.mark.parametrize("change", ["limt = 3\n", "limit = 3\nlimit = 4\n"])
def test_topics_that_cannot_be_read_are_one_fault(project: Path, change: str) -> None:
    topics = project / "pipeline" / "topics.toml"
    topics.write_text(topics.read_text().replace("limit = 1000\n", change, 1))
    outcome = dual_data("check", "--project", project)
    assert outcome.code == 2
    assert outcome.err.count("error: ") == 1
    assert "topics.toml: " in outcome.err


def test_topics_that_are_missing_are_one_fault(project: Path) -> None:
    (project / "pipeline" / "topics.toml").unlink()
    outcome = dual_data("check", "--project", project)
    assert outcome.err.startswith(
        f"error: {project / 'pipeline' / 'topics.toml'}: no such file; a TOML file is expected"
    )
    assert outcome.err.count("error: ") == 1


def test_a_topic_without_classes_is_named_where_its_subjects_are_asked_for(project: Path) -> None:
    with (project / "pipeline" / "topics.toml").open("a") as file:
        file.write("\n[planets]\n\n[moons]\nlimit = 5\n")
    outcome = dual_data("check", "--project", project)
    # The profile embedded names its topics, which have classes.
    assert outcome.err == (
        f"error: {project / 'pipeline' / 'dual.toml'}: facts.source: 'sparql' finds subjects by their classes, but "
        "pipeline/topics.toml has none for planets, moons; add them, or list the topics to build as facts.topics\n"
        "1 fault\n"
    )
    tables = '[project]\nname = "dual"\n[facts]\nsource = "{}"\nfolder = "tables"\n'
    (project / "tables").mkdir()
    (project / "tables" / "planets.csv").write_text("subjectLabel,relation,objectLabel\n")
    for source in ("labels", "tables"):
        (project / "pipeline" / "dual.toml").write_text(tables.format(source))
        assert dual_data("check", "--project", project).code == 0
    (project / "pipeline" / "dual.toml").write_text(tables.format("resolve"))
    assert dual_data("check", "--project", project).err.endswith(" planets, moons; add them\n1 fault\n")
