"""The definite article before subjects and answers that take it."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from dual_data.config import RELATIONS, TOPICS, load_relations, load_topics
from pipeline.questions import _with_article, _with_named_answers
from pipeline.wording.wordings import with_questions

ROOT = Path(__file__).resolve().parents[2]
TOPIC_FILE = ROOT / TOPICS


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
        *(("places_landmark", label, label) for label in ("Hadrian's Wall", "St George’s Chapel", "Jaffa Gate")),
        *(
            ("places_landmark", label, f"the {label}")
            for label in ("Maiden's Tower", "Atatürk Library", "Remission Gate")
        ),
        *(
            ("places_landmark", label, f"the {label}")
            for label in ("Southbank Centre", "Divriği Great Mosque and Hospital")
        ),
        ("places_landmark", "The Pentagon", "the Pentagon"),
        ("places_landmark", "Tower of London", "the Tower of London"),
        ("places_landmark", "Stonehenge", "Stonehenge"),
        ("geography_glacier", "Mendenhall Glacier", "the Mendenhall Glacier"),
        ("places_city", "United", "United"),
        *(
            ("places_region", label, f"the {label}")
            for label in ("Azores", "Jewish Autonomous Oblast", "Federation of Bosnia and Herzegovina", "Free State")
        ),
        *(("places_region", label, f"the {label}") for label in ("Eastern Cape", "Northern Cape", "Western Cape")),
        *(("places_region", label, label) for label in ("Amur Oblast", "Flanders", "Northern Cyprus")),
    ],
)
def test_labels_take_the_article_that_their_topic_gives(topic: str, label: str, asked: str) -> None:
    row = pl.DataFrame({"topic": [topic], "subject_label": [label], "subject": [label]})
    assert _with_article(row, load_topics(TOPIC_FILE))["subject"].item() == asked


FACTS = [
    ("places_country", "Q30", "United States"),
    ("places_country", "Q1005", "The Gambia"),
    ("places_country", "Q142", "France"),
    ("event_sport", "Q19317", "FIFA World Cup"),
    ("geography_forest", "Q4421", "Black Forest"),
    ("business_corporation", "Q4421", "Black Forest"),
]


@pytest.mark.parametrize(
    ("stem", "object_qid", "answer", "statement"),
    [
        ("P17", "Q30", "United States", "Nevada is located in the United States."),
        ("P17", "Q142", "France", "Nevada is located in France."),
        ("P17", "Q1005", "The Gambia", "Nevada is located in The Gambia."),
        ("P17", "Q7777", "United Mines", "Nevada is located in United Mines."),  # the subject of no topic
        ("P361", "Q4421", "Black Forest", "Nevada is part of the Black Forest."),  # a forest, by the second topic not
        ("P4552", "Q4421", "Black Forest", "The mountain range of Nevada is the Black Forest."),
        ("P275", "Q4421", "Black Forest", "Nevada is released under the Black Forest."),  # the wording has the article
        ("P166", "Q19317", "FIFA World Cup", "An honour given to Nevada: the FIFA World Cup."),
        ("P710", "Q30", "United States", "The United States took part in Nevada."),
    ],
)
def test_answers_take_the_article_as_subjects_do(stem: str, object_qid: str, answer: str, statement: str) -> None:
    facts = pl.DataFrame(FACTS, schema=["topic", "subject_qid", "subject_label"], orient="row")
    columns = {"object_qid": object_qid, "object_label": answer, "answer": answer, "relation": stem}
    row = pl.DataFrame({"fact_id": "1", "subject": "Nevada", **columns})
    named = _with_named_answers(row, facts, load_topics(TOPIC_FILE))
    asked = with_questions(named, load_relations(ROOT / RELATIONS)).row(0, named=True)
    assert asked["statement"] == statement
    assert asked["answer"] == answer
