"""mysqldump's text for rows of our own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dual_data.sources.dumps.sql import Value

INTEGER = "int(8) unsigned NOT NULL DEFAULT 0"
TITLE = "varbinary(255) NOT NULL DEFAULT ''"
MAYBE = "varbinary(255) DEFAULT NULL"

COLUMNS: Mapping[str, Mapping[str, str]] = {
    "page": {
        "page_id": "int(8) unsigned NOT NULL AUTO_INCREMENT",
        "page_namespace": "int(11) NOT NULL DEFAULT 0",
        "page_title": TITLE,
        "page_is_redirect": "tinyint(1) unsigned NOT NULL DEFAULT 0",
        "page_random": "double unsigned NOT NULL DEFAULT 0",
        "page_lang": MAYBE,
    },
    "redirect": {
        "rd_from": INTEGER,
        "rd_namespace": "int(11) NOT NULL DEFAULT 0",
        "rd_title": TITLE,
        "rd_interwiki": MAYBE,
        "rd_fragment": MAYBE,
    },
    "linktarget": {"lt_id": "bigint(20) unsigned NOT NULL", "lt_namespace": "int(11) NOT NULL", "lt_title": TITLE},
    "pagelinks": {"pl_from": INTEGER, "pl_from_namespace": "int(11) NOT NULL", "pl_target_id": "bigint(20) NOT NULL"},
    "page_props": {
        "pp_page": "int(11) NOT NULL",
        "pp_propname": "varbinary(60) NOT NULL",
        "pp_value": "blob NOT NULL",
        "pp_sortkey": "float DEFAULT NULL",
    },
    "wb_items_per_site": {
        "ips_row_id": "bigint(20) unsigned NOT NULL",
        "ips_item_id": INTEGER,
        "ips_site_id": "varbinary(32) NOT NULL",
        "ips_site_page": "varbinary(310) NOT NULL",
    },
}
"""Column definitions as the dumps have them, by table."""


def literal(value: Value, mark: bool = False) -> bytes:
    """A value as mysqldump writes it."""
    if value is None:
        return b"NULL"
    if isinstance(value, bytes):
        return (b"_binary " if mark else b"") + b"'" + escape(value) + b"'"
    return repr(value).encode()


def create(table: str, columns: Mapping[str, str]) -> bytes:
    """The head of a dump."""
    body = "".join(f"  `{name}` {kind},\n" for name, kind in columns.items())
    text = f"-- MariaDB dump 10.19\n/*!40101 SET NAMES utf8mb4 */;\nDROP TABLE IF EXISTS `{table}`;\n"
    text += f"CREATE TABLE `{table}` (\n{body}  PRIMARY KEY (`{next(iter(columns))}`)\n) ENGINE=InnoDB;\n"
    return (text + f"LOCK TABLES `{table}` WRITE;\n").encode()


def dump(
    table: str,
    rows: Iterable[Sequence[Value]],
    columns: Mapping[str, str] | None = None,
    *,
    a_line: int = 50,
    mark: bool = False,
    row_a_line: bool = False,
) -> bytes:
    """A whole dump with `a_line` rows per INSERT; `mark` writes `_binary`, `row_a_line` puts each row on a line."""
    columns = COLUMNS[table] if columns is None else columns
    tuples = [b"(" + b",".join(literal(value, mark) for value in row) + b")" for row in rows]
    text = create(table, columns)
    separator = b",\n" if row_a_line else b","
    for start in range(0, len(tuples), a_line):
        values = separator.join(tuples[start : start + a_line])
        text += f"INSERT INTO `{table}` VALUES ".encode() + (b"\n" if row_a_line else b"") + values + b";\n"
    return text + b"UNLOCK TABLES;\n-- Dump completed on 2026-11-01  0:00:00\n"


def escape(value: bytes) -> bytes:
    """What mysqldump writes between the quotes for `value`."""
    for plain, escaped in ((b"\\", b"\\\\"), (b"\0", b"\\0"), (b"\n", b"\\n"), (b"\r", b"\\r"), (b"'", b"\\'"),
                           (b'"', b'\\"'), (b"\x1a", b"\\Z")):  # fmt: skip
        value = value.replace(plain, escaped)
    return value
