"""`relations preview`: the questions that a relation gives, or why it gives none."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dual_data.project import relations
from tests.cli.command import dual_data, project_on_table
from tests.services import require

PROFILE = '[project]\nname = "mine"\n[facts]\nsource = "tables"\nfolder = "tables"\n[links]\nmethod = "none"\n'
RELATION = """\
property = "P1082"
name = "population"
topics = ["places_country"]
object = "quantity"

[questions]
canonical = "What is the population of {subject}?"
validation = ["How many people live in {subject}?"]
training = ["State the population of {subject}."]
test = ["How large is the population of {subject}?"]
"""
TABLE = """\
subject_qid,subject_label,property_id,object_value
Q1,Orbus,P1082,37589262
Q3,Varn,P1082,120000
Q1,Orbus,P571,1867
Q1,Orbus,P2046,324 Q712226
Q1,Orbus,P999999,of another relation
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    with project_on_table(tmp_path / "mine", PROFILE, TABLE) as root:
        yield root


def preview(root: Path, stem: str, old: str = "", new: str = "") -> str:
    """What the preview prints of the relation above as `stem`, changed from `old` to `new`."""
    assert old in RELATION
    text = RELATION.replace("P1082", stem).replace(old, new, 1)
    (root / "pipeline" / "relations" / f"{stem}.toml").write_text(text)
    words = ("relations", "preview", stem, "--project", root, "--profile", "mine", "--limit", "2")
    outcome = dual_data(*words)
    assert (outcome.code, outcome.err) == (0, "")
    return outcome.out


@pytest.mark.parametrize(
    ("stem", "old", "new", "reject"),
    [
        (
            "P1082", '"quantity"', '"date"',
            '2 statements: wrong_kind, such as Orbus: 37589262\n'
            '    hint: object = "date" may be the wrong kind for such objects; tables write dates as 1889-03-31, March '
            "1889 or 1889\n",
        ),
        (
            "P571", '"quantity"', '"date"\nprecision = "day"',
            "1 statement: precision_too_low, such as Orbus: 1867\n"
            '    hint: precision = "day" may be finer than such dates\n',
        ),
        (
            "P2046", "", "",
            "1 statement: unit_not_asked, such as Orbus: 324 Q712226\n"
            "    hint: unit must be the item after the number, and be left out if there is none\n",
        ),
    ],
)  # fmt: skip
def test_what_is_rejected_before_the_questions_is_told(
    project: Path, stem: str, old: str, new: str, reject: str
) -> None:
    assert preview(project, stem, old, new) == f"No question came of it. A build would reject:\n  {reject}"


def test_wordings_that_are_left_out_for_a_fact_are_counted(project: Path) -> None:
    one = '["How many people live in {subject}?"]'
    three = '["How many people live in {subject}?", "Do 37,589,262 live in {subject}?", "Who counts {subject}?"]'
    text = preview(project, "P1082", one, three)
    questions = {name: next(part for part in text.split("\n\n") if name in part) for name in ("Orbus", "Varn")}
    assert questions["Orbus"].endswith(
        "\n  left out: 2 of 3 validation wordings: some give the answer away; validation keeps an odd number"
    )
    assert "left out" not in questions["Varn"]


def test_rejects_stand_below_the_questions(project: Path) -> None:
    with (project / "tables" / "places_country.csv").open("a") as table:
        table.write("Q4,Uln,P1082,some\nQ5,Osk,P1082,many\n")
    questions, _, rejects = preview(project, "P1082").rpartition("\n\n")
    assert questions.count("What is the population of") == 2
    assert rejects.startswith("Of 4 statements, a build would reject:\n  2 statements: wrong_kind, such as Uln: some\n")
    assert "for such objects; tables write numbers as 1,234.5, alone or before" in rejects


def test_questions_that_a_build_would_reject_are_counted_where_not_all_are_shown(project: Path) -> None:
    table = project / "tables" / "places_country.csv"
    names = ["Neon", "Cobalt", "Zink", "Argon", "Barium", "Calcium", "Iodine", "Oxygen", "Helium"]
    symbols = [("Iron", "Fe"), ("Gold", "Au"), ("Lead", "Pb"), *((name, name[:2]) for name in names)]
    rows = [f"Q{number},{name},P1000001,{symbol}" for number, (name, symbol) in enumerate(symbols, 1)]
    table.write_text("\n".join(["subject_qid,subject_label,property_id,object_value", *rows, ""]))
    text = preview(project, "P1000001", '"quantity"', '"text"')
    assert "  rejected: " not in text
    told = text.rpartition("\n\n")[2]
    assert re.fullmatch(
        r"Of 12 statements, a build would reject:\n  9 statements: answer_is_prefix, such as "
        r"What is the population of (\w\w)(\w+)\?: \1\n",
        told,
    ), told


def test_a_sample_of_empty_cells_shows_what_there_is(project: Path) -> None:
    table = project / "tables" / "places_country.csv"
    profile = project / "pipeline" / "mine.toml"
    profile.write_text(PROFILE.replace('"tables"', '"labels"', 1))
    for cells, sample in (("Orbus,P1082,", ", such as Orbus"), (",P1082,", "")):
        table.write_text(f"subjectLabel,relation,objectLabel\n{cells}\n")
        assert (
            preview(project, "P1082")
            == f"No question came of it. A build would reject:\n  1 statement: empty{sample}\n"
        )


def test_a_relation_that_no_row_states_is_said_to_be_absent(project: Path) -> None:
    assert preview(project, "P36") == "At this source, no subject of the relation's topics has P36.\n"
    assert "no subject" not in preview(project, "P1082")


@pytest.mark.parametrize(
    ("topics", "profile", "fault"),
    [
        ('["country", "town"]', "mine", "topics: 'country' is not in pipeline/topics.toml; did you mean 'places_country'?"),
        (
            '["art_sculpture"]', "embedded",
            "topics: the profile {root}/pipeline/embedded.toml builds none of art_sculpture; its topics under [facts] "
            "are places_country, places_region, language: name one of them, or take another profile",
        ),
    ],
)  # fmt: skip
def test_topics_that_give_no_subject_are_told(project: Path, topics: str, profile: str, fault: str) -> None:
    path = project / "pipeline" / "relations" / "P1622.toml"
    path.write_text(RELATION.replace("P1082", "P1622").replace('["places_country"]', topics))
    outcome = dual_data("relations", "preview", "P1622", "--project", project, "--profile", profile)
    assert (outcome.code, outcome.out) == (2, "")
    first, *further = outcome.err.splitlines()
    assert first == f"error: {path}: {fault.format(root=project)}"
    assert further == [f"error: {path}: topics: 'town' is not in pipeline/topics.toml"] * topics.count(",")


def test_tables_beside_the_project_are_read_in_a_preview_too(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = preview(project, "P1082")
    (project / "tables").rename(project.parent / "tables of all projects")
    profile = project / "pipeline" / "mine.toml"
    text = profile.read_text()
    for folder in ("../tables of all projects", "./../tables of all projects"):
        profile.write_text(text.replace('"tables"\n[links]', f'"{folder}"\n[links]'))
        assert preview(project, "P1082") == inside
    monkeypatch.chdir(project)  # where the project's folder is "."
    outcome = dual_data("relations", "preview", "P1082", "--profile", "mine", "--limit", "2")
    assert (outcome.code, outcome.out) == (0, inside), outcome.err


def test_a_relation_is_named_by_its_file_too(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_name = preview(project, "P1082")
    monkeypatch.chdir(project / "tables")
    for path in (project / "pipeline" / "relations" / "P1082.toml", "../pipeline/relations/P1082.toml"):
        outcome = dual_data("relations", "preview", path, "--profile", "mine", "--limit", "2")
        assert (outcome.code, outcome.out) == (0, by_name), outcome.err


@pytest.mark.parametrize("name", ["p30", "tables/P30.toml", "P30.csv", "capital"])
def test_what_is_no_id_of_a_relation_is_not_suggested_as_one(project: Path, name: str) -> None:
    outcome = dual_data("relations", "preview", name, "--project", project, "--profile", "mine")
    assert outcome.code == 2
    assert outcome.err == (
        f"error: {name}: not the id of a relation; name it by its id as dual-data relations list --project {project} "
        "shows it, such as P36 or P17_river, or by its file\n"
    )


def test_more_subjects_are_not_asked_for_only_to_be_rejected(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = []
    questions = relations._questions

    def counted(*arguments: Any) -> Any:
        limits.append(arguments[1].limit)
        return questions(*arguments)

    monkeypatch.setattr(relations, "_questions", counted)
    preview(project, "P1082", '"quantity"', '"date"')
    assert limits == [2]
    limits.clear()
    preview(project, "P36")
    assert limits == [2 * widening for widening in relations.WIDENING]


@pytest.mark.parametrize("word", ["...", "population"])
def test_a_question_that_is_not_filled_in_is_not_previewed(project: Path, word: str) -> None:
    path = project / "pipeline" / "relations" / "P1082.toml"
    path.write_text(RELATION.replace("the population of", f"the {word} of", 1))
    outcome = dual_data("relations", "preview", "P1082", "--project", project, "--profile", "mine")
    fault = f"error: {path}: questions.canonical: 'What is the ... of {{subject}}?' is not filled in"
    assert (outcome.code, outcome.err.partition(";")[0]) == ((2, fault) if word == "..." else (0, ""))


def test_a_relation_that_the_snapshot_lacks_is_named_whether_by_name_or_by_file(project: Path) -> None:
    try:
        import pyoxigraph  # noqa: F401
    except ImportError:
        require(False, "pyoxigraph is not installed (pip install 'dual-data[embedded]')")
    path = project / "pipeline" / "relations" / "P36.toml"
    path.write_text(RELATION.replace("P1082", "P36"))
    for named in ("P36", path):
        outcome = dual_data("relations", "preview", named, "--project", project, "--profile", "embedded")
        assert outcome.out == (
            "The embedded snapshot has no P36 for a subject of the relation's topics; try another profile. It has P17, "
            "P30, P31, P47, P131, P218, P219, P220, P279, P297, P298, P299, P300, P361, P424, P463, P474, P901, P1082, "
            "P1366, P1448, P1566, P1622, P1705, P2082, P2936.\n"
        )


def test_a_relation_that_the_snapshot_has_of_other_subjects_is_told_apart(project: Path) -> None:
    require(importlib.util.find_spec("pyoxigraph"), "pyoxigraph is not installed (pip install 'dual-data[embedded]')")
    path = project / "pipeline" / "relations" / "P1366.toml"
    path.write_text(RELATION.replace("P1082", "P1366"))
    outcome = dual_data("relations", "preview", "P1366", "--project", project, "--profile", "embedded")
    assert outcome.out == (
        "The embedded snapshot has P1366, but for no subject of the relation's topics; name another topic, or try "
        "another profile.\n"
    )


@pytest.mark.parametrize(("stem", "named"), [("P1083", False), ("P1000000_town", True)])
def test_the_preview_of_a_relation_of_ones_own_names_the_profile(project: Path, stem: str, named: bool) -> None:
    out = dual_data("relations", "new", stem, "--project", project).out
    told = f"dual-data relations preview {stem} --project {project}"
    assert out.endswith(f"  {told} --profile NAME   # whose tables name it\n" if named else f"  {told}\n")


def test_objects_of_other_classes_are_told_at_the_snapshot(project: Path) -> None:
    try:
        import pyoxigraph  # noqa: F401
    except ImportError:
        require(False, "pyoxigraph is not installed (pip install 'dual-data[embedded]')")
    path = project / "pipeline" / "relations" / "P30.toml"
    path.write_text(path.read_text().replace("unique", 'object_classes = ["Q5"]\nunique'))
    out = dual_data("relations", "preview", "P30", "--project", project, "--profile", "embedded").out
    assert "5 statements: wrong_class, such as Canada: North America\n" in out
    assert "hint: object_classes may lack the class of such objects\n" in out


def test_answers_of_the_sample_are_not_shown_as_if_they_were_all(project: Path) -> None:
    told = "The answers are those among 2 statements taken here: a build takes all, and accepts every object of a"
    assert told in preview(project, "P1082", 'object = "quantity"', 'object = "quantity"\nunique = "any"')
    assert "taken here" not in preview(project, "P1082")
