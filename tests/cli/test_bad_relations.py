"""Wrong files of relations and exclusions: what `check` says of them, and what the other commands do about them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.command import dual_data
from tests.cli.faults import RELATION, Fault, edited, excluded, expect_fault, relation, replaced

FAULTS: dict[str, Fault] = {
    "broken TOML": (relation('name = "capital"', 'name = "capital'), "P36.toml: not valid TOML: .*line 2"),
    "long number": (relation('name = "capital"', f"name = {'9' * 5000}"), "P36.toml: not valid TOML: .*4300 digits"),
    "many brackets": (
        relation('name = "capital"', f"name = {'[' * 5000}"),
        "P36.toml: not valid TOML: too many brackets",
    ),
    "unknown key": (relation("object =", "objekt ="), "P36.toml: objekt: unknown key; known here: .*object"),
    "missing key": (relation('name = "capital"\n', ""), "P36.toml: name: is missing"),
    "wrong kind": (relation('"entity"', '"entities"'), "P36.toml: object: must be 'entity'"),
    "wrong property": (relation('"P36"', '"Q36"'), "P36.toml: property: 'Q36' is not a property id such as P36"),
    "misnamed file": (relation('"P36"', '"P37"'), "P36.toml: property: is P37, but the file is named P36.toml"),
    "conversion": (relation("{subject}", "{subject!r}"), r"P36.toml: questions.canonical: .*write \{subject\} alone"),
    "format": (relation("{subject}", "{subject:>9}"), r"P36.toml: questions.canonical: .*write \{subject\} alone"),
    "unknown variable": (
        relation("of {subject}?", "of {country}?"),
        r"P36.toml: questions.canonical: .*must hold \{subject\} exactly once",
    ),
    "no variable": (
        relation("of {subject}?", "of France?"),
        "P36.toml: questions.canonical: .*exactly once and no other",
    ),
    "no variable in a further wording": (
        relation("Which city does {subject} have", "Which city does it have"),
        r"P36.toml: questions.test.0: .*exactly once",
    ),
    "statement without an answer": (
        relation("[questions]", '[questions]\nstatement = "The capital of {subject} is Rome."'),
        r"P36.toml: questions.statement: .*must hold \{subject\} and \{answer\} exactly once",
    ),
    "broken braces": (relation("of {subject}?", "of {subject?"), "P36.toml: questions.canonical: "),
    "attribute access": (relation("{subject}", "{subject.__class__}"), "P36.toml: questions.canonical: .*exactly once"),
    "question without a mark": (
        relation("is the capital of {subject}?", "is the capital of {subject}"),
        r"P36.toml: questions.canonical: 'What is the capital of \{subject\}': end it with a question mark, or with",
    ),
    "instruction without a mark": (
        relation("Name the capital of {subject}.", "What {subject} has as its capital"),
        r"P36.toml: questions.training.0: 'What \{subject\} has as its capital': end it with a question mark",
    ),
    "article before the subject": (
        relation("does {subject} have", "does the {subject} have"),
        r"P36.toml: questions.test.0: .*write \{subject\} in place of 'the \{subject\}'; `article` of its topic",
    ),
    "article at the start of a statement": (
        relation("[questions]", '[questions]\nstatement = "The {subject} has the capital {answer}."'),
        r"P36.toml: questions.statement: .*write \{subject\} in place of 'The \{subject\}'",
    ),
    "too few questions": (relation('training = ["Name the capital of {subject}."]\n', ""), "at least 4 questions"),
    "even validation": (
        relation(
            '["Which city is the capital of {subject}?"]', '["Capital of {subject}?", "Tell the capital of {subject}."]'
        ),
        "validation needs an odd number",
    ),
    "same question twice": (
        relation("Name the capital of {subject}.", "what is the capital of {subject}?"),
        "have the same words",
    ),
    "same question but for punctuation": (
        relation("Name the capital of {subject}.", "What, is the capital of {subject} ?!"),
        "have the same words",
    ),
    "two spaces": (
        relation("Name the capital of {subject}.", "Name the  capital of {subject}."),
        r"P36.toml: questions.training.0: 'Name the  capital .*write it in one line without tabs, and single spaces",
    ),
    "control character": (
        relation("[questions]", '[questions]\nstatement = "The capital\\u0000 of {subject} is {answer}."'),
        "P36.toml: questions.statement: .*write it in one line",
    ),
    "line break": (relation("of {subject}?", r"of {subject}?\n"), "P36.toml: questions.canonical: .*in one line"),
    "question of the skeleton": (
        relation("What is the capital of", "What is the ... of"),
        r"P36.toml: questions.canonical: 'What is the \.\.\. of \{subject\}\?' is not filled in",
    ),
    "statement of the skeleton": (
        relation("[questions]", '[questions]\nstatement = "The ... of {subject} is {answer}."'),
        r"P36.toml: questions.statement: 'The \.\.\. of \{subject\} is \{answer\}\.' is not filled in",
    ),
    "blank name": (relation('name = "capital"', 'name = "  "'), "P36.toml: name: must not be blank"),
    "unknown topic": (relation("places_country", "places_contry"), "P36.toml: topics: 'places_contry' is not in"),
    "not a class id": (
        relation('object = "entity"', 'object = "entity"\nobject_classes = ["city"]'),
        "P36.toml: object_classes.0: 'city' is not a Wikidata item",
    ),
    "precision of an entity": (
        relation('object = "entity"', 'object = "entity"\nprecision = "day"'),
        'P36.toml: precision is only for object = "date", and this one is "entity"; leave it out',
    ),
    "unit of a text": (
        relation('object = "entity"', 'object = "text"\nunit = "Q11573"'),
        'P36.toml: unit is only for object = "quantity", and this one is "text"',
    ),
    "classes of a date": (
        relation('object = "entity"', 'object = "date"\nobject_classes = ["Q5"]'),
        'P36.toml: object_classes is only for object = "entity"',
    ),
    "not UTF-8": (replaced("pipeline/relations/P36.toml", b'name = "caf\xe9"'), "P36.toml: not UTF-8 at byte 11"),
    "NUL byte": (replaced("pipeline/relations/P36.toml", b'name = "a\x00b"'), "P36.toml: not valid TOML"),
    "suffix in capitals": (
        replaced("pipeline/relations/P99999.TOML", RELATION),
        "P99999.TOML: nothing reads it: it ends in .TOML; rename it to P99999.toml$",
    ),
    "exclusion that is no table": (
        replaced("pipeline/relations/EXCLUDED.toml", '"x" = 1\n'),
        "EXCLUDED.toml: x: must be a table of keys and values",
    ),
    "exclusion with an unknown key": (
        replaced("pipeline/relations/EXCLUDED.toml", '["x"]\nreason = "vague"\ntopic = ["a"]\n'),
        "EXCLUDED.toml: x.topic: unknown key; known here: note, property, reason, rows, topics",
    ),
    "exclusion with one topic for many": (
        replaced("pipeline/relations/EXCLUDED.toml", '["x"]\nreason = "vague"\ntopics = "a"\n'),
        "EXCLUDED.toml: x.topics: must be a list",
    ),
    "exclusion of what is asked": (
        excluded('["capital"]\nreason = "vague"\ntopics = ["places_country"]\n'),
        "EXCLUDED.toml: capital: P36.toml asks about it; remove it here, or from the labels of that file",
    ),
    "exclusion everywhere of what is asked somewhere": (
        excluded('["capital"]\nreason = "vague"\n'),
        "EXCLUDED.toml: capital: P36.toml asks about it",
    ),
    "exclusion for no known reason": (
        excluded('["x"]\nreason = "vauge"\n'),
        "EXCLUDED.toml: x.reason: 'vauge' is not explained at the head of the file; known: vacuous, vague, many_answers,",
    ),
    "exclusion twice": (
        excluded('["x y"]\nreason = "vague"\n["x  y"]\nreason = "vacuous"\n'),
        "EXCLUDED.toml: x  y: is listed twice, with other spaces; list it once",
    ),
    "exclusion for no known topic": (
        excluded('["x"]\nreason = "vague"\ntopics = ["places_contry"]\n'),
        "EXCLUDED.toml: x.topics: 'places_contry' is not in pipeline/topics.toml",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_check_names_file_and_key(project: Path, fault: str) -> None:
    expect_fault(project, fault, *FAULTS[fault])


def test_a_misspelt_topic_is_told_beside_a_fault_of_the_same_file(project: Path) -> None:
    relation('"entity"', '"quantty"')(project)
    edited("pipeline/relations/P36.toml", "places_country", "places_contry")(project)
    outcome = dual_data("check", "--project", project)
    assert outcome.code == 2
    assert "P36.toml: object: must be 'entity'" in outcome.err
    assert "P36.toml: topics: 'places_contry' is not in pipeline/topics.toml" in outcome.err
    assert "2 faults" in outcome.err


def test_a_topic_that_two_files_claim_is_told_by_the_preview(project: Path) -> None:
    relation("places_country", "places_country")(project)
    relations = project / "pipeline" / "relations"
    (relations / "P36_twin.toml").write_text(RELATION, encoding="utf-8")
    for stem in ("P36", "P36_twin"):
        outcome = dual_data("relations", "preview", stem, "--project", project, "--profile", "embedded")
        assert outcome.code == 2, outcome.out
        assert outcome.err.endswith("P36_twin.toml: topics: places_country is claimed by P36.toml already\n")
    (relations / "P36_twin.toml").write_text("faults of other files are for check to tell", encoding="utf-8")
    assert dual_data("relations", "preview", "P36", "--project", project, "--profile", "embedded").code == 0


@pytest.mark.parametrize("first", ["*", "places_country"])
@pytest.mark.parametrize("second", ["*", "places_country"])
def test_two_files_of_a_property_may_not_claim_one_topic(project: Path, first: str, second: str) -> None:
    relation("places_country", first)(project)
    twin = project / "pipeline" / "relations" / "P36_twin.toml"
    twin.write_text(RELATION.replace("places_country", second), encoding="utf-8")
    outcome = dual_data("check", "--project", project)
    assert outcome.code == 2
    claimed = "*" if first == second == "*" else "places_country"
    assert f"P36_twin.toml: topics: {claimed} is claimed by P36.toml already" in outcome.err


@pytest.mark.parametrize("topic", ["places_country", "*", "places_city"])
def test_two_properties_may_not_claim_one_label_in_a_topic(project: Path, topic: str) -> None:
    relation('object = "entity"', 'labels = ["seat"]\nobject = "entity"')(project)
    text = RELATION.replace("capital", "seat").replace('"P36"', '"P99999"').replace("places_country", topic)
    path = project / "pipeline" / "relations" / "P99999.toml"
    path.write_text(text.replace("object =", 'labels = ["seat"]\nobject ='), encoding="utf-8")
    outcome = dual_data("check", "--project", project)
    assert outcome.code == (0 if topic == "places_city" else 2)
    message = "P99999.toml: labels: 'seat' is claimed by P36.toml already, in places_country"
    assert (message in outcome.err) == (topic != "places_city")


def test_a_label_may_not_be_the_property_of_another_relation(project: Path) -> None:
    text = RELATION.replace("capital", "seat").replace('"P36"', '"P99999"')
    path = project / "pipeline" / "relations" / "P99999.toml"
    path.write_text(text.replace("object =", 'labels = ["P36"]\nobject ='), encoding="utf-8")
    outcome = dual_data("check", "--project", project)
    assert outcome.code == 2
    assert "P99999.toml: labels: 'P36' is claimed by P36.toml already, in places_country" in outcome.err


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('object = "entity"', 'object = "date"\nsymmetric = true', 'symmetric is only for object = "entity"'),
        ('object = "entity"', 'object = "entity"\nlabels = ["a", "a"]', "a is listed 2 times; list it once"),
        ('object = "entity"', 'object = "entity"\nlabels = [" "]', "is empty"),
        ('object = "entity"', 'object = "entity"\nsymmetric = "no"', "symmetric: must be true or false, not 'no'"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(project: Path, old: str, new: str, message: str) -> None:
    relation(old, new)(project)
    outcome = dual_data("check", "--project", project)
    assert outcome.code == 2
    assert message in outcome.err


@pytest.mark.parametrize("topic", ["places_country", "*"])
def test_two_relations_of_a_topic_may_not_ask_the_same(project: Path, topic: str) -> None:
    relation("places_country", "places_country")(project)
    path = project / "pipeline" / "relations" / "P99999.toml"
    text = RELATION.replace('"P36"', '"P99999"').replace("places_country", topic)
    reworded = text.replace("capital", "seat")
    path.write_text(reworded.replace("What is the seat", "What, is the CAPITAL"), encoding="utf-8")
    outcome = dual_data("check", "--project", project)
    assert outcome.code == 2
    (fault,) = (line for line in outcome.err.splitlines() if "P99999" in line)
    assert "P99999.toml: questions: 'What, is the CAPITAL of {subject}?' is asked by P36.toml too" in fault
    assert "in places_country;" in fault
    path.write_text(reworded, encoding="utf-8")
    assert dual_data("check", "--project", project).code == 0


def test_an_unfinished_relation_stops_neither_the_list_nor_the_preview_of_another(project: Path) -> None:
    path = project / "pipeline" / "relations" / "P1082.toml"
    assert dual_data("relations", "new", "P1082", "--project", project).code == 0
    commands = (("list",), ("preview", "P30", "--profile", "embedded", "--limit", "1"))
    for words in commands:
        outcome = dual_data("relations", *words, "--project", project)
        assert outcome.code == 0, outcome.err
        assert outcome.out
        missing = (
            "name: fill in `name`; topics: name at least one; questions.canonical: 'What is the ... of {subject}?' "
        )
        assert outcome.err.startswith(f"warning: {path} is left out: {missing}")
        assert "; questions.validation.0: '' must hold {subject} " in outcome.err
        assert outcome.err.count("\n") == 1
    outcome = dual_data("build", "facts", "--profile", "embedded", "--project", project)
    assert outcome.code == 2
    assert f"error: {path}: name: fill in `name`\n" in outcome.err


def test_an_unknown_topic_is_told_with_those_there_are(project: Path) -> None:
    outcome = dual_data("relations", "list", "--topic", "nope", "--project", project)
    assert (outcome.code, outcome.out) == (2, "")
    assert "error: nope: no such topic; the topics are: art_sculpture, " in outcome.err
    listed = dual_data("relations", "list", "--topic", "places_country", "--project", project).out
    # Its name is ours: tables say the label.
    assert re.search("^P194 +legislature +legislative body +entity ", listed, re.MULTILINE)


def test_a_preview_of_no_relation_says_how_to_add_it_to_this_project(project: Path) -> None:
    outcome = dual_data("relations", "preview", "P99999", "--project", project)
    assert outcome.code == 2
    assert outcome.err.endswith(f"make it with: dual-data relations new P99999 --project {project}\n")


def test_a_preview_of_a_property_that_has_only_variants_names_them(project: Path) -> None:
    outcome = dual_data("relations", "preview", "P2067", "--project", project)
    assert outcome.code == 2
    assert "P2067.toml: no such relation; make it with" in outcome.err
    for variant in ("P2067_whale", "P2067_ant", "P20671"):
        (project / "pipeline" / "relations" / f"{variant}.toml").write_text("")
    outcome = dual_data("relations", "preview", "P2067", "--project", project)
    assert "no such relation (but there is P2067_ant, P2067_whale); make it with" in outcome.err


def test_relations_are_never_overwritten(project: Path) -> None:
    path = next((project / "pipeline" / "relations").glob("P*.toml"))
    before = path.read_bytes()
    outcome = dual_data("relations", "new", path.stem, "--project", project)
    assert outcome.code == 2
    assert "exists already" in outcome.err
    assert path.read_bytes() == before
    for name in ("capital", "../P36", "Q36", "P36-x", "P1234567890", "P٣"):
        outcome = dual_data("relations", "new", name, "--project", project)
        assert outcome.code == 2
        assert f"{name}: not the id of a relation; use a property id, or" in outcome.err
