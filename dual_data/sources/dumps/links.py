"""Inbound links of items, counted in Wikipedia's tables as `linkshere` of its API counts them.

A count is the number of distinct articles, not redirects, that link to the article of an item or to a redirect to it.
A reader of MediaWiki is led on by one redirect and no more, and so its API counts: that is one hop. With more hops,
links to a redirect to a redirect count too. The article of an item whose page is a redirect is found, as the API does
it, at the end of all redirects; at a circle there is none.
"""

from __future__ import annotations

import narwhals as nw
import polars as pl

from dual_data.sources.dumps.engines import Lazy, Tables

_REDIRECT = 1 << 40
"""Above every page id: sorts redirects behind articles."""
_LONGEST = 16
"""Redirects in a row that are followed from the page of an item; what still leads on is taken for a circle."""


def count(tables: Tables, qids: pl.Series | None = None, hops: int = 1) -> pl.DataFrame:
    """Columns qid, title (with spaces) and inbound_links: one row an item that has an article, sorted by qid.

    `qids` are the items asked for, None for all. An item whose page is missing, or leads to no article, has no row.
    """
    engine = tables.engine
    props = tables["page_props"]
    if qids is not None:
        asked = engine.local(pl.DataFrame({"qid": qids.unique()}, schema={"qid": pl.String}))
        props = props.join(asked, on="qid", how="semi")
    pages, steps = tables["page"], _steps(tables)
    # What items lead to is needed three times below, and is small beside the links.
    items = _articles_of_items(tables, props, pages, steps)
    owners = items.select("owner", title="target").unique()
    named = engine.collect(_titles(engine.local(owners), steps, hops))
    targets = engine.local(_grouped(tables, named))
    sources = pages.filter(~nw.col("redirect")).select(source="page")
    parts = [engine.collect(_count(tables, targets, sources, *bounds)) for bounds in _ranges(tables, sources)]
    # A page lies in one range, so that counts of distinct pages add up.
    counts = pl.concat(parts).group_by("owner").agg(pl.col("links").sum())
    return (
        items.join(counts, on="owner", how="left")
        .select("qid", title=pl.col("target").str.replace_all("_", " "), inbound_links=pl.col("links").fill_null(0))
        .sort("qid")
    )


def _steps(tables: Tables) -> Lazy:
    """Columns start and end: titles of redirects among the articles, and where they lead."""
    redirects = tables["redirect"].rename({"title": "end"})
    pages = tables["page"].select("page", start="title")
    return redirects.join(pages, left_on="source", right_on="page", how="inner").select("start", "end")


def _articles_of_items(tables: Tables, props: Lazy, pages: Lazy, steps: Lazy) -> pl.DataFrame:
    """Columns qid, owner (page id) and target (its title): the page of each item, after all redirects."""
    engine = tables.engine
    first = engine.collect(
        props.join(pages.select("page", "redirect"), on="page", how="inner")
        # An item may stand on several pages for a while; an article is preferred to redirects, then the older page.
        .with_columns(order=nw.col("page") + nw.col("redirect").cast(nw.Int64) * _REDIRECT)
        .group_by("qid")
        .agg(nw.col("order").min())
        .with_columns(page=nw.col("order") % _REDIRECT)
        .join(pages, on="page", how="inner")
        .select("qid", "redirect", target="title", owner="page")
    )
    found = [first.filter(~pl.col("redirect"))]
    away = first.filter("redirect")
    for _ in range(_LONGEST):
        if away.is_empty():
            break
        ends = engine.local(away.select("qid", start="target")).join(steps, on="start", how="inner")
        reached = ends.select("qid", title="end").join(pages, on="title", how="inner")
        after = engine.collect(reached.select("qid", "redirect", target="title", owner="page"))
        found.append(after.filter(~pl.col("redirect")))
        away = after.filter("redirect")
    return pl.concat(found).select("qid", "owner", "target")


def _titles(owners: Lazy, steps: Lazy, hops: int) -> Lazy:
    """Columns owner and title: each article under its own title and those of the redirects to it."""
    found = edge = owners
    for _ in range(hops):
        edge = edge.join(steps, left_on="title", right_on="end", how="inner").select("owner", title="start")
        found = nw.concat([found, edge], how="vertical")
    return found.unique()


def _by_title(tables: Tables) -> bool:
    """Whether links name their target (up to 2024) or its number."""
    return "title" in tables["pagelinks"].collect_schema().names()


def _grouped(tables: Tables, named: pl.DataFrame) -> pl.DataFrame:
    """Columns owner, target (what links name it by) and several: whether the owner has more targets than one."""
    if not _by_title(tables):
        targets = tables["linktarget"].join(tables.engine.local(named), on="title", how="inner")
        named = tables.engine.collect(targets.select("owner", "target"))
    else:
        named = named.rename({"title": "target"})
    return named.with_columns(several=pl.len().over("owner") > 1)


def _ranges(tables: Tables, sources: Lazy) -> list[tuple[int, int]]:
    """Ranges of page ids that hold no more links together than the engine likes to have distinct at once.

    Dumps are sorted by page, so that a range is read without reading the rest.
    """
    highest = tables.engine.collect(sources.select(nw.col("source").max()))["source"].item() or 0
    most = tables.engine.rows_at_once
    count = -(-tables.rows("pagelinks") // most) if most else 1
    step = highest // max(count, 1) + 1
    return [(low, low + step) for low in range(0, highest + 1, step)]


def _count(tables: Tables, targets: Lazy, sources: Lazy, low: int, high: int) -> Lazy:
    """Columns owner and links, of links that come from pages in [low, high)."""
    inside = (nw.col("source") >= low) & (nw.col("source") < high)
    links, sources = tables["pagelinks"].filter(inside), sources.filter(inside)
    if _by_title(tables):
        links = links.rename({"title": "target"})
    hits = links.join(targets, on="target", how="inner").join(sources, on="source", how="semi")
    # The tables hold each link once, so that only articles with several titles can be linked to twice by one page.
    once = hits.filter(~nw.col("several")).select("owner", "source")
    twice = hits.filter(nw.col("several")).select("owner", "source").unique()
    parts = [part.group_by("owner").agg(nw.len().alias("links")) for part in (once, twice)]
    return nw.concat(parts, how="vertical").with_columns(nw.col("links").cast(nw.Int64))
