"""Small sets of questions for tests of the evaluation."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from dual_data.evaluation.rows.data import Item

_CITIES = (
    ("Lyon", "France"),
    ("Osaka", "Japan"),
    ("München", "Germany"),
    ("Turin", "Italy"),
    ("Porto", "Portugal"),
    ("São Paulo", "Brazil"),
    ("Chennai", "India"),
)


def cities(count: int = 7) -> list[Item]:
    """Questions of different lengths, with one held-out wording each."""
    return [
        Item(
            id=f"city-{index}",
            question=f"Which country is {name} in{', please' * (index % 3)}?",
            answer=country,
            answers=(country, f"Republic of {country}"),
            subject=name,
            relation="P17",
            popularity=float(10 * index),
            paraphrases=(f"{name} lies in which country?",),
        )
        for index, (name, country) in enumerate(_CITIES[:count])
    ]


def other_cities() -> list[Item]:
    """The same questions about other subjects, to retain while `cities` are forgotten."""
    return [item._replace(question=f"{item.question} Tell me.", subject=f"New {item.subject}") for item in cities()]


def write_rows(path: Path, items: list[Item]) -> None:
    """A file of JSON lines as a grid reads it, without popularity."""
    columns = ("question", "answer", "subject", "relation")
    pl.DataFrame([{name: getattr(item, name) for name in columns} for item in items]).write_ndjson(path)
