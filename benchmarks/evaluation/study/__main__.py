"""python -m benchmarks.evaluation.study: make the study's data, which the grids of study.toml run on."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import polars as pl
import torch

from benchmarks import ROOT, reference
from benchmarks.evaluation.study.asked import ProbeResult, ask, countries_of
from benchmarks.evaluation.study.facts import WORDINGS, city_facts, neighbours, read_triplets, with_population
from benchmarks.evaluation.study.names import classifier, guessed_countries, invented_names
from benchmarks.evaluation.study.sets import STYLES, balance, splits
from dual_data.config import Relation, load_relations
from dual_data.errors import InputError
from dual_data.evaluation.models.loading import Loaded, load
from dual_data.sampling import with_rank
from dual_data.statistics import spearman

INVENTED = 500


def main(arguments: list[str] | None = None) -> int:
    """Write a folder of sets per style, facts.parquet with every fact, and summary.json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluation.study", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the data; set DUAL_DATA_STUDY to it")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--dtype", default="bfloat16", help="as in study.toml: what a model knows depends on it")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--popularity", choices=("triplets", "population"), default="triplets")
    parser.add_argument("--most", type=int, default=100, help="facts to forget on each side, at most")
    parser.add_argument("--limit", type=int, default=0, help="ask the model this many facts, by hash; 0 for all")
    parser.add_argument("--rows", type=int, default=512, help="questions asked at once")
    options = parser.parse_args(arguments)
    relations = load_relations(ROOT / "pipeline" / "relations")
    try:
        triplets = read_triplets(reference("wikidata_triplets"))
    except InputError as error:
        parser.error(str(error))
    facts = with_population(city_facts(triplets))
    guessed = guessed_countries(facts["subject"].to_list(), facts["answer"].to_list())
    facts = facts.with_columns(guessed=pl.Series(guessed), popularity=pl.col(options.popularity))
    facts = facts.with_columns(guessable=pl.col("guessed") == pl.col("answer"))
    given_away = _share(facts["guessable"])
    _say(f"{facts.height} facts; the letters of the name give the country away in {given_away:.1%}")
    loaded = load(options.model, options.dtype, options.device)
    ranked = with_rank(facts, "limit").sort("rank").drop("rank")
    probe = ask(loaded, ranked.head(options.limit or facts.height), rows=options.rows)
    _say(
        f"{probe.facts['known'].sum()} of {probe.facts.height} known; another city's answer fits in {probe.control:.1%}"
    )
    options.out.mkdir(parents=True, exist_ok=True)
    probe.facts.write_parquet(options.out / "facts.parquet")
    summary = {
        "model": {"spec": options.model, "weights": loaded.info.weights, "dtype": options.dtype},
        "popularity": options.popularity,
        "facts": facts.height,
        "name_classifier": given_away,
        "triplets_and_population": _agreement(facts),
        "asked": _summary(probe),
        "invented": _invented(loaded, facts, min(INVENTED, probe.facts.height), options.rows),
        "styles": _write(options.out, probe.facts, triplets, list(relations.values()), options.most),
    }
    (options.out / "summary.json").write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    print(json.dumps(summary, indent=1, ensure_ascii=False))
    return 0


def _write(
    out: Path, facts: pl.DataFrame, triplets: pl.DataFrame, relations: list[Relation], most: int
) -> dict[str, Any]:
    styles: dict[str, Any] = {}
    city_relations = [relation for relation in relations if {"places_city", "*"} & set(relation.topics)]
    for style in STYLES:
        try:
            sets = splits(facts.filter("known"), style, most)
        except InputError as error:  # the other styles may still have enough
            _say(str(error))
            styles[style] = {"not_made": str(error)}
            continue
        balance_of_sets = balance(sets)
        sets["neighbor_subject"] = neighbours(
            triplets, city_relations, [*sets["rare"]["subject"], *sets["popular"]["subject"]]
        )
        (out / style).mkdir(exist_ok=True)
        for name, rows in sets.items():
            rows.write_parquet(out / style / f"{name}.parquet")
        styles[style] = {"rows": {name: rows.height for name, rows in sets.items()}, "balance": balance_of_sets}
    return styles


def _summary(probe: ProbeResult) -> dict[str, float]:
    """Numbers and shares of the facts that were asked, also by whether the name gives the country away."""
    table, known = probe.facts, probe.facts.filter("known")
    return {
        "facts": table.height,
        "known": known.height,
        "answered": int(table["answered"].sum()),
        "known_of_guessable": _share(table.filter("guessable")["known"]),
        "known_of_unguessable": _share(table.filter(~pl.col("guessable"))["known"]),
        "guessable_of_known": _share(known["guessable"]),
        "another_citys_answer": probe.control,
    }


def _invented(loaded: Loaded, facts: pl.DataFrame, count: int, rows: int) -> dict[str, float]:
    """How often the model and a classifier of letters name the same country for an invented name."""
    names = invented_names(facts["subject"].to_list(), count)
    guessed = classifier().fit(facts["subject"].to_list(), facts["answer"].to_list()).predict(names)
    questions = [WORDINGS.canonical.format(subject=name) for name in names]
    answers = countries_of(loaded, questions, facts["answer"].to_list(), rows=rows)
    return {
        "names": len(names),
        "some_country": sum(map(bool, answers)) / len(answers),
        "the_classifiers": sum(answer == guess for answer, guess in zip(answers, guessed, strict=True)) / len(answers),
    }


def _agreement(facts: pl.DataFrame) -> float:
    both = facts.drop_nulls(["triplets", "population"])
    return spearman(both["triplets"].to_numpy(), both["population"].to_numpy())


def _share(values: pl.Series) -> float:
    return float(values.cast(pl.Float64).to_numpy().mean()) if len(values) else 0.0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
