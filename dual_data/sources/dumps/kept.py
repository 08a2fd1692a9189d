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

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import polars as pl

from dual_data.errors import InputError
from dual_data.ids import ITEM
from dual_data.sources.dumps import sql_frames
from dual_data.sources.dumps.ahead import in_order
from dual_data.sources.dumps.files import Piece
from dual_data.sources.dumps.sql import Column, Statement, statements

_ARTICLES = 0
"""Number of the article namespace."""


class Layout(NamedTuple):
    """The columns that are read of a table, which of its rows are kept, and the columns that these get."""

    columns: tuple[str, ...]
    kept: pl.Expr
    made: Mapping[str, str | pl.Expr]

    def rows(self, read: pl.DataFrame) -> pl.DataFrame:
        """What is kept of rows with `columns`."""
        return read.filter(self.kept).select(**self.made)


LAYOUTS = {
    "page": Layout(
        ("page_id", "page_namespace", "page_title", "page_is_redirect"),
        pl.col("page_namespace") == _ARTICLES,
        {"page": "page_id", "title": "page_title", "redirect": pl.col("page_is_redirect") != 0},
    ),
    "redirect": Layout(
        ("rd_from", "rd_namespace", "rd_title", "rd_interwiki"),
        (pl.col("rd_namespace") == _ARTICLES) & (pl.col("rd_interwiki").fill_null("") == ""),
        {"source": "rd_from", "title": "rd_title"},
    ),
    "linktarget": Layout(
        ("lt_id", "lt_namespace", "lt_title"),
        pl.col("lt_namespace") == _ARTICLES,
        {"target": "lt_id", "title": "lt_title"},
    ),
    "pagelinks": Layout(
        ("pl_from", "pl_from_namespace", "pl_target_id"),
        pl.col("pl_from_namespace") == _ARTICLES,
        {"source": "pl_from", "target": "pl_target_id"},
    ),
    "page_props": Layout(
        ("pp_page", "pp_propname", "pp_value"),
        (pl.col("pp_propname") == "wikibase_item") & pl.col("pp_value").str.contains(f"^{ITEM}$"),
        {"page": "pp_page", "qid": "pp_value"},
    ),
    "wb_items_per_site": Layout(
        ("ips_item_id", "ips_site_id", "ips_site_page"),
        pl.lit(True),
        {"item": "ips_item_id", "site": "ips_site_id", "title": "ips_site_page"},
    ),
}
_BY_TITLE = Layout(
    ("pl_from", "pl_from_namespace", "pl_namespace", "pl_title"),
    (pl.col("pl_from_namespace") == _ARTICLES) & (pl.col("pl_namespace") == _ARTICLES),
    {"source": "pl_from", "title": "pl_title"},
)
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
