"""Wrong profiles and options that name or narrow them: one clear message, exit code 2, nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command import dual_data
from tests.cli.faults import Fault, edited, expect_fault, replaced

FAULTS: dict[str, Fault] = {
    "name of another profile": (
        replaced("pipeline/embedded.toml", '[project]\nname = "dual"\n'),
        "embedded.toml: project.name: 'dual' is the name of dual.toml too",
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
    "unknown service": (
        replaced("pipeline/dual.toml", "[project]\n[services]\nwiki = 3\n"),
        "dual.toml: services.wiki: unknown key",
    ),
    "pace of no source": (
        replaced("pipeline/dual.toml", "[project]\n[services.pace]\nwikpedia = { per_minute = 3 }\n"),
        "dual.toml: services.pace: 'wikpedia' is not a source; the sources are: wikidata, wikipedia,",
    ),
    "unknown stage": (replaced("pipeline/dual.toml", "[project]\n[link]\ncap = 3\n"), "dual.toml: link: unknown table"),
    "unknown parameter": (
        replaced("pipeline/dual.toml", "[project]\n[links]\nmethods = 1\n"),
        "dual.toml: links.methods: unknown key",
    ),
    "wrong parameter": (
        replaced("pipeline/dual.toml", '[project]\n[links]\ncap = "many"\n'),
        "dual.toml: links.cap: must be a whole number, not 'many'",
    ),
    "model that is not asked": (
        edited("pipeline/dual.toml", r'models = \["Llama-3.1-8B-Instruct"\]', 'models = ["Lama"]'),
        "dual.toml: splits.matched.models: the stage knowledge does not ask 'Lama' by the rule matched; it asks: Llama",
    ),
    "folder of tables that is not there": (
        replaced("pipeline/own.toml", '[project]\n[facts]\nsource = "labels"\nfolder = "tabels"\n'),
        r"own.toml: facts.folder: .*tabels: no such folder; one with .csv or .parquet files is expected there$",
    ),
    "more rows than there can be": (
        replaced("pipeline/many.toml", '[project]\nname = "many"\n[splits.matched]\nretain_train = 99999999999\n'),
        "many.toml: splits.matched.retain_train: must be less than or equal to 2147483648, not 99999999999",
    ),
    "more words than 64 bits can count": (
        replaced("pipeline/many.toml", f'[project]\nname = "many"\n[questions]\nanswer_words = {10**40}\n'),
        "many.toml: questions.answer_words: must be less than or equal to 9223372036854775807$",
    ),
    "more rows than any table has": (
        replaced(
            "pipeline/dual.toml",
            f"[project]\n[splits.paper]\nretain = [{10**30}]\n[knowledge]\nsample = {10**30}\n[salience]\n"
            f"sample = {10**30}\n",
        ),
        "dual.toml: splits.paper.retain.0: .*less than or equal to 2147483648",
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
}


@pytest.mark.parametrize("fault", FAULTS)
def test_check_names_file_and_key(project: Path, fault: str) -> None:
    expect_fault(project, fault, *FAULTS[fault])


def test_two_profiles_of_one_name_are_refused_before_they_share_a_folder(project: Path) -> None:
    twin = project / "pipeline" / "twin.toml"
    twin.write_text('[project]\nname = "embedded"\n')
    for profile in ("twin", "embedded"):
        outcome = dual_data("build", "--dry-run", "--project", project, "--profile", profile)
        assert outcome.code == 2
        assert f"{profile}.toml: project.name: 'embedded' is the name of " in outcome.err
    assert dual_data("build", "--dry-run", "--project", project).code == 0


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
    assert f"'--limit': must be {bound}, not '{limit}'\n" in outcome.err
