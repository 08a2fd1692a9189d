"""The definite article before subjects that take it."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from dual_data.config import TOPICS, load_topics
from pipeline.questions import _with_article

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
        *(
            ("event_history", label, f"the {label}")
            for label in ("Hundred Years' War", "War of 1812", "Boer Wars", "French Revolution of 1848", "Arab Spring")
        ),
        *(("event_history", label, label) for label in ("King Philip's War", "World War II", "Shays's Rebellion")),
        ("event_film", "Sundance Film Festival", "the Sundance Film Festival"),
        ("event_film", "Crossing Europe", "Crossing Europe"),
        ("event_film", "Fantasporto", "Fantasporto"),
        ("event_film", "DOK Leipzig - International Leipzig Festival", "DOK Leipzig - International Leipzig Festival"),
        ("event_sport", "FIFA World Cup", "the FIFA World Cup"),
        ("event_sport", "Boston Marathon", "the Boston Marathon"),
        *(("event_sport", label, label) for label in ("Imatranajo", "Anarchy Rulz", "Living Dangerously")),
        ("art_sculpture", "Venus de Milo", "the Venus de Milo"),
        ("art_sculpture", "Riace bronzes", "the Riace bronzes"),
        ("art_sculpture", "The Kiss", "The Kiss"),
        ("art_sculpture", "Fountain", "Fountain"),
        ("health_medication", "combined oral contraceptive pill", "the combined oral contraceptive pill"),
        ("health_medication", "insulin", "insulin"),
        ("business_industry", "furniture industry", "the furniture industry"),
        ("business_industry", "brewing", "brewing"),
        ("business_corporation", "Bank of America", "Bank of America"),
        *(("places_landmark", label, f"the {label}") for label in ("Potala Palace", "Sistine Chapel", "London Eye")),
        *(("places_landmark", label, label) for label in ("Buckingham Palace", "Windsor Castle", "Covent Garden")),
        ("places_landmark", "The Pentagon", "the Pentagon"),
        ("places_landmark", "Tower of London", "the Tower of London"),
        ("places_landmark", "Stonehenge", "Stonehenge"),
        ("geography_glacier", "Mendenhall Glacier", "the Mendenhall Glacier"),
        ("places_city", "United", "United"),
    ],
)
def test_labels_take_the_article_that_their_topic_gives(topic: str, label: str, asked: str) -> None:
    row = pl.DataFrame({"topic": [topic], "subject_label": [label], "subject": [label]})
    assert _with_article(row, load_topics(TOPIC_FILE))["subject"].item() == asked
