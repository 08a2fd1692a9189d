"""Wrong files of a project: one clear message that names file and key, exit code 2, nothing written."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.command import dual_data, own_project
from tests.cli.test_golden import same_error

RELATION = """\
property = "P36"
name = "capital"
topics = ["places_country"]
object = "entity"

[questions]
canonical = "What is the capital of {subject}?"
validation = ["Which city is the capital of {subject}?"]
training = ["Name the capital of {subject}."]
test = ["Which city does {subject} have as its capital?"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    with own_project(tmp_path / "project") as root:
        yield root


def relation(old: str, new: str) -> Callable[[Path], None]:
    """A change of a correct relation file."""
    assert old in RELATION

    def write(root: Path) -> None:
        for path in (root / "pipeline" / "relations").glob("P36*.toml"):
            path.unlink()
        (root / "pipeline" / "relations" / "P36.toml").write_text(RELATION.replace(old, new, 1), encoding="utf-8")

    return write


def replaced(name: str, text: str | bytes) -> Callable[[Path], None]:
    """A change of a file's whole content."""

    def write(root: Path) -> None:
        (root / name).write_bytes(text.encode() if isinstance(text, str) else text)

    return write


def excluded(text: str) -> Callable[[Path], None]:
    """A new entry of EXCLUDED.toml, next to a relation with the label capital."""

    def write(root: Path) -> None:
        relation('object = "entity"', 'labels = ["capital"]\nobject = "entity"')(root)
        with (root / "pipeline" / "relations" / "EXCLUDED.toml").open("a", encoding="utf-8") as file:
            file.write(f"\n{text}")

    return write


def edited(name: str, pattern: str, new: str) -> Callable[[Path], None]:
    """A change of a part of a file."""

    def write(root: Path) -> None:
        text = (root / name).read_text(encoding="utf-8")
        assert re.search(pattern, text)
        (root / name).write_text(re.sub(pattern, new, text, count=1), encoding="utf-8")

    return write


def method(text: str) -> Callable[[Path], None]:
    """A file of methods of the project's own."""

    def write(root: Path) -> None:
        (root / "pipeline" / "methods").mkdir()
        (root / "pipeline" / "methods" / "own.py").write_text(text, encoding="utf-8")

    return write


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "broken TOML": (relation('name = "capital"', 'name = "capital'), "P36.toml: not valid TOML: .*line 2"),
    "long number": (relation('name = "capital"', f"name = {'9' * 5000}"), "P36.toml: not valid TOML: .*4300 digits"),
    "many brackets": (
        relation('name = "capital"', f"name = {'[' * 5000}"),
        "P36.toml: not valid TOML: too many brackets",
    ),
    "unknown key": (relation("object =", "objekt ="), "P36.toml: objekt: unknown key; known here: .*object"),
    "missing key": (relation('name = "capital"\n', ""), "P36.toml: name: Field required"),
    "wrong kind": (relation('"entity"', '"entities"'), "P36.toml: object: Input should be 'entity'"),
    "wrong property": (relation('"P36"', '"Q36"'), "P36.toml: property: 'Q36' is not a Wikidata property id"),
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
        "are the same",
    ),
    "same question but for spaces": (
        relation("Name the capital of {subject}.", "What is the  capital of {subject}? "),
        "are the same",
    ),
    "blank name": (relation('name = "capital"', 'name = "  "'), "P36.toml: name: must not be blank"),
    "topics that no stage reads": (
        replaced("pipeline/more.toml", '[places_village]\nclasses = ["Q532"]\n'),
        r"more.toml: nothing reads it: it has neither \[project\] nor \[grids\]; topics are in pipeline/topics.toml",
    ),
    "suffix in capitals": (
        replaced("pipeline/relations/P99999.TOML", RELATION),
        "P99999.TOML: nothing reads it: it ends in .TOML; rename it to P99999.toml$",
    ),
    "unknown key of a grid": (
        edited("pipeline/evaluation.toml", "limit = 16", "limt = 16"),
        "evaluation.toml: grids.demo.limt: unknown key; known here: attacks, .*limit",
    ),
    "unknown data of a grid": (
        edited("pipeline/evaluation.toml", 'data = "embedded"', 'data = "embeded"'),
        "evaluation.toml: grids.demo.data: unknown 'embeded'; known here: embedded, matched, ",
    ),
    "unknown set of a grid": (
        edited("pipeline/evaluation.toml", r"limit = 16", 'sets = ["rarer"]'),
        "evaluation.toml: grids.demo.sets: embedded has no forget set 'rarer'; it has ",
    ),
    "unknown attack of a grid": (
        edited("pipeline/evaluation.toml", r"limit = 16", 'attacks = ["shout"]'),
        "evaluation.toml: grids.demo.attacks: unknown 'shout'; known here: prefix_injection, ",
    ),
    "method that is no Python": (method('"""Mine."""\n\nMETHOD = (\n'), r"methods/own.py:3: '\(' was never closed"),
    "more rows than there can be": (
        replaced("pipeline/many.toml", '[project]\nname = "many"\n[splits.matched]\nretain_train = 99999999999\n'),
        "many.toml: splits.matched.retain_train: Input should be less than or equal to 2147483648",
    ),
    "model that is not asked": (
        edited("pipeline/dual.toml", r'models = \["Llama-3.1-8B-Instruct"\]', 'models = ["Lama"]'),
        "dual.toml: splits.matched.models: the stage knowledge does not ask 'Lama' by the rule matched; it asks: Llama",
    ),
    "question of the skeleton": (
        relation("What is the capital of", "What is the ... of"),
        r"P36.toml: questions.canonical: 'What is the \.\.\. of \{subject\}\?' is not filled in",
    ),
    "statement of the skeleton": (
        relation("[questions]", '[questions]\nstatement = "The ... of {subject} is {answer}."'),
        r"P36.toml: questions.statement: 'The \.\.\. of \{subject\} is \{answer\}\.' is not filled in",
    ),
    "unknown topic": (relation("places_country", "places_contry"), "P36.toml: topics: 'places_contry' is not in"),
    "not a class id": (
        relation('object = "entity"', 'object = "entity"\nobject_classes = ["city"]'),
        "P36.toml: object_classes.0: 'city' is not a Wikidata item",
    ),
    "exclusion that is no table": (
        replaced("pipeline/relations/EXCLUDED.toml", '"x" = 1\n'),
        "EXCLUDED.toml: x: must be a table",
    ),
    "exclusion with an unknown key": (
        replaced("pipeline/relations/EXCLUDED.toml", '["x"]\nreason = "vague"\ntopic = ["a"]\n'),
        "EXCLUDED.toml: x.topic: unknown key; known here: note, reason, rows, topics",
    ),
    "exclusion with one topic for many": (
        replaced("pipeline/relations/EXCLUDED.toml", '["x"]\nreason = "vague"\ntopics = "a"\n'),
        "EXCLUDED.toml: x.topics: must be a list",
    ),
    "not UTF-8": (replaced("pipeline/relations/P36.toml", b'name = "caf\xe9"'), "P36.toml: not UTF-8 at byte 11"),
    "NUL byte": (replaced("pipeline/relations/P36.toml", b'name = "a\x00b"'), "P36.toml: not valid TOML"),
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
    "article that the engine refuses": (
        replaced("pipeline/topics.toml", '[a]\nclasses = ["Q515"]\narticle = ["^(a)\\\\1"]\n'),
        "topics.toml: a.article: .* is not a supported regular expression: backreferences are not supported$",
    ),
    "article that is no pattern": (
        replaced("pipeline/topics.toml", '[a]\nclasses = ["Q515"]\narticle = ["("]\n'),
        "topics.toml: a.article: '\\(' is not a supported regular expression: unclosed group$",
    ),
    "pace of no source": (
        replaced("pipeline/dual.toml", "[project]\n[services.pace]\nwikpedia = { per_minute = 3 }\n"),
        "dual.toml: services.pace: 'wikpedia' is not a source; the sources are: wikidata, wikipedia,",
    ),
    "name of another profile": (
        replaced("pipeline/embedded.toml", '[project]\nname = "dual"\n'),
        "embedded.toml: project.name: 'dual' is the name of dual.toml too",
    ),
    "unknown parameter": (
        replaced("pipeline/dual.toml", "[project]\n[links]\nmethods = 1\n"),
        "dual.toml: links.methods: unknown key",
    ),
    "wrong parameter": (
        replaced("pipeline/dual.toml", '[project]\n[links]\ncap = "many"\n'),
        "dual.toml: links.cap: .*integer",
    ),
    "forget splits of more than half": (
        replaced("pipeline/dual.toml", "[project]\n[splits]\npercents = [5, 60]\n"),
        "dual.toml: splits.percents.1: .*less than or equal to 50",
    ),
    "forget splits of nothing": (
        replaced("pipeline/dual.toml", "[project]\n[splits]\npercents = [0]\n"),
        "dual.toml: splits.percents.0: .*greater than or equal to 1",
    ),
    "a size twice": (
        replaced("pipeline/dual.toml", "[project]\n[splits]\npercents = [5, 1, 5]\n"),
        "dual.toml: splits.percents: 5 is listed 2 times; list it once",
    ),
    "a recipe twice": (
        replaced("pipeline/dual.toml", '[project]\n[splits]\nrecipes = ["paper", "paper"]\n'),
        "dual.toml: splits.recipes: paper is listed 2 times",
    ),
    "a size of the retain splits twice": (
        replaced("pipeline/dual.toml", "[project]\n[splits.paper]\nretain = [500, 500]\n"),
        "dual.toml: splits.paper.retain: 500 is listed 2 times; list it once",
    ),
    "retain splits of less than nothing": (
        replaced("pipeline/dual.toml", "[project]\n[splits.paper]\nretain = [-5, 0]\n"),
        "dual.toml: splits.paper.retain.0: .*greater than or equal to 1",
    ),
    "more rows than any table has": (
        replaced(
            "pipeline/dual.toml",
            f"[project]\n[splits.paper]\nretain = [{10**30}]\n[knowledge]\nsample = {10**30}\n[salience]\n"
            f"sample = {10**30}\n",
        ),
        "dual.toml: splits.paper.retain.0: .*less than or equal to 2147483648",
    ),
    "unknown stage": (replaced("pipeline/dual.toml", "[project]\n[link]\ncap = 3\n"), "dual.toml: link: unknown table"),
    "unknown service": (
        replaced("pipeline/dual.toml", "[project]\n[services]\nwiki = 3\n"),
        "dual.toml: services.wiki: unknown key",
    ),
    "path as a name": (
        replaced("pipeline/dual.toml", '[project]\nname = "../x"\n'),
        "dual.toml: project.name: must be a plain",
    ),
    "long name": (
        replaced("pipeline/dual.toml", f'[project]\nname = "{300 * "x"}"\n'),
        "dual.toml: project.name: has 300 characters, and the name of a folder may have 60",
    ),
    "stray key": (replaced("pipeline/dual.toml", "limit = 3\n[project]\n"), "dual.toml: limit: belongs in a table"),
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
    "exclusion for no known topic": (
        excluded('["x"]\nreason = "vague"\ntopics = ["places_contry"]\n'),
        "EXCLUDED.toml: x.topics: 'places_contry' is not in pipeline/topics.toml",
    ),
    "prompt of the judge without labels": (
        edited("prompts/salience.md", r"labels = .*\n", ""),
        "salience.md: labels: the scale's labels are missing",
    ),
    "prompt of the judge that is not there": (
        lambda root: (root / "prompts" / "salience.md").unlink(),
        "salience.md: no such file; a prompt is expected there",
    ),
    "prompt of the probe with another variable": (
        edited("prompts/closed_book.md", r"\[variables\]([\s\S]*)\+\+\+", r'[variables]\nhint = "text"\1+++\n{hint}'),
        "closed_book.md: variables: must be only question",
    ),
    "prompt without front matter": (replaced("prompts/salience.md", "How well known is it?"), "salience.md: "),
    "prompt with an unknown variable": (
        replaced("prompts/salience.md", '+++\nversion = "1"\nvariables = ["a"]\n+++\n{{a}} {{b}}\n'),
        "salience.md: .*b",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_check_names_file_and_key(project: Path, fault: str) -> None:
    change, message = FAULTS[fault]
    change(project)
    before = _files(project)
    outcome = dual_data("check", "--project", project)
    assert outcome.code == 2
    assert "Traceback" not in outcome.err
    assert any(re.search(f"^error: .*{message}", line) for line in outcome.err.splitlines()), outcome.err
    same_error(f"check {fault}", outcome, project)
    assert _files(project) == before


def _files(project: Path) -> dict[Path, bytes]:
    """The files of a project, without Python's cache of imported stages."""
    return {
        path: path.read_bytes() for path in project.rglob("*") if path.is_file() and path.parent.name != "__pycache__"
    }


PIPELINES = {
    "name used twice": ("PIPELINE = (FACTS, FACTS)", "__init__.py: PIPELINE: two stages are called 'facts'; "),
    "stage before its input": (
        "PIPELINE = (LINKS, FACTS)",
        "__init__.py: PIPELINE: links: its input 'facts' is not a ",
    ),
    "import of nothing": ("from pipeline.fact import FACTS", "__init__.py:{line}: No module named 'pipeline.fact'"),
    "import of no name": ("from pipeline.facts import FACT", "__init__.py:{line}: cannot import name 'FACT' from"),
    "no Python": ("PIPELINE = (FACTS", "__init__.py:{line}: '(' was never closed"),
}


@pytest.mark.parametrize("command", [("check",), ("build", "--dry-run")])
@pytest.mark.parametrize("fault", PIPELINES)
def test_a_pipeline_that_cannot_run_is_one_message(project: Path, fault: str, command: tuple[str, ...]) -> None:
    line, message = PIPELINES[fault]
    path = project / "pipeline" / "__init__.py"
    before, _, _ = path.read_text().partition("PIPELINE =")
    path.write_text(before + line + "\n")
    outcome = dual_data(*command, "--project", project)
    assert outcome.code == 2
    place = project / "pipeline" / message.format(line=before.count("\n") + 1)
    assert outcome.err.startswith(f"error: {place}")
    assert "Traceback" not in outcome.err


def test_two_profiles_of_one_name_are_refused_before_they_share_a_folder(project: Path) -> None:
    twin = project / "pipeline" / "twin.toml"
    twin.write_text('[project]\nname = "embedded"\n')
    for profile in ("twin", "embedded"):
        outcome = dual_data("build", "--dry-run", "--project", project, "--profile", profile)
        assert outcome.code == 2
        assert f"{profile}.toml: project.name: 'embedded' is the name of " in outcome.err
    assert dual_data("build", "--dry-run", "--project", project).code == 0


def test_check_needs_none_of_the_packages_of_the_evaluation(project: Path) -> None:
    missing = ("torch", "transformers", "safetensors", "jinja2", "gguf", "accelerate")
    code = (
        f"import sys; sys.modules |= dict.fromkeys({missing}); from dual_data.cli import main; "
        f"main(['check', '--project', {str(project)!r}])"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert "no fault found" in outcome.stdout


def test_check_finds_everything_at_once(project: Path) -> None:
    for fault in ("unknown key", "unknown stage", "prompt without front matter"):
        FAULTS[fault][0](project)
    outcome = dual_data("check", "--project", project)
    assert outcome.code == 2
    for name in ("P36.toml: objekt", "dual.toml: link", "salience.md"):
        assert name in outcome.err


def test_a_misspelt_topic_is_told_beside_a_fault_of_the_same_file(project: Path) -> None:
    relation('"entity"', '"quantty"')(project)
    edited("pipeline/relations/P36.toml", "places_country", "places_contry")(project)
    outcome = dual_data("check", "--project", project)
    assert outcome.code == 2
    assert "P36.toml: object: Input should be 'entity'" in outcome.err
    assert "P36.toml: topics: 'places_contry' is not in pipeline/topics.toml" in outcome.err
    assert "2 fault(s)" in outcome.err


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
    assert "\nP984 " in dual_data("relations", "list", "--topic", "places_country", "--project", project).out


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
        "1 fault(s)\n"
    )
    tables = '[project]\nname = "dual"\n[facts]\nsource = "{}"\nfolder = "tables"\n'
    for source in ("labels", "tables"):
        (project / "pipeline" / "dual.toml").write_text(tables.format(source))
        assert dual_data("check", "--project", project).code == 0
    (project / "pipeline" / "dual.toml").write_text(tables.format("resolve"))
    assert dual_data("check", "--project", project).err.endswith(" planets, moons; add them\n1 fault(s)\n")


@pytest.mark.parametrize("topic", ["places_country", "*"])
def test_two_relations_of_a_topic_may_not_ask_the_same(project: Path, topic: str) -> None:
    relation("places_country", "places_country")(project)
    path = project / "pipeline" / "relations" / "P99999.toml"
    text = RELATION.replace('"P36"', '"P99999"').replace("places_country", topic)
    reworded = text.replace("capital", "seat")
    path.write_text(reworded.replace("What is the seat", "What is the CAPITAL"), encoding="utf-8")
    outcome = dual_data("check", "--project", project)
    assert outcome.code == 2
    (fault,) = (line for line in outcome.err.splitlines() if "P99999" in line)
    assert "P99999.toml: questions: 'What is the CAPITAL of {subject}?' is asked by P36.toml too" in fault
    assert "in places_country;" in fault
    path.write_text(reworded, encoding="utf-8")
    assert dual_data("check", "--project", project).code == 0


def test_the_shipped_project_is_without_fault(project: Path) -> None:
    outcome = dual_data("check", "--project", project)
    assert outcome.err == ""
    assert outcome.code == 0
    assert "no fault found" in outcome.out


def test_no_project(tmp_path: Path) -> None:
    outcome = dual_data("build", "--project", tmp_path)
    assert outcome.code == 2
    assert "no dual-data project here or above" in outcome.err
    assert "dual-data init" in outcome.err


def test_a_misspelt_folder_in_a_project_is_not_that_project(project: Path) -> None:
    for command in (("check",), ("build", "--dry-run"), ("relations", "list")):
        outcome = dual_data(*command, "--project", project / "benchmrk")
        assert outcome.code == 2
        assert outcome.err == f"error: {project / 'benchmrk'}: no such folder; name a project, or a folder inside one\n"


def test_a_preview_of_no_relation_says_how_to_add_it_to_this_project(project: Path) -> None:
    outcome = dual_data("relations", "preview", "P99999", "--project", project)
    assert outcome.code == 2
    assert outcome.err.endswith(f"make it with: dual-data relations new P99999 --project {project}\n")


def test_no_such_profile_and_no_such_stage(project: Path) -> None:
    outcome = dual_data("build", "--project", project, "--profile", "duel")
    assert outcome.code == 2
    assert "no such profile" in outcome.err
    assert "dual, embedded" in outcome.err
    (project / "pipeline" / "x.toml").mkdir()
    assert dual_data("build", "--project", project, "--profile", "duel") == outcome
    outcome = dual_data("build", "fact", "--project", project)
    assert outcome.code == 2
    assert "fact: no such stage; the stages are: facts, links, questions" in outcome.err


@pytest.mark.parametrize("command", [("build",), ("relations", "preview", "P36")])
@pytest.mark.parametrize(
    ("limit", "bound"), [(0, "greater than or equal to 1"), (10**30, "less than or equal to 2147483648")]
)
def test_a_limit_of_nothing_or_of_more_than_any_table_has(
    project: Path, command: tuple[str, ...], limit: int, bound: str
) -> None:
    outcome = dual_data(*command, "--project", project, "--profile", "embedded", "--limit", str(limit))
    assert outcome.code == 2
    assert f"'--limit': Input should be {bound}" in outcome.err


def test_relations_are_never_overwritten(project: Path) -> None:
    path = next((project / "pipeline" / "relations").glob("P*.toml"))
    before = path.read_bytes()
    outcome = dual_data("relations", "new", path.stem, "--project", project)
    assert outcome.code == 2
    assert "exists already" in outcome.err
    assert path.read_bytes() == before
    for name in ("capital", "../P36", "Q36", "P36-x"):
        outcome = dual_data("relations", "new", name, "--project", project)
        assert outcome.code == 2
        assert "not a relation name" in outcome.err
