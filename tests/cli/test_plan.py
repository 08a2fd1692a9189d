"""The plan of a new project: the number of calls to each service, and the least time that they take."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from dual_data.config import load_topics
from tests.cli.command import ROOT, dual_data


def row(plan: str, stage: str) -> dict[str, str]:
    """Cells of a stage's line in the table of calls, by column."""
    table = plan.split("\n\n")[1].splitlines()
    columns = [match.span() for match in re.finditer(r"-+", table[1])]
    line = next(line for line in table[2:] if line.startswith(stage))
    names = [table[0][start:end].strip() for start, end in columns]
    cells = [line[start:end].strip() for start, end in columns[:-1]] + [line[columns[-1][0] :]]
    return dict(zip(names, cells, strict=True))


def test_the_plan_of_the_real_profile_names_requests_hours_and_tokens(project: Path) -> None:
    outcome = dual_data("build", "--dry-run", "--project", project)
    assert outcome.code == 0, outcome.err
    assert not (project / "artifacts").exists()
    subjects = sum(topic.limit for topic in load_topics(ROOT / "pipeline" / "topics.toml").values())
    questions = round(2.5 * subjects)
    links, probe, judge = (row(outcome.out, stage) for stage in ("links", "knowledge", "salience"))
    assert int(links["calls to make"]) == 1 + math.ceil(3 * subjects / 50)
    assert int(probe["calls to make"]) == (3 + 1) * questions
    assert f"{questions} calls only where it gives log-probabilities of a prompt" in probe["note"]
    assert int(judge["calls to make"]) == questions
    # The prompt has about 1,300 characters; a token is assumed to have four.
    assert 250 * questions < int(judge["tokens"]) < 500 * questions

    minutes = {"facts": 30, "links": 190, "salience": 480}
    least = sum(int(row(outcome.out, stage)["calls to make"]) / pace for stage, pace in minutes.items())
    assert f"At least {least / 60:.1f} h by these limits" in outcome.out
    for line in (
        "wikidata: 30 requests in any minute, 1 at a time",
        "wikipedia: 190 requests in any minute",
        "judge: 480 requests in any minute",
        "probe: no limit of requests is set",
        "2.5 questions a subject, every topic full",
    ):
        assert line in outcome.out


def test_a_plan_without_a_call_states_no_least_time(project: Path) -> None:
    (project / "tables").mkdir()
    (project / "tables" / "places_country.csv").write_text("subjectLabel,relation,objectLabel\nOrbus,capital,Varn\n")
    profile = '[project]\nname = "mine"\n[facts]\nsource = "labels"\nfolder = "tables"\n'
    (project / "pipeline" / "mine.toml").write_text(profile)
    options = ("--project", project, "--profile", "mine")
    assert dual_data("build", "facts", *options).code == 0
    outcome = dual_data("build", "links", "--dry-run", *options)
    assert row(outcome.out, "links")["calls to make"] == "0"
    assert "by these limits" not in outcome.out


def test_the_plan_refuses_a_wikipedia_of_another_language(project: Path) -> None:
    profile = project / "pipeline" / "dual.toml"
    profile.write_text(profile.read_text().replace("https://en.wikipedia", "https://de.wikipedia"))
    outcome = dual_data("build", "--dry-run", "--project", project)
    assert outcome.code == 2
    assert "services.wikipedia: de.wikipedia.org" in outcome.err


def test_a_limit_and_a_sample_make_the_plan_smaller(project: Path) -> None:
    profile = project / "pipeline" / "dual.toml"
    profile.write_text(profile.read_text().replace("[salience]\n", "[salience]\nsample = 40\n"))
    outcome = dual_data("build", "--dry-run", "--limit", "100", "--project", project)
    assert row(outcome.out, "salience")["calls to make"] == "40"
    assert row(outcome.out, "knowledge")["calls to make"] == "400"
    # One call asks what the index can do; 100 facts have at most 200 titles, at 50 a request.
    assert row(outcome.out, "links")["calls to make"] == "5"


def test_a_plan_tells_the_money_where_a_price_is_set(project: Path) -> None:
    """Before the facts are built, and from the facts; the price of answers alone tells that their longest is meant."""

    def told(stage: str, *options: str) -> tuple[int, int, float]:
        planned = row(dual_data("build", "--dry-run", "--project", project, *options).out, stage)
        (cost,) = re.findall(r"; about ([0-9,]+\.[0-9]{2}) EUR by the price of 2026-11-01", planned["note"])
        return int(planned["calls to make"]), int(planned["tokens"]), float(cost.replace(",", ""))

    of_all = "price = { input = 1000, output = 1000, currency = 'EUR', date = 2026-11-01 }"
    of_answers = of_all.replace("input = 1000", "input = 0")
    model = 'endpoint = {{ base_url = "http://127.0.0.1:9/v1", model = "m", {price} }}'
    dual, embedded = (project / "pipeline" / f"{name}.toml" for name in ("dual", "embedded"))
    dual_text, embedded_text = dual.read_text(), embedded.read_text()
    dual_text = re.sub(r"(?s)\n\[salience\.endpoint\].*?(?=\n\[)", "endpoint = {}\n", dual_text)
    assert dual_data("build", "questions", "--project", project, "--profile", "embedded").code == 0
    for price in (of_all, of_answers):
        endpoint = model.format(price=price)
        dual.write_text(re.sub(r"(?m)^endpoint = .*", endpoint, dual_text))
        embedded.write_text(embedded_text.replace('local = "smollm2"', endpoint))
        for options in ((), ("--profile", "embedded")):
            calls, tokens, cost = told("salience", *options)
            assert cost == pytest.approx((tokens if price is of_all else 3 * calls) / 1000, abs=0.01)
            calls, tokens, cost = told("knowledge", *options)
            # Three wordings of 24 new tokens, and the log-probability of the answer.
            assert cost == pytest.approx((tokens if price is of_all else (3 * 24 + 1) * calls / 4) / 1000, abs=0.01)


def test_the_plan_of_an_offline_build_tells_that_calls_are_missing(project: Path) -> None:
    plan = ("build", "facts", "--dry-run", "--offline", "--project", project, "--profile", "embedded")
    before = dual_data(*plan).out
    assert re.search(r"\n\nA build will stop: \d+ calls are not in the call log\.\n$", before)
    assert dual_data("build", "facts", "--project", project, "--profile", "embedded").code == 0
    assert "A build will stop" not in dual_data(*plan, "--rerun").out


def test_a_plan_tells_which_share_of_the_answers_a_budget_covers(project: Path) -> None:
    """Before the facts are built, and from the facts; the rules of a model share its budget."""
    endpoint = 'endpoint = { base_url = "http://127.0.0.1:9/v1", model = "m" }'
    profile = project / "pipeline" / "embedded.toml"
    text = profile.read_text().replace('local = "smollm2"', endpoint)
    text = text.replace("[salience]", "[salience]\nbudget = BUDGET")
    text = text.replace("[[knowledge.models]]", '[[knowledge.models]]\nrules = ["matched", "paper"]\nbudget = BUDGET')

    def planned(tokens: int) -> tuple[dict[str, str], list[str]]:
        profile.write_text(text.replace("BUDGET", f"{{ tokens = {tokens} }}"))
        plan = dual_data("build", "--dry-run", "--project", project, "--profile", "embedded").out
        return row(plan, "salience"), re.findall(r"(?m)^knowledge .* covers about (\d+) % of this", plan)

    for _ in ("from sizes", "from the facts"):
        judge, shares = planned(10_000)
        share = 1_000_000 // int(judge["tokens"])
        assert f"; salience.budget.tokens = 10,000 covers about {share} % of this" in judge["note"]
        assert int(shares[0]) > 0
        assert shares[1] == "0"
        judge, shares = planned(10_000_000)
        assert "covers" not in judge["note"]
        assert not shares
        assert dual_data("build", "questions", "--project", project, "--profile", "embedded").code == 0


def test_the_plan_of_the_embedded_profile_is_the_same_before_and_after_the_facts(project: Path) -> None:
    options = ("--profile", "embedded", "--project", project)
    before = dual_data("build", "--dry-run", *options)
    assert dual_data("build", "questions", *options).code == 0
    after = dual_data("build", "--dry-run", *options)
    for stage, calls in (("knowledge", "1200"), ("salience", "200")):
        assert row(before.out, stage)["calls to make"] == row(after.out, stage)["calls to make"] == calls
    assert not re.search(r"^links .* known once", before.out, re.MULTILINE), "counted in the snapshot, without a call"


@pytest.mark.parametrize("links", ['method = "dump"\nfolder = "dumps"', 'method = "none"'])
def test_links_that_need_no_call_are_not_planned(project: Path, links: str) -> None:
    profile = project / "pipeline" / "dual.toml"
    text = re.sub(r"(?s)\[links\].*?\n\n", f"[links]\n{links}\n\n", profile.read_text())
    profile.write_text(text)
    outcome = dual_data("build", "--dry-run", "links", "--project", project)
    assert outcome.code == 0, outcome.err
    calls = outcome.out.split("\n\n")[1]
    assert "facts " in calls
    assert "links " not in calls


def test_the_readme_tells_this_plan(project: Path) -> None:
    plan = dual_data("build", "--dry-run", "--project", project).out
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    for stage in ("facts", "links", "knowledge", "salience"):
        (line,) = (readme_line for readme_line in lines if re.match(rf"\| {stage} \| [0-9,]+ \|", readme_line))
        _, requests, tokens, least, _ = (cell.strip() for cell in line.strip("|").split("|"))
        planned = row(plan, stage)
        assert requests.replace(",", "") == planned["calls to make"]
        assert (tokens or "-").replace(",", "") == planned["tokens"]
        assert least == (planned["at least"] or "your server")


def test_a_local_model_is_called_the_same_before_and_after_the_facts(project: Path) -> None:
    """Its folder is not told, and a limit of requests under [services.pace] for its name holds in both."""
    folder = project / "private" / "model"
    folder.mkdir(parents=True)
    profile = project / "pipeline" / "embedded.toml"
    profile.write_text(profile.read_text().replace('local = "smollm2"', f"local = '{folder}'"))
    options = ("--profile", "embedded", "--project", project)
    for _ in ("from sizes", "from the facts"):
        plan = dual_data("build", "--dry-run", *options)
        assert plan.code == 0, plan.err
        assert [row(plan.out, stage)["source"] for stage in ("knowledge", "salience")] == ["local:model"] * 2
        assert dual_data("build", "questions", *options).code == 0
