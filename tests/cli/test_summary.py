"""The output of `dual-data show` for builds with few results."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import dual_data, forget_pipeline, project_on_table
from tests.services.stand_in import Body, completion, stand_in

TABLE = "subjectLabel,relation,objectLabel\nOrbus,continent,Selmia\nVarn,continent,Selmia\nUln,continent,Tor\n"
FACTS = '[project]\nname = "mine"\n\n[facts]\nsource = "labels"\nfolder = "tables"\n'
UNCOUNTED = '[links]\nmethod = "none"\n'
ADVICE = "set splits.matched.signal to one that has: mentions"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    with project_on_table(tmp_path / "mine", FACTS, TABLE) as root:
        yield root


def summary_of(project: Path, *profile: str) -> str:
    """Build the profile and show it."""
    (project / "pipeline" / "mine.toml").write_text("\n".join((FACTS, *profile)))
    for command in ("build", "show"):
        outcome = dual_data(command, "--project", project, "--profile", "mine")
        assert outcome.code == 0, outcome.err
    return outcome.out


def test_the_build_itself_says_which_recipes_it_could_not_make(project: Path) -> None:
    command = ("build", "--project", project, "--profile", "mine")
    (project / "pipeline" / "mine.toml").write_text(f"{FACTS}{UNCOUNTED}")
    told = f"  not made: matched, matched_answer, paper; for the reasons: dual-data show --project {project} --profile"
    assert told in dual_data(*command).err
    recipes = '[splits]\nsmallest = 1\npercents = [50]\nrecipes = ["paper"]\n'
    paper = '[splits.paper]\nsignal = "mentions"\nretain = [1]\n'
    (project / "pipeline" / "mine.toml").write_text("\n".join((FACTS, UNCOUNTED, recipes, paper)))
    assert "not made" not in dual_data(*command).err


def test_code_that_was_edited_without_another_version_is_told_wherever_its_rows_stand_as_current(project: Path) -> None:
    summary_of(project, UNCOUNTED)
    code = project / "pipeline" / "links.py"
    code.write_text(f"{code.read_text()}# edited\n")
    expected = (
        "The stage links is not built anew though pipeline/links.py changed: raise its version if that can change its "
        "rows."
    )
    for command in (("build", "--dry-run"), ("build",), ("show",), ("report",), ("release",)):
        outcome = dual_data(*command, "--project", project, "--profile", "mine")
        assert outcome.code == 0, outcome.err
        assert f"{outcome.out}{outcome.err}".count("is not built anew") == 1, command
        assert expected in f"{outcome.out}{outcome.err}"
        assert "out of date" not in f"{outcome.out}{outcome.err}".lower()
    assert expected in (project / "artifacts" / "mine" / "report.html").read_text()
    code.write_text(code.read_text().replace("version=", "version=9 + "))
    forget_pipeline()
    plan = dual_data("build", "--dry-run", "--project", project, "--profile", "mine").out
    assert "the stage's code is version " in plan
    assert "is not built anew" not in plan


def test_a_release_of_tables_says_whose_licence_it_states_unless_one_is_named(project: Path) -> None:
    summary_of(project, UNCOUNTED)
    release = ("release", "--project", project, "--profile", "mine")
    profile = project / "pipeline" / "mine.toml"
    advice = f"name theirs as `licence` under [project] of {profile}"
    assert advice in dual_data(*release).err
    profile.write_text(profile.read_text().replace("[project]\n", '[project]\nlicence = "cc-by-4.0"\n'))
    named = dual_data(*release)
    assert named.code == 0, named.err
    assert "licence" not in named.err


@pytest.mark.parametrize(
    ("links", "popularity"),
    [
        (UNCOUNTED, "5 entities by mentions alone; no links were counted."),
        ("", "5 entities without an article; no links were counted."),
    ],
)
def test_labels_alone_make_no_split_and_the_signal_that_would_is_named(
    project: Path, links: str, popularity: str
) -> None:
    summary = summary_of(project, links)
    assert f"\nPopularity: {popularity}\n" in summary
    assert "\nNo split was made.\n" in summary
    assert "Every split" not in summary
    assert f"no functional fact has a value of inbound_links; {ADVICE}" in summary


def test_a_recipe_that_was_not_made_is_not_among_every_split(project: Path) -> None:
    sizes = '[splits]\nsmallest = 1\npercents = [50]\nrecipes = ["matched", "paper"]\n'
    paper = '[splits.paper]\nsignal = "mentions"\nretain = [1]\n'
    summary = summary_of(project, UNCOUNTED, sizes, paper)
    assert ADVICE in summary
    assert "\nEvery split of the recipes that were made is there.\n" in summary


def test_both_sides_of_a_pair_that_is_missing_for_one_reason_are_one_line(project: Path) -> None:
    sizes = '[splits]\nsmallest = 2\npercents = [1]\nrecipes = ["paper"]\n'
    summary = summary_of(project, UNCOUNTED, sizes, '[splits.paper]\nsignal = "mentions"\nretain = [1]\n')
    (line,) = [line for line in summary.splitlines() if "country_forget_" in line]
    assert line.split()[:2] == ["paper", "country_forget_(rare|popular)_1"]


def test_labels_that_no_relation_has_are_named_the_commonest_first(project: Path) -> None:
    table = project / "tables" / "places_country.csv"
    rows = [f"Orbus,label {n},Tor" for n in range(11)] + [f"Town {n},population,{n}" for n in range(3)]
    table.write_text(TABLE + "\n".join(rows) + "\n")
    summary = summary_of(project, UNCOUNTED)
    assert (
        "\nunknown_relation: population (3), label 0 (1), label 1 (1), label 10 (1), label 2 (1), label 3 (1), "
        "label 4 (1), label 5 (1), label 6 (1), label 7 (1), 2 more; to ask about one of these, add it to `labels` in a "
        f"relation file, or make one with: dual-data relations new P... --project {project}\n"
    ) in summary
    (project / "artifacts" / "mine" / "facts" / "rejected.parquet").unlink()
    outcome = dual_data("show", "--project", project, "--profile", "mine")
    assert (outcome.code, outcome.err) == (0, "")
    assert "\nOut of date: facts must rerun (rejected.parquet is missing)" in outcome.out
    table.write_text(TABLE + "Town,population,3\n")
    outcome = dual_data("build", "facts", "--project", project, "--profile", "mine")
    assert (
        "facts: 3 rows, 1 rejected\n  unknown_relation: population (1); to ask about one of these, add it "
        in outcome.err
    )


def test_properties_that_no_relation_has_need_a_file_of_their_own(project: Path) -> None:
    header = "subject_qid,subject_label,property_id,object_qid,object_label\n"
    (project / "tables" / "places_country.csv").write_text(f"{header}Q1,Orbus,P999999,Q2,Tor\n")
    profile = project / "pipeline" / "mine.toml"
    profile.write_text(profile.read_text().replace('source = "labels"', 'source = "tables"'))
    outcome = dual_data("build", "facts", "--project", project, "--profile", "mine")
    assert (
        "unknown_relation: P999999 (1); to ask about one of these, make a relation file with: dual-data relations new P... "
        in outcome.err
    )


@pytest.mark.parametrize("reported", [True, False])
def test_what_the_answers_of_servers_took_is_told_with_its_price(project: Path, reported: bool) -> None:
    counts = {"prompt_tokens": 1000, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 600}}

    def reply(body: Body) -> tuple[int, Body]:
        # Where the model reports no tokens, they are estimated.
        usage = counts if reported or body["model"] == "judge" else {"prompt_tokens": 0}
        return completion("7", [("7", {"7": 0.9, "8": 0.1})], usage=usage)

    with stand_in(reply) as server:
        price = 'price = { input = 2.0, cached_input = 1.0, output = 10.0, currency = "EUR", date = 2026-11-01 }'
        summary = summary_of(
            project,
            UNCOUNTED,
            '[knowledge]\ncontrols = 0\n[[knowledge.models]]\nname = "probed"\n'
            f'endpoint = {{ base_url = "{server.base_url}", model = "probed" }}\n',
            f'[salience.endpoint]\nbase_url = "{server.base_url}"\nmodel = "judge"\n{price}\n',
        )
    (probed,) = [line for line in summary.splitlines() if line.startswith("Usage: knowledge, probed: ")]
    assert probed.endswith("completion tokens." if reported else " answers estimated.")
    (judged,) = [line for line in summary.splitlines() if line.startswith("Usage: salience, judge: ")]
    answers = int(judged.split(": ")[2].split()[0])
    assert judged == (
        f"Usage: salience, judge: {answers} answers (with those that tell what the server supports), "
        f"{1000 * answers:,} prompt tokens ({600 * answers:,} of them cached), {4 * answers:,} completion tokens; "
        f"{answers * 0.00144:.4f} EUR by the price of 2026-11-01."
    )


def test_facts_to_which_the_judge_gave_no_score_are_not_among_those_that_it_scored(project: Path) -> None:
    def reply(body: Body) -> tuple[int, Body]:
        prompt = body["messages"][-1]["content"]
        return completion("" if any(name in prompt for name in ("Varn", "Uln")) else "7")

    with stand_in(reply) as server:
        summary = summary_of(
            project, UNCOUNTED, f'[salience.endpoint]\nbase_url = "{server.base_url}"\nmodel = "judge"\n'
        )
    assert "\nSalience: judge gave 1 of 3 facts a score.\n" in summary


@pytest.mark.parametrize("command", ["show", "report"])
def test_a_table_that_no_build_wrote_is_said_with_what_to_run(project: Path, command: str) -> None:
    summary_of(project, UNCOUNTED)
    facts = project / "artifacts" / "mine" / "facts"
    shutil.copy(facts / "data.parquet", facts.parent / "links" / "data.parquet")
    shutil.copy(facts.parent / "splits" / "recipes.parquet", facts / "data.parquet")
    outcome = dual_data(command, "--project", project, "--profile", "mine")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith(f"error: {facts.parent}: a table has other columns than a build writes (")
    assert "facts must rerun (data.parquet is not what was written); " in outcome.err
    assert outcome.err.endswith(f"run: dual-data build --project {project} --profile mine\n")


def test_a_plan_counts_no_calls_for_a_table_that_no_build_wrote(project: Path) -> None:
    summary_of(project, UNCOUNTED)
    facts = project / "artifacts" / "mine" / "facts"
    shutil.copy(facts.parent / "splits" / "recipes.parquet", facts / "data.parquet")
    (project / "pipeline" / "mine.toml").write_text(FACTS)  # counts links
    outcome = dual_data("build", "--dry-run", "--project", project, "--profile", "mine")
    assert outcome.code == 0, outcome.err
    assert "known once facts is built" in outcome.out


def test_answers_that_were_cut_off_while_the_model_reasoned_are_told(project: Path) -> None:
    def reply(body: Body) -> tuple[int, Body]:
        text = body["messages"][-1]["content"]
        return completion("<think>Where is it?" if "Orbus" in text or "animal" in text else "<think>?</think>Tor")

    with stand_in(reply) as fake:
        endpoint = f'endpoint = {{ base_url = "{fake.base_url}", model = "m" }}\n'
        shown = summary_of(project, UNCOUNTED, f'[[knowledge.models]]\nname = "m"\n{endpoint}')
    assert "Knowledge: m knows 1 of 3 facts asked, by the rule matched; 3 of its 9 answers were empty, " in shown
