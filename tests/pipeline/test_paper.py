"""The recipe `paper` by hand."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from pipeline.recipes.matched import Family, MatchedParams, SplitOutcome
from pipeline.recipes.paper import examples, splits


def _candidates(
    sums: Sequence[int], capped: Sequence[int] = (), questions: dict[int, str] | None = None
) -> pl.DataFrame:
    """Facts named by their place in the order of rank."""
    return pl.DataFrame(
        {
            "fact_id": [str(place) for place in range(len(sums))],
            "question": [(questions or {}).get(place, f"What is {place}?") for place in range(len(sums))],
            "pop_sum": sums,
            "capped": [place in capped for place in range(len(sums))],
        }
    )


def _outcomes(
    candidates: pl.DataFrame, percents: tuple[int, ...], smallest: int, retain: tuple[int, ...] = (1,)
) -> dict[str, SplitOutcome]:
    family = Family("city", "places_city", MatchedParams(), percents, smallest)
    return {outcome.name.removeprefix("city_"): outcome for outcome in splits(candidates, family, retain)}


def test_retain_rows_ask_nothing_that_is_to_be_forgotten() -> None:
    # The last two are the most popular; 4 asks what the first, which is the rarest, is asked.
    candidates = _candidates(range(10), questions={4: "What is 0?"})
    outcomes = _outcomes(candidates, (10, 20), 2, retain=(5, 6))
    assert outcomes["forget_rare_20"].facts == ["0", "1"]
    assert outcomes["forget_popular_20"].facts == ["8", "9"]
    assert outcomes["fast_retain_5"].facts == ["2", "3", "5", "6", "7"]
    assert outcomes["fast_retain_6"].facts == []
    assert outcomes["fast_retain_6"].reason == "5 rows beside the forget splits; 6 are asked for"


def test_a_split_of_the_smallest_size_is_made_and_a_smaller_one_is_not() -> None:
    outcomes = _outcomes(_candidates(range(10)), (10, 20), 2)
    assert outcomes["forget_rare_10"].facts == []
    assert (
        outcomes["forget_rare_10"].reason
        == "10 % of 10 candidates is 1 row, fewer than 2 (splits.percents, splits.smallest)"
    )
    assert outcomes["forget_rare_20"].reason == ""
    assert (outcomes["fast_retain_1"].facts, outcomes["fast_retain_1"].reason) == (
        [],
        "1 row, fewer than 2 (splits.smallest)",
    )
    assert _outcomes(_candidates(range(10)), (10,), 10)["full"].facts == [str(place) for place in range(10)]
    too_small = _outcomes(_candidates(range(10)), (10,), 11)["full"]
    assert (too_small.facts, too_small.holds, too_small.reason) == ([], 10, "10 rows, fewer than 11 (splits.smallest)")


def test_nothing_is_retained_of_what_nothing_is_forgotten_of() -> None:
    outcomes = _outcomes(_candidates(range(10)), (10, 20), 3)
    assert outcomes["fast_retain_1"].facts == []
    assert outcomes["fast_retain_1"].reason == "no forget split could be made"


def test_of_equal_sums_one_that_may_be_higher_counts_as_the_higher() -> None:
    # 2 and 3 have one sum, of which that of 2 may be higher: the three rarest are known, and the four rarest are not.
    outcomes = _outcomes(_candidates([0, 1, 2, 2, *range(4, 10)], capped=[2]), (30, 40), 2)
    assert outcomes["forget_rare_30"].facts == ["0", "1", "3"]
    assert outcomes["forget_rare_40"].facts == []
    assert outcomes["forget_rare_40"].holds == 3
    assert outcomes["forget_popular_30"].facts == []
    assert outcomes["forget_popular_30"].holds == 0
    for name, end in (("forget_rare_40", "4 least"), ("forget_popular_30", "3 most")):
        where = f"counting stopped at links.cap for 1 of 10 candidates, so the {end} popular are not known; "
        assert outcomes[name].reason.startswith(where)


def test_the_most_popular_are_known_where_all_that_may_be_higher_are_among_them() -> None:
    outcomes = _outcomes(_candidates(range(10), capped=[7]), (20, 30), 2)
    assert outcomes["forget_popular_30"].facts == ["7", "8", "9"]
    assert outcomes["forget_popular_20"].facts == []  # 7 may be one of the two


def test_generations_are_those_of_the_rule_and_the_model_of_the_paper() -> None:
    columns = (
        "topic", "subject_label", "relation_label", "object_label", "subject_qid", "property_id", "object_qid",
        "question", "answer", "pop_subject", "pop_object", "pop_sum", "triple_pop", "split", "position", "answers",
        "paraphrases_test",
    )  # fmt: skip
    rows = pl.DataFrame({**{name: ["x", "y"] for name in columns}, "fact_id": ["1", "not asked"]})
    probes = pl.DataFrame(
        [
            {"fact_id": "1", "model": model, "rule": rule, "best_generation": f"{model} {rule}"}
            for model in ("org/some-model-1.5B", "other")
            for rule in ("matched", "paper")
        ]
    ).with_columns(generation_recall=1.0, embedding_similarity=0.5)
    table = examples(rows, probes, "org/some-model-1.5B")
    assert table["best_gen_some_model_1_5B"].to_list() == ["org/some-model-1.5B paper", None]
    assert table.columns[13:] == [
        *("best_gen_some_model_1_5B", "gen_recall_some_model_1_5B", "bert_sim_some_model_1_5B"),
        *("split", "position", "fact_id", "answers", "paraphrases_test"),
    ]
    assert "best_gen_other" not in table.columns
    assert examples(rows, probes, "other")["best_gen_other"].to_list() == ["other paper", None]
    for unasked in ("", "third"):
        assert examples(rows, probes, unasked).columns == [name for name in table.columns if "1_5B" not in name]
