"""Inbound links from tables: against a plain count, against MediaWiki's API, and the same in every layout."""

from __future__ import annotations

import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dual_data.calls.fetching import Calls
from dual_data.config import Pace, Services
from dual_data.errors import InputError
from dual_data.sources.dumps.engines import Polars, Tables
from dual_data.sources.dumps.links import count
from dual_data.sources.wikipedia.counts import Wikipedia
from tests.services.mediawiki import mediawiki
from tests.sources.dumps.wikis import Page, by_title, export, plain_count, tables, write

TITLES = ["A", "B", "O'Neil", "Été", "C_(x),(y", 'Say_"D"', "NULL", "\\E"]
LINKS = st.tuples(st.sampled_from([0, 0, 0, 1]), st.sampled_from(TITLES))
REDIRECTS = st.tuples(
    st.sampled_from([0, 0, 0, 4]), st.sampled_from([*TITLES, "Gone"]), st.sampled_from(["", "", "fr"])
)


@st.composite
def wikis(draw: st.DrawFn) -> dict[int, Page]:
    """Few titles, so that redirects form chains and circles."""
    places = draw(st.lists(st.tuples(st.sampled_from([0, 0, 0, 1]), st.sampled_from(TITLES)), unique=True, min_size=1))
    anchor = {1000: Page(0, "Anchor", None, ((0, "A"),))}
    return anchor | {
        number * 7 + 1: Page(
            namespace,
            title,
            draw(st.none() | REDIRECTS),
            tuple(draw(st.lists(LINKS, max_size=4))),
            draw(st.none() | st.sampled_from(["Q1", "Q2", "Q3", "Q40"])),
        )
        for number, (namespace, title) in enumerate(places)
    }


CIRCLE = {
    1: Page(0, "A", (0, "B", ""), (), "Q1"),
    2: Page(0, "B", (0, "A", ""), (), "Q2"),
    3: Page(0, "NULL", None, ((0, "A"), (0, "B")), "Q3"),
    4: Page(0, "Été", (0, "Été", ""), ((0, "A"),), "Q40"),
}
CHAIN = {
    1: Page(0, "A", None, ((0, "NULL"),), "Q1"),
    8: Page(0, "B", (0, "A", ""), (), "Q2"),
    15: Page(0, "NULL", (0, "B", ""), (), "Q3"),
    22: Page(0, "Été", None, ((0, "A"), (0, "B")), "Q40"),
    1000: Page(0, "Anchor", None, ((0, "A"), (0, "B"), (0, "NULL"))),
}
"""Two hops, and links to one article by several titles, from pages far apart."""


class InSmallParts(Polars):
    """Polars with next to no memory, which joins only."""

    rows_at_once = 2
    most_apart = 0


class ByNumber(Polars):
    """Polars for which no numbers are too far apart."""

    most_apart = 10_000


def counted(
    folder: Path, hops: int, qids: pl.Series | None = None, engine: Polars | None = None
) -> dict[str, tuple[str, int]]:
    rows = count(Tables(folder, engine or Polars()), qids, hops)
    return {qid: (title, links) for qid, title, links in rows.iter_rows()}


@settings(max_examples=40)
@given(wikis(), st.integers(1, 4))
@example(CIRCLE, 1)
@example(CIRCLE, 3)
@example(CHAIN, 1)
@example(CHAIN, 2)
def test_counts_equal_a_plain_count_in_both_layouts(pages: dict[int, Page], hops: int) -> None:
    items = sorted({page.item for page in pages.values() if page.item})
    expected = {item: links for item in items if (links := plain_count(pages, item, hops)) is not None}
    with tempfile.TemporaryDirectory() as name:
        rows = tables(pages)
        assert counted(write(Path(name) / "new", rows), hops) == expected
        assert counted(write(Path(name) / "old", by_title(rows)), hops) == expected
        for engine in (InSmallParts(), ByNumber()):
            assert counted(Path(name) / "new", hops, engine=engine) == expected


PAGES = {
    "Varn": "[[Ostel]] [[Ostel]] [[Kingdom of Ostel]] {{Rivers}}",
    "Ostel": "[[Varn]] [[Missing page]] [[Way to Ostelia]]",
    "Kingdom of Ostel": "#REDIRECT [[Ostel]]",
    "Ostelia": "#REDIRECT [[Ostel]]",
    "Way to Ostelia": "#REDIRECT [[Ostelia]]",
    "Round": "#REDIRECT [[Roundabout]]",
    "Roundabout": "#REDIRECT [[Round]]",
    "Nowhere": "#REDIRECT [[Never written]]",
    "Abroad": "#REDIRECT [[wikipedia:Sarr]]",
    "Pelm": "[[Ostelia]] [[Round]] [[Roundabout]] {{Rivers}}",
    "Ünd & Söhne": '[[Pelm]] [[Ostel]] [[O\'Neil "the Wise"]]',
    'O\'Neil "the Wise"': "[[Ünd & Söhne]] [[Talk:Ostel]] [[NULL]]",
    "NULL": "[[A),(B]]",
    "A),(B": "[[NULL]] [[Way to Ostelia]]",
    "Template:Rivers": "[[Sarr]] [[Ostel]]",
    "Sarr": "A river. [[Varn]]",
    "Talk:Ostel": "[[Varn]] [[Sarr]]",
    **{f"Village {n}": "[[Sarr]]" for n in range(40)},
}


def test_a_real_wikis_tables_give_what_its_api_gives(tmp_path: Path) -> None:
    items = {title: f"Q{n}" for n, title in enumerate(PAGES, start=1) if ":" not in title}
    with mediawiki(PAGES) as wiki:
        folder = export(wiki.database, tmp_path / "dump", items)
        calls = Calls(tmp_path / "calls.sqlite", {"wikipedia": Pace()})
        source = Wikipedia(Services(wikipedia=wiki.url), calls)
        # One by one: where a redirect and its target are in one request, its links count for only one of them.
        answers = {title: source.count_by_linkshere([title], 10_000)[title] for title in items}
    expected = {items[title]: answer[:2] for title, answer in answers.items() if answer.title is not None}
    counts = counted(folder, 1)
    assert counts == expected
    assert counts[items["Sarr"]] == ("Sarr", 42)
    assert counts[items["Ostelia"]] == ("Ostel", 3)
    assert not {items[title] for title in ("Nowhere", "Round", "Roundabout", "Abroad")} & counts.keys()


def test_only_the_items_asked_for_are_counted(tmp_path: Path) -> None:
    folder = write(tmp_path, tables({1: Page(0, "A", None, ((0, "B"),), "Q1"), 2: Page(0, "B", None, (), "Q2")}))
    assert counted(folder, 1, pl.Series(["Q2", "Q2", "Q9"])) == {"Q2": ("B", 1)}
    assert counted(folder, 1, pl.Series([], dtype=pl.String)) == {}


def test_a_missing_dump_is_named(tmp_path: Path) -> None:
    rows = tables({1: Page(0, "A", None, (), "Q1")})
    del rows["redirect"]
    folder = write(tmp_path, rows)
    with pytest.raises(InputError, match=r"no dump of redirect; get it with dual-data dumps fetch"):
        counted(folder, 1)
