"""The definite article before subjects that take it."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from dual_data.config import load_topics
from pipeline.questions import TOPICS, _with_article

TOPIC_FILE = Path(__file__).resolve().parents[2] / TOPICS


@pytest.mark.parametrize(
    ("topic", "label", "asked"),
    [
        ("places_country", "Netherlands", "the Netherlands"),
        ("places_country", "United Kingdom", "the United Kingdom"),
        ("places_country", "Marshall Islands", "the Marshall Islands"),
        ("places_country", "The Gambia", "the Gambia"),
        ("places_city", "The Hague", "The Hague"),
        ("places_country", "France", "France"),
        ("places_landmark", "Tower of London", "the Tower of London"),
        ("places_landmark", "Stonehenge", "Stonehenge"),
        ("geography_glacier", "Mendenhall Glacier", "the Mendenhall Glacier"),
        ("places_city", "United", "United"),
    ],
)
def test_labels_take_the_article_that_their_topic_gives(topic: str, label: str, asked: str) -> None:
    row = pl.DataFrame({"topic": [topic], "subject_label": [label], "subject": [label]})
    assert row.select(_with_article(load_topics(TOPIC_FILE))).item() == asked
