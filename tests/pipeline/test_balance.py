"""What may be called balanced, by hand."""

from __future__ import annotations

import polars as pl
import pytest

from pipeline.recipes.balance import compared, measured, standardised_difference


@pytest.mark.parametrize(
    ("rare", "popular", "difference"),
    [
        ([1.0, 3.0], [2.0, 4.0], 1 / 2**0.5),  # both variances are 2
        ([2.0, 4.0], [1.0, 3.0], -1 / 2**0.5),
        ([0.0, 0.0], [0.0, 2.0], 1.0),  # the mean of the variances 0 and 2
        ([5.0, 5.0], [5.0, 5.0, 5.0], 0.0),
        ([5.0, 5.0], [6.0, 6.0], None),  # no spread to measure a difference in
        ([5.0], [6.0, 7.0], None),
        ([5.0, None], [6.0, 7.0], None),
        ([], [], None),
    ],
)
def test_a_standardised_difference(
    rare: list[float | None], popular: list[float | None], difference: float | None
) -> None:
    sides = [pl.Series(side, dtype=pl.Float64) for side in (rare, popular)]
    assert standardised_difference(*sides) == (None if difference is None else pytest.approx(difference))


def _pool(answers: list[str], log_probability: list[float | None]) -> pl.DataFrame:
    probes = [
        [{"model": "a", "rule": "matched", "log_probability": -9.0}]
        + [{"model": "m", "rule": rule, "log_probability": value} for rule in ("matched", "paper")]
        for value in log_probability
    ]
    columns = {
        "fact_id": [str(place) for place in range(len(answers))],
        "relation": ["P17"] * len(answers),
        "subject_label": ["Name"] * len(answers),
        "topic": ["city"] * len(answers),
    }
    return pl.DataFrame({**columns, "answer": answers, "knowledge": probes})


def test_measures_of_two_sides_by_hand() -> None:
    # Rare answers are long and often given, whatever their case; the popular ones are short and given once.
    pool = _pool(["Old Peru", "old peru", "OLD PERU", "Peru", "Chad", "Mali"], [-1.0, -3.0, None, -2.0, -4.0, -4.5])
    rows = measured(pool)
    balance = {row["measure"]: row for row in compared(rows[:3], rows[3:], ("m",))}
    assert (balance["answer_frequency"]["rare_mean"], balance["answer_frequency"]["popular_mean"]) == (3, 1)
    assert (balance["answer_length"]["rare_mean"], balance["answer_length"]["popular_mean"]) == (8, 4)
    assert balance["answer_length"]["auc"] == pytest.approx(1.0)
    assert balance["answer_length"]["balanced"] is False
    assert (balance["subject_length"]["difference"], balance["subject_length"]["balanced"]) == (0, True)
    assert (balance["relation"]["auc"], balance["relation"]["balanced"]) == (0.5, True)
    confidence = balance["log_probability of m"]
    assert (confidence["rare_mean"], confidence["popular_mean"]) == pytest.approx((-2.0, -3.5))  # one value a fact
    # Variances 2 and 1.75, means 1.5 apart.
    assert confidence["difference"] == pytest.approx(-1.5 / (3.75 / 2) ** 0.5)
    assert confidence["balanced"] is False


@pytest.mark.parametrize(("gap", "balanced"), [(0.099, True), (0.101, False), (-0.099, True), (-0.101, False)])
def test_means_that_differ_by_more_than_a_tenth_of_their_spread_are_not_balanced(gap: float, balanced: bool) -> None:
    # Both sides have the variance 1.
    values = [-(0.5**0.5), 0.5**0.5, *(gap + sign * 0.5**0.5 for sign in (-1, 1))]
    rows = measured(_pool(["Peru"] * 4, list(values)))
    confidence = {row["measure"]: row for row in compared(rows[:2], rows[2:], ("m",))}["log_probability of m"]
    assert confidence["difference"] == pytest.approx(gap)
    assert confidence["balanced"] is balanced


def test_what_cannot_be_measured_is_neither_balanced_nor_not() -> None:
    rows = measured(_pool(["Peru"] * 4, [None] * 4))
    confidence = {row["measure"]: row for row in compared(rows[:2], rows[2:], ("m",))}["log_probability of m"]
    assert [confidence[name] for name in ("rare_mean", "popular_mean", "difference", "balanced")] == [None] * 4


def test_a_word_of_the_answers_is_measured_where_the_answers_are_not_the_same() -> None:
    answers = [*(f"Old {name} Province" for name in "ABCDEFGH"), *(f"New {name} Province" for name in "ABCDEFGH")]
    rows = measured(_pool(answers, [None] * 16))
    areas = {row["measure"]: (row["auc"], row["balanced"]) for row in compared(rows[:8], rows[8:], ())}
    assert areas["answer"] == (None, None)  # each is given once, which tells nothing
    assert areas["answer_first_word"] == (pytest.approx(1.0), False)
    assert areas["answer_last_word"] == (0.5, True)


@pytest.mark.parametrize(("more", "balanced"), [(95, True), (105, False)])
def test_areas_further_than_two_hundredths_from_a_half_are_not_balanced(more: int, balanced: bool) -> None:
    # Guessing popular for P17 wins (2500 + more) / 5000 of both sides: an area of 0.5 + more / 5000.
    rows = measured(_pool(["Peru"] * 10_000, [None] * 10_000)).with_columns(
        relation=pl.Series(
            ["P17"] * (2500 - more) + ["P19"] * (2500 + more) + ["P17"] * (2500 + more) + ["P19"] * (2500 - more)
        )
    )
    relation = compared(rows[:5000], rows[5000:], ())[0]
    assert relation["auc"] == pytest.approx(0.5 + more / 5000)
    assert (relation["measure"], relation["balanced"]) == ("relation", balanced)


def test_an_answer_is_frequent_within_its_topic() -> None:
    pool = _pool(["Peru", "peru", "Peru"], [None] * 3).with_columns(topic=pl.Series(["city", "city", "river"]))
    assert measured(pool)["answer_frequency"].to_list() == [2, 2, 1]
