"""Labels are data. Whatever they hold, they reach the rows as they are and change nothing on the way.

One real build over an endpoint whose items carry hostile labels, then everything that is made of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest
import yaml

from tests.cli.command import Outcome, dual_data, forget_pipeline
from tests.pipeline.salience.judged import quoted
from tests.untrusted.hostile import LABELS, Judge, served, spiced
from tests.wiki.world import world

pytestmark = pytest.mark.slow

INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029\ufeff]")


class Built(NamedTuple):
    """The build with hostile labels, what its models were asked, and the same without them."""

    root: Path
    owners: dict[str, str]
    touched: set[str]
    judge: Judge
    clean: Path
    outcomes: dict[str, Outcome]

    def rows(self, table: str, *, clean: bool = False) -> pl.DataFrame:
        return pl.read_parquet((self.clean if clean else self.root) / "artifacts/untrusted" / f"{table}.parquet")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    folder = tmp_path_factory.mktemp("untrusted")
    forget_pipeline()
    model, owners, touched = spiced()
    outcomes = {}
    with served(folder / "clean", world()) as (clean, _):
        assert dual_data("build", "--project", clean).code == 0
    forget_pipeline()
    with served(folder / "spiced", model) as (root, judge):
        for name, command in {
            "plan": ("build", "--dry-run"),
            "build": ("build",),
            "show": ("show", "--sample", "200"),
            "report": ("report", "--figures", folder / "figures"),
            "release": ("release",),
            "lm-eval": ("export", "lm-eval", folder / "exported-lm"),
            "tofu": ("export", "tofu-json", folder / "exported-tofu"),
        }.items():
            outcomes[name] = dual_data(*command, "--project", root)
            assert outcomes[name].code == 0, (name, outcomes[name].err[-2000:])
    yield Built(root, owners, touched, judge, clean, outcomes)
    forget_pipeline()


def test_labels_reach_the_facts_as_they_are(built: Built) -> None:
    facts = built.rows("facts/data")
    labels = dict(facts.select("subject_qid", "subject_label").unique().iter_rows())
    for name, owner in built.owners.items():
        # White space is normalised, and nothing else.
        assert labels[owner].split() == LABELS[name].split(), name


def test_every_other_fact_and_question_is_untouched(built: Built) -> None:
    def untouched_rows(table: str, *, clean: bool) -> pl.DataFrame:
        facts = built.rows("facts/data", clean=clean)
        touched = pl.col("subject_qid").is_in(built.touched) | pl.col("object_qid").is_in(built.touched)
        untouched = facts.filter(touched.not_().fill_null(True)).select("fact_id")
        return built.rows(table, clean=clean).join(untouched, on="fact_id", how="semi").sort("fact_id")

    for table in ("facts/data", "questions/data"):
        assert untouched_rows(table, clean=False).height > 300
        assert untouched_rows(table, clean=False).equals(untouched_rows(table, clean=True)), table


def test_no_label_moves_another_score_or_leaves_its_line(built: Built) -> None:
    judged = [quoted(text) for text in built.judge.messages if "\nFact:\n" in text]
    assert len(judged) > 300
    scores, before = built.rows("salience/data"), built.rows("salience/data", clean=True)
    both = scores.join(before, on="fact_id", suffix="_before")
    assert both.height > 300
    assert (both["score"] == both["score_before"]).all()
    # Orders in a label did not move its own fact either: the score follows from the relation alone.
    facts = built.rows("facts/data").join(scores, on="fact_id")
    assert (
        facts.group_by("relation").agg(pl.col("score").n_unique())["score"].to_list()
        == [1] * facts["relation"].n_unique()
    )
    assert scores["score"].is_between(1, 9).all()


def test_no_message_holds_control_tokens_or_hidden_characters(built: Built) -> None:
    for text in built.judge.messages:
        assert not re.search(r"<\||\|>|\[INST\]|<</?SYS|</s>|<start_of_turn>", text)
        if "\nFact:\n" in text:
            assert not INVISIBLE.search(text)


def test_files_lie_where_they_belong_under_plain_names(built: Built) -> None:
    folder = built.root.parent
    assert sorted(path.name for path in folder.iterdir()) == [
        "clean", "exported-lm", "exported-tofu", "figures", "spiced",
    ]  # fmt: skip
    for path in (*(built.root / "artifacts").rglob("*"), *(folder / "figures").rglob("*")):
        assert re.fullmatch(r"[A-Za-z0-9_.\-]+", path.name), path
        assert not path.is_symlink()


class Page(HTMLParser):
    """Tags and texts as a browser takes them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def test_the_report_shows_labels_and_runs_nothing(built: Built) -> None:
    text = (built.root / "artifacts/untrusted/report.html").read_text()
    page = Page(text)
    assert page.tags.count("script") == 1, "our own"
    assert "img" not in page.tags
    assert page.handlers == []
    assert not INVISIBLE.search(text.replace("\n", ""))
    assert len(text) < 5_000_000


def test_the_card_keeps_labels_in_their_cells(built: Built) -> None:
    card = (built.root / "artifacts/untrusted/release/README.md").read_text()
    _, head, body = card.split("---\n", 2)
    assert "configs" in yaml.safe_load(head)
    for active in ("<script", "<img", "](javascript", "![i]", "\u202e", "\x1b", "\n# Title"):
        assert active not in body, active
    assert len(card) < 100_000


def test_the_terminal_gets_no_control_characters(built: Built) -> None:
    for name, outcome in built.outcomes.items():
        assert not INVISIBLE.search((outcome.out + outcome.err).replace("\r", "")), name
        assert max(map(len, (outcome.out + outcome.err).splitlines()), default=0) < 20_000, name


def test_rows_of_the_release_hold_the_labels_as_they_are(built: Built) -> None:
    rows = pl.concat(
        [pl.read_parquet(path) for path in (built.root / "artifacts/untrusted/release/facts").glob("*.parquet")]
    )
    stored = set(rows["subject_label"])
    for name in ("markup", "braces", "templates", "sql", "csv", "sparql"):
        assert " ".join(LABELS[name].split()) in stored, name
