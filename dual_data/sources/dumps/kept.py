"""What is kept of each SQL table: the columns and rows that links and titles follow from.

    page               page, title, redirect        pages of the article namespace
    redirect           source, title                page id, and the article that it leads to, in this wiki
    linktarget         target, title                titles of the article namespace
    pagelinks          source, target (or title)    links that come out of the article namespace
    page_props         page, qid                    the Wikidata item of a page
    wb_items_per_site  item, site, title            articles of an item, which is given by its number

Titles have underscores, as in the dumps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import polars as pl

from dual_data.errors import InputError
from dual_data.sources.dumps import sql_frames
from dual_data.sources.dumps.ahead import in_order
from dual_data.sources.dumps.files import Piece
from dual_data.sources.dumps.sql import Column, Statement, statements

_ARTICLES = 0
"""Number of the article namespace."""
ITEM = r"^Q[1-9][0-9]*$"


class Layout(NamedTuple):
    """The columns that are read of a table, and the function that makes its rows of them."""

    columns: tuple[str, ...]
    rows: Callable[[pl.DataFrame], pl.DataFrame]


def _page(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("page_namespace") == _ARTICLES).select(
        page="page_id", title="page_title", redirect=pl.col("page_is_redirect") != 0
    )


def _redirect(rows: pl.DataFrame) -> pl.DataFrame:
    here = (pl.col("rd_namespace") == _ARTICLES) & (pl.col("rd_interwiki").fill_null("") == "")
    return rows.filter(here).select(source="rd_from", title="rd_title")


def _linktarget(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("lt_namespace") == _ARTICLES).select(target="lt_id", title="lt_title")


def _pagelinks(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("pl_from_namespace") == _ARTICLES).select(source="pl_from", target="pl_target_id")


def _pagelinks_by_title(rows: pl.DataFrame) -> pl.DataFrame:
    inside = (pl.col("pl_from_namespace") == _ARTICLES) & (pl.col("pl_namespace") == _ARTICLES)
    return rows.filter(inside).select(source="pl_from", title="pl_title")


def _page_props(rows: pl.DataFrame) -> pl.DataFrame:
    item = (pl.col("pp_propname") == "wikibase_item") & pl.col("pp_value").str.contains(ITEM)
    return rows.filter(item).select(page="pp_page", qid="pp_value")


def _sitelinks(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(item="ips_item_id", site="ips_site_id", title="ips_site_page")


LAYOUTS = {
    "page": Layout(("page_id", "page_namespace", "page_title", "page_is_redirect"), _page),
    "redirect": Layout(("rd_from", "rd_namespace", "rd_title", "rd_interwiki"), _redirect),
    "linktarget": Layout(("lt_id", "lt_namespace", "lt_title"), _linktarget),
    "pagelinks": Layout(("pl_from", "pl_from_namespace", "pl_target_id"), _pagelinks),
    "page_props": Layout(("pp_page", "pp_propname", "pp_value"), _page_props),
    "wb_items_per_site": Layout(("ips_item_id", "ips_site_id", "ips_site_page"), _sitelinks),
}
_BY_TITLE = Layout(("pl_from", "pl_from_namespace", "pl_namespace", "pl_title"), _pagelinks_by_title)
"""pagelinks as it was up to 2024; where a dump has both layouts, ids may still be missing and titles are not."""


def pieces(blocks: Iterator[bytes], table: str, path: str, done: int, size: int) -> Iterator[Piece]:
    """What the lines after `done` bytes of the text give, about `size` bytes at once.

    Raises InputError for what is no dump of the table.
    """
    lines = (line for line in statements(blocks, table, path) if line.end > done)

    def read(batch: Statement) -> Piece:
        layout = _layout(table, batch.columns, path)
        rows = sql_frames.read(batch, layout.columns, path)
        counts = {"rows": rows.frame.height, "invalid_utf8": rows.invalid, "exact_batches": int(rows.exactly)}
        return Piece({table: layout.rows(rows.frame)}, counts, batch.end)

    return in_order(read, sql_frames.batches(lines, size))


def empty(table: str) -> dict[str, pl.DataFrame]:
    """A table without rows."""
    columns = LAYOUTS[table].columns
    texts = ("_title", "_interwiki", "_propname", "_value", "_site_id", "_site_page")
    schema = {name: pl.String if name.endswith(texts) else pl.Int64 for name in columns}
    return {table: LAYOUTS[table].rows(pl.DataFrame(schema=schema))}


def _layout(table: str, columns: Sequence[Column], path: str) -> Layout:
    names = {column.name for column in columns}
    layout = _BY_TITLE if table == "pagelinks" and "pl_title" in names else LAYOUTS[table]
    if missing := [name for name in layout.columns if name not in names]:
        raise InputError(
            f"{path}: no column {missing[0]}; it has: {', '.join(sorted(names))}. Is this a dump of {table} by a "
            "MediaWiki of 2013 or later?"
        )
    return layout
