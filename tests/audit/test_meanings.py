"""Every measurement is explained, and nothing else is."""

import polars as pl

from dual_data.audit import audit
from dual_data.audit.meanings import OF_PAIR, OF_SPLIT, explained

ROWS = pl.DataFrame({"question": ["What is the capital of France?"], "answer": ["Paris"]})


def test_all_measurements_in_their_order_have_a_meaning() -> None:
    report = audit({"one": ROWS, "other": ROWS})
    assert list(report["splits"]["one"]) == list(OF_SPLIT)
    # In addition to the measurements, a pair says why some of them are missing.
    assert [name for name in report["pairs"]["one|other"] if name != "untold"] == list(OF_PAIR)


def test_the_text_has_a_line_for_each() -> None:
    lines = explained().splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  ")] == [*OF_SPLIT, *OF_PAIR]
    assert all(line.endswith((".", ":")) or "0.5 not at all" in line for line in lines if line)
