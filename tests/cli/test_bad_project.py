"""Wrong grids, methods, prompts and pipelines of a project, several faults at once, and no project at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import dual_data
from tests.cli.faults import Change, Fault, edited, expect_fault, relation, replaced


def method(text: str) -> Change:
    """A file of methods of the project's own."""

    def write(root: Path) -> None:
        (root / "pipeline" / "methods").mkdir()
        (root / "pipeline" / "methods" / "own.py").write_text(text, encoding="utf-8")

    return write


FAULTS: dict[str, Fault] = {
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
    "method file without a method": (
        method('"""Mine."""\n'),
        "methods/own.py: defines no method, such as: METHOD = Method",
    ),
    "method of a taken name": (
        method('from dual_data.evaluation.methods.base import Method\n\nMETHOD = Method("NPO", print, "")\n'),
        "methods/own.py: there is a method 'NPO' already; choose another name",
    ),
    "misspelt method of a preset": (
        edited("pipeline/evaluation.toml", "SimNPO = {}", "SinNPO = {}"),
        "evaluation.toml: presets.later_more.methods.SinNPO: unknown method; known here: AdaPop, .*NPO",
    ),
    "misspelt option of a method": (
        edited("pipeline/evaluation.toml", r"WGA = \{ beta", "WGA = { betta"),
        "evaluation.toml: presets.later.methods.WGA.betta: unknown key; known here: alpha, beta",
    ),
    "option that a method refuses": (
        edited("pipeline/evaluation.toml", "NPO = { beta = 0.5", "NPO = { beta = -1"),
        "evaluation.toml: presets.paper.methods.NPO.beta: -1 is not greater than 0",
    ),
    "data in no folder": (
        edited("pipeline/evaluation.toml", r"\$DUAL_DATA_PUBLISHED", "published"),
        "evaluation.toml: data.published: .*/published: not there, but the grid file takes rows from it",
    ),
    "data without a file": (
        edited("pipeline/evaluation.toml", r"\$DUAL_DATA_PUBLISHED", "prompts"),
        "evaluation.toml: data.published: .*/prompts/city_forget_rare_5.parquet: not there, but the grid file",
    ),
    "panel that is not there": (
        edited("pipeline/evaluation.toml", 'panel = "shipped"', 'panel = "mine.jsonl"'),
        r"evaluation.toml: grids.reference.panel: .*/mine.jsonl: no such file; name a file of JSON lines, or 'shipped'",
    ),
    "attack prompts without the chat template": (
        edited("pipeline/evaluation.toml", 'preset = "demo"', 'preset = "early"\nattacks = ["cloze"]'),
        "evaluation.toml: grids.demo.attacks: they need the profile chat, and the preset early has dual-raw: take",
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
    expect_fault(project, fault, *FAULTS[fault])


def test_check_finds_everything_at_once(project: Path) -> None:
    relation("object =", "objekt =")(project)
    replaced("pipeline/dual.toml", "[project]\n[link]\ncap = 3\n")(project)
    replaced("prompts/salience.md", "How well known is it?")(project)
    edited("pipeline/evaluation.toml", "SimNPO = {}", "SinNPO = {}")(project)
    edited("pipeline/evaluation.toml", r"WGA = \{ beta", "WGA = { betta")(project)
    outcome = dual_data("check", "--project", project)
    assert outcome.code == 2
    for name in ("P36.toml: objekt", "dual.toml: link", "salience.md", "SinNPO: unknown", "WGA.betta: unknown"):
        assert name in outcome.err


def test_the_shipped_project_is_without_fault(project: Path) -> None:
    outcome = dual_data("check", "--project", project)
    assert outcome.err == ""
    assert outcome.code == 0
    assert "2 prompts, 1 grid file, 19 methods: no fault found" in outcome.out


def test_check_tells_a_topic_that_no_relation_names(project: Path) -> None:
    with (project / "pipeline" / "topics.toml").open("a", encoding="utf-8") as file:
        file.write("[places_moon]\n[places_crater]\n")
    edited("pipeline/dual.toml", r"\[facts\]", '[facts]\ntopics = ["places_city"]')(project)
    outcome = dual_data("check", "--project", project)
    assert outcome.code == 0, outcome.err
    assert " 30 topics (no relation, so no fact, is of places_moon, places_crater), 201 relations" in outcome.out


def test_check_needs_none_of_the_packages_of_the_evaluation(project: Path) -> None:
    missing = ("torch", "transformers", "safetensors", "jinja2", "gguf", "accelerate")
    code = (
        f"import sys; sys.modules |= dict.fromkeys({missing}); from dual_data.cli import main; "
        f"main(['check', '--project', {str(project)!r}])"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert "methods not checked (that needs the extra `eval`): no fault found" in outcome.stdout


PIPELINES = {
    "name used twice": ("PIPELINE = (FACTS, FACTS)", "__init__.py: PIPELINE: two stages are called 'facts'; "),
    "stage before its input": (
        "PIPELINE = (LINKS, FACTS)",
        "__init__.py: PIPELINE: links: its input 'facts' is not a ",
    ),
    "import of nothing": ("from pipeline.fact import FACTS", "__init__.py:{line}: No module named 'pipeline.fact'"),
    "import of no name": ("from pipeline.facts import FACT", "__init__.py:{line}: cannot import name 'FACT' from"),
    "import of another version": (
        "from dual_data.config import OLD",
        "__init__.py:{line}: cannot import name 'OLD' from 'dual_data.config'",
    ),
    "argument of another version": (
        "PIPELINE = (type(FACTS)(name='own', task=print),)",
        "__init__.py:{line}: TypeError: Stage.__init__() got an unexpected keyword argument 'task'. This is dual-data ",
    ),
    "failing code": ("PIPELINE = ({}['none'],)", "__init__.py:{line}: KeyError: 'none'\n"),
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
    assert ("if the project is of another version" in outcome.err) == ("another version" in fault)


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
