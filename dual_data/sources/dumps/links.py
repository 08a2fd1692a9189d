"""Inbound links of items, counted in Wikipedia's tables as `linkshere` of its API counts them.

A count is the number of distinct articles, not redirects, that link to the article of an item or to a redirect to it.
MediaWiki follows one redirect and no more, and its API counts likewise: that is one hop. With more hops, links to a
redirect to a redirect count too. The article of an item whose page is a redirect is, as for the API, at the end of all
redirects; a circle has none.
"""

from __future__ import annotations

from collections.abc import Callable

import narwhals as nw
import numpy as np
import polars as pl

from dual_data.sources.dumps.engines import Lazy, Tables

_REDIRECT = 1 << 40
"""Above every page id: sorts redirects behind articles."""
_LONGEST = 16
"""Redirects in a row that are followed from the page of an item; a longer chain is taken for a circle."""


def count(tables: Tables, qids: pl.Series | None = None, hops: int = 1) -> pl.DataFrame:
    """Columns qid, title (with spaces) and inbound_links: one row per item that has an article, sorted by qid.

    `qids` are the items asked for, None for all. An item whose page is missing, or leads to no article, has no row.
    """
    engine = tables.engine
    props = tables["page_props"]
    if qids is not None:
        selected = engine.local(pl.DataFrame({"qid": qids.unique()}, schema={"qid": pl.String}))
        props = props.join(selected, on="qid", how="semi")
    items = _articles_of_items(tables, props)
    titles = _titles(tables, items.select("page", "owner").unique("page"), hops)
    targets = engine.lookup(engine.collect(_targets(tables, titles)), on="target")
    sources = tables["page"].filter(~nw.col("redirect")).select(source="page")
    links = np.zeros(items.height + 1, dtype=np.int64)
    # A page lies in one range, so that counts of distinct pages add up.
    for low, high in _ranges(tables, sources):
        # A page may link to an article under several titles.
        counts = engine.tally(_hits(tables, targets, sources, low, high), by="owner", value="source")
        links[counts["owner"].to_numpy()] += counts["different"].to_numpy()
    return items.select(
        "qid",
        title=pl.col("title").str.replace_all("_", " ", literal=True),
        inbound_links=pl.Series(links[items["owner"].to_numpy()]),
    ).sort("qid")


def _articles_of_items(tables: Tables, props: Lazy) -> pl.DataFrame:
    """Columns qid, page, title and owner: the article of each item, after all redirects, and its number, from 1."""
    engine, pages = tables.engine, tables["page"]
    first = engine.collect(
        props.join(pages.select("page", "redirect"), on="page", how="inner")
        # An item may stand on several pages for a while; an article is preferred to redirects, then the older page.
        .with_columns(order=nw.col("page") + nw.col("redirect").cast(nw.Int64) * _REDIRECT)
        .group_by("qid")
        .agg(nw.col("order").min())
        .with_columns(page=nw.col("order") % _REDIRECT)
        .join(pages, on="page", how="inner")
        .select("qid", "page", "title", "redirect")
    )
    frames = [first.filter(~pl.col("redirect"))]
    redirects = first.filter("redirect")
    for _ in range(_LONGEST):
        if redirects.is_empty():
            break
        ends = tables["redirect"].join(engine.local(redirects.select("qid", source="page")), on="source", how="inner")
        targets = engine.collect(ends.join(pages, on="title", how="inner").select("qid", "page", "title", "redirect"))
        frames.append(targets.filter(~pl.col("redirect")))
        redirects = targets.filter("redirect")
    articles = pl.concat(frames).drop("redirect")
    return articles.with_columns(owner=pl.col("page").rank("dense").cast(pl.Int32))


def _titles(tables: Tables, owners: pl.DataFrame, hops: int) -> Lazy:
    """Columns owner and title: each article (page and owner) under its own title and those of the redirects to it."""
    engine, pages = tables.engine, tables["page"].select("page", "title")
    frames = [engine.lookup(owners, on="page")(pages).select("owner", "title")]
    for _ in range(hops):
        leading = tables["redirect"].join(frames[-1], on="title", how="inner")
        redirects = engine.collect(leading.select("owner", page="source"))
        frames.append(engine.lookup(redirects, on="page")(pages).select("owner", "title"))
    return nw.concat(frames, how="vertical")


def _by_title(tables: Tables) -> bool:
    """Whether links name their target (up to 2024) or its number."""
    return "title" in tables["pagelinks"].collect_schema().names()


def _targets(tables: Tables, titles: Lazy) -> Lazy:
    """Columns owner and target: the title or number by which links name it."""
    if _by_title(tables):
        return titles.rename({"title": "target"})
    return tables["linktarget"].join(titles, on="title", how="inner").select("owner", "target")


def _ranges(tables: Tables, sources: Lazy) -> list[tuple[int, int]]:
    """Ranges of page ids, each with no more links than the engine makes distinct at once.

    Dumps are sorted by page, so that a range is read without reading the rest.
    """
    highest = tables.engine.collect(sources.select(nw.col("source").max()))["source"].item() or 0
    limit = tables.engine.rows_at_once
    count = -(-tables.rows("pagelinks") // limit) if limit else 1
    step = highest // max(count, 1) + 1
    return [(low, low + step) for low in range(0, highest + 1, step)]


def _hits(tables: Tables, targets: Callable[[Lazy], Lazy], sources: Lazy, low: int, high: int) -> Lazy:
    """Columns owner and source of links that come from pages in [low, high), once for each title that a page uses."""
    inside = (nw.col("source") >= low) & (nw.col("source") < high)
    links = tables["pagelinks"].filter(inside)
    if _by_title(tables):
        links = links.rename({"title": "target"})
    return targets(links).join(sources.filter(inside), on="source", how="semi").select("owner", "source")
