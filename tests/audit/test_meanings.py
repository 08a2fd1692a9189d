"""Every measurement is explained, and nothing else is."""

import re

import polars as pl

from dual_data.audit import audit
from dual_data.audit.columns import COLUMNS
from dual_data.audit.meanings import OF_PAIR, OF_SPLIT, explained

ROWS = pl.DataFrame({"question": ["What is the capital of France?"], "answer": ["Paris"]})


def test_all_measurements_in_their_order_have_a_meaning() -> None:
    report = audit({"one": ROWS, "other": ROWS})
    assert list(report["splits"]["one"]) == list(OF_SPLIT)
    # In addition to the measurements, a pair says why some of them are missing.
    assert [name for name in report["pairs"]["one|other"] if name != "untold"] == list(OF_PAIR)


def test_the_text_has_a_line_for_each() -> None:
    lines = explained().splitlines()
    named = [line.split()[0] for line in lines if line.startswith("  ")]
    columns = named[len(OF_SPLIT) + len(OF_PAIR) :]
    assert named == [*OF_SPLIT, *OF_PAIR, *columns]
    assert columns[:3] == ["question", "answer", "relation"]
    assert all(line.endswith((".", ":")) or "0.5 not at all" in line for line in lines if line)


def test_every_name_of_a_column_is_told() -> None:
    told = set(re.findall(r"\w+", explained().partition("Read from the columns")[2]))
    assert {name for column in COLUMNS for name in column.names} <= told
