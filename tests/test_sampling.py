"""Selection by hash: independence of order, thirds, caps, pairs, nesting."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dual_data import sampling

KEYS = st.lists(st.text("abcdef0123456789", min_size=1, max_size=4), unique=True, max_size=30)


def ranked(keys: list[str], **columns: list[object]) -> pl.DataFrame:
    frame = pl.DataFrame({"fact_id": keys, **columns}, schema_overrides={"fact_id": pl.String})
    return sampling.with_rank(frame, "test")


def test_a_rank_is_the_same_on_every_machine() -> None:
    ranks = sampling.hash_rank(pl.Series(["8ae473d515b73eef", "8ae473d515b73eef", "é"]), "facts").to_list()
    assert ranks == [14435127061414248987, 14435127061414248987, 9118777906092045162]


@given(KEYS, st.randoms(use_true_random=False))
def test_a_rank_depends_on_its_key_and_the_salt_alone(keys: list[str], shuffler: random.Random) -> None:
    ranks = dict(zip(keys, sampling.hash_rank(pl.Series(keys, dtype=pl.String), "a"), strict=True))
    shuffled = shuffler.sample(keys, len(keys))
    assert sampling.hash_rank(pl.Series(shuffled, dtype=pl.String), "a").to_list() == [ranks[key] for key in shuffled]
    other_ranks = sampling.hash_rank(pl.Series(shuffled, dtype=pl.String), "b").to_list()
    assert all(ranks[key] != rank for key, rank in zip(shuffled, other_ranks, strict=True))


def test_ranks_are_uniform() -> None:
    ranks = sampling.hash_rank(pl.Series([str(number) for number in range(4000)]), "x").cast(pl.Float64) / 2**64
    tenths = Counter((ranks * 10).floor().to_list())
    assert all(340 < tenths[tenth] < 460 for tenth in range(10))


@given(st.lists(st.tuples(st.sampled_from("xyz"), st.one_of(st.none(), st.integers(0, 6))), max_size=60))
def test_thirds_are_the_lowest_and_the_highest_third(values: list[tuple[str, int | None]]) -> None:
    frame = ranked(
        [f"{index:x}" for index in range(len(values))], relation=[r for r, _ in values], value=[v for _, v in values]
    ).cast({"relation": pl.String, "value": pl.Int64})
    sides = sampling.thirds(frame, "value", ["relation"])
    for relation in "xyz":
        expected = sorted(value for name, value in values if name == relation and value is not None)
        third = len(expected) // 3
        group = sides.filter(pl.col("relation") == relation)
        rare, popular = (sorted(group.filter(pl.col("side") == side)["value"].to_list()) for side in sampling.SIDES)
        if third and expected[third - 1] < expected[-third]:
            assert rare == expected[:third]
            assert popular == expected[-third:]
        else:
            assert rare == popular == []


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30), st.integers(0, 9))
def test_thirds_of_values_that_may_be_higher_are_those_of_the_true_ones(sums: list[tuple[int, int]], cap: int) -> None:
    frame = ranked(
        [f"{index:x}" for index in range(len(sums))],
        value=[min(a, cap) + min(b, cap) for a, b in sums],
        least=[max(a, b) > cap for a, b in sums],
        true=[a + b for a, b in sums],
    ).cast({"value": pl.Int64, "least": pl.Boolean, "true": pl.Int64})
    sides = sampling.thirds(frame.with_columns(relation=pl.lit("x")), "value", ["relation"], "least")
    expected = sorted(frame["true"])
    rare, popular = (sorted(sides.filter(pl.col("side") == side)["true"].to_list()) for side in sampling.SIDES)
    third = len(expected) // 3
    assert rare in ([], expected[:third])
    assert popular in ([], expected[len(expected) - third :])
    if not frame["least"].any():
        assert sides.equals(sampling.thirds(frame.with_columns(relation=pl.lit("x")), "value", ["relation"]))


def test_the_middle_third_is_left_out() -> None:
    frame = ranked(list("abcdefg"), value=[3, 0, 6, 1, 5, 2, 4]).with_columns(relation=pl.lit("x"))
    sides = sampling.thirds(frame, "value", ["relation"]).select("value", "side").rows()
    assert sides == [(0, "rare"), (1, "rare"), (5, "popular"), (6, "popular")]


@pytest.mark.parametrize(
    ("values", "height"), [([0, 3, 3, 3, 3, 5], 0), ([0, 3, 3, 3, 4, 5], 4), ([3, 3, 3, 3, 5, 5], 4)]
)
def test_thirds_that_touch_tell_nothing_apart(values: list[int], height: int) -> None:
    frame = ranked(list("abcdef"), value=list[object](values)).with_columns(relation=pl.lit("x"))
    assert sampling.thirds(frame, "value", ["relation"]).height == height


@pytest.mark.parametrize("keys", [["a", "b", "c"], ["c", "b", "a"], ["b", "c", "a"]])
def test_of_equal_values_one_that_may_be_higher_counts_as_the_higher(keys: list[str]) -> None:
    # Were it in the middle, the group would be left out for it; whatever the hashes say, it is not.
    frame = ranked(keys, value=[1, 5, 5], least=[False, False, True]).with_columns(relation=pl.lit("x"))
    sides = sampling.thirds(frame, "value", ["relation"], "least")
    assert sides.select("value", "least", "side").rows() == [(1, False, "rare"), (5, True, "popular")]


SIDED = st.lists(
    st.tuples(
        st.sampled_from(["rare", "popular"]),
        st.integers(0, 12).map("s{}".format),
        st.integers(0, 12).map("b{}".format),
        st.sampled_from("pqrs"),
        st.sampled_from("uv"),
    ),
    max_size=60,
)
Rows = list[tuple[str, str, str, str, str]]


def sided(rows: Rows, most: int) -> pl.DataFrame:
    names = ("side", "subject", "bond", "answer", "cell")
    columns = {name: [row[index] for row in rows] for index, name in enumerate(names)}
    frame = ranked([f"{index:x}" for index in range(len(rows))], **columns)  # type: ignore[arg-type]
    return frame.cast(dict.fromkeys(names, pl.String)).with_columns(most=pl.lit(most))


def matched(frame: pl.DataFrame) -> pl.DataFrame:
    return sampling.matched_pairs(frame, ["cell"])


@given(SIDED, st.integers(1, 4))
def test_no_subject_and_no_bond_stands_in_two_pairs(rows: Rows, most: int) -> None:
    pairs = matched(sided(rows, most))
    for name in ("subject", "bond"):
        values = [*pairs[f"{name}_rare"], *pairs[f"{name}_popular"]]
        assert len(set(values)) == len(values)


@given(SIDED, st.integers(1, 4))
def test_pairs_join_a_rare_and_a_popular_row_of_one_cell(rows: Rows, most: int) -> None:
    frame = sided(rows, most)
    row_by_fact = {row["fact_id"]: row for row in frame.iter_rows(named=True)}
    for pair in matched(frame).iter_rows(named=True):
        rare, popular = row_by_fact[pair["fact_id_rare"]], row_by_fact[pair["fact_id_popular"]]
        assert (rare["side"], popular["side"]) == ("rare", "popular")
        assert rare["cell"] == popular["cell"] == pair["cell"]


@given(SIDED, st.integers(1, 4))
def test_no_answer_has_more_pairs_than_it_may(rows: Rows, most: int) -> None:
    pairs = matched(sided(rows, most))
    for side in sampling.SIDES:
        assert max(Counter(pairs[f"answer_{side}"]).values(), default=0) <= most


@given(SIDED)
def test_no_pair_is_left_that_could_be_made(rows: Rows) -> None:
    frame = sided(rows, 100)
    pairs = matched(frame)
    paired = {*pairs["subject_rare"], *pairs["subject_popular"], *pairs["bond_rare"], *pairs["bond_popular"]}
    remaining = frame.filter(~pl.col("subject").is_in(list(paired)) & ~pl.col("bond").is_in(list(paired)))
    for (_,), group in remaining.sort("rank").group_by("cell", maintain_order=True):
        candidates = [group.filter(pl.col("side") == side).head(1) for side in sampling.SIDES]
        if all(side.height for side in candidates):
            rare, popular = candidates
            assert rare["subject"][0] == popular["subject"][0] or rare["bond"][0] == popular["bond"][0]


@given(SIDED, st.randoms(use_true_random=False))
def test_pairs_do_not_depend_on_the_order_of_the_rows(rows: Rows, shuffler: random.Random) -> None:
    frame = sided(rows, 3)
    order = shuffler.sample(range(frame.height), frame.height)
    assert matched(frame[order]).equals(matched(frame))


def test_families_told_apart_by_their_values_do_not_touch() -> None:
    rows = [("rare", "s1", "b1", "p", "u"), ("popular", "s2", "b2", "q", "u")]
    frame = sided(rows, 1)
    keyed = [
        frame.with_columns(cell=pl.lit(name), **{c: name + pl.col(c) for c in ("subject", "bond", "answer")})
        for name in ("one", "two")
    ]
    assert matched(pl.concat(keyed)).height == 2


def in_order(rows: Rows, most: int = 9) -> list[tuple[str, str, int]]:
    """Ids and rank of the pairs of rows that are their own ranks."""
    frame = sided(rows, most).with_columns(rank=pl.int_range(len(rows)))
    return matched(frame).select("fact_id_rare", "fact_id_popular", "rank").rows()


def test_a_pair_has_the_higher_rank_of_its_two() -> None:
    rows = [("rare", "s1", "b1", "p", "u"), ("rare", "s2", "b2", "q", "v"), ("popular", "s3", "b3", "r", "v")]
    assert in_order([*rows, ("popular", "s4", "b4", "s", "u")]) == [("1", "2", 2), ("0", "3", 3)]


def test_a_subject_stands_for_its_fact_of_lowest_rank_first() -> None:
    # s1 is popular by its first fact. Were its rare one paired as soon, it would hold s1, and the first be left alone.
    rows = [("popular", "s1", "b1", "p", "u"), ("popular", "s2", "b2", "q", "u"), ("rare", "s1", "b3", "r", "u")]
    assert in_order([*rows, ("rare", "s3", "b4", "s", "u")]) == [("3", "0", 3)]


def test_pairs_are_made_until_none_is_left() -> None:
    # In v, s2 and then s3 go first on the rare side and bring nothing; a round later s4 is there for s3's popular fact.
    rows = [
        ("rare", "s1", "b1", "p", "u"),
        ("rare", "s2", "b2", "q", "v"),
        ("rare", "s4", "b3", "r", "v"),
        ("popular", "s2", "b4", "s", "u"),
        ("rare", "s3", "b5", "t", "v"),
        ("popular", "s3", "b6", "u", "v"),
    ]
    assert in_order(rows) == [("0", "3", 3), ("2", "5", 5)]


@pytest.mark.parametrize(("most", "pairs"), [(1, 1), (2, 2)])
def test_an_answer_has_as_many_pairs_as_it_may_over_all_rounds(most: int, pairs: int) -> None:
    # s4 stands in w, where nobody is, before it stands in v: the second pair with the answer p is of a later round.
    rows = [
        ("rare", "s1", "b1", "p", "u"),
        ("popular", "s2", "b2", "q", "u"),
        ("rare", "s3", "b3", "p", "v"),
        ("popular", "s4", "b4", "r", "w"),
        ("popular", "s4", "b5", "s", "v"),
    ]
    assert in_order(rows, most) == [("0", "1", 1), ("2", "4", 4)][:pairs]


def test_a_cell_of_several_columns_is_not_their_texts_run_together() -> None:
    rows = [("rare", "s1", "b1", "p", "ab"), ("popular", "s2", "b2", "q", "a")]
    frame = sided(rows, 1).with_columns(length=pl.Series(["c", "bc"]))
    assert sampling.matched_pairs(frame, ["cell", "length"]).is_empty()
    alike = frame.with_columns(cell=pl.lit("a"), length=pl.lit("bc"))
    assert sampling.matched_pairs(alike, ["cell", "length"]).height == 1


def test_an_answer_counts_on_each_side_for_itself() -> None:
    rows = [
        (side, f"{side} {index}", f"bond {side} {index}", "p", "u") for side in sampling.SIDES for index in range(3)
    ]
    assert [matched(sided(rows, most)).height for most in (1, 2, 3)] == [1, 2, 3]


CHOICES = st.lists(st.tuples(st.sampled_from(["r1", "r2", "r3"]), st.sampled_from(["p1", "p2"])), max_size=60)


@given(CHOICES, st.sets(st.integers(1, 40), min_size=1, max_size=3), st.floats(0.05, 1.0))
def test_nested_prefixes_have_their_size_and_keep_the_cap(
    choices: list[tuple[str, str]], sizes: set[int], share: float
) -> None:
    result = sampling.nested(choices, sizes, share)
    assert len(set(result.chosen)) == len(result.chosen)
    assert set(result.filled) == sizes
    for size, filled in result.filled.items():
        assert filled <= size
        counts = Counter(value for index in result.chosen[:filled] for value in choices[index])
        assert max(counts.values(), default=0) <= sampling.most_of(size, share)


@given(CHOICES, st.integers(1, 40), st.floats(0.05, 1.0))
def test_a_prefix_stops_short_only_where_nothing_fits(choices: list[tuple[str, str]], size: int, share: float) -> None:
    result = sampling.nested(choices, [size], share)
    if result.filled[size] < size:
        counts = Counter(value for index in result.chosen for value in choices[index])
        most = sampling.most_of(size, share)
        for index in set(range(len(choices))) - set(result.chosen):
            assert any(counts[value] >= most for value in choices[index])


@given(CHOICES, st.integers(2, 30))
def test_a_smaller_prefix_does_not_depend_on_larger_ones(choices: list[tuple[str, str]], size: int) -> None:
    small = sampling.nested(choices, [size], 0.5)
    large = sampling.nested(choices, [size, 2 * size], 0.5)
    assert large.chosen[: small.filled[size]] == small.chosen


@given(CHOICES, st.integers(1, 20))
def test_a_larger_prefix_goes_on_with_all_that_is_left(choices: list[tuple[str, str]], size: int) -> None:
    result = sampling.nested(choices, [size, 2 * size], 1.0)
    assert result.filled == {size: min(size, len(choices)), 2 * size: min(2 * size, len(choices))}
    assert result.chosen == list(range(result.filled[2 * size]))  # without a cap, the ranking itself


@given(st.lists(st.integers(0, 5), max_size=60), st.integers(1, 40), st.floats(0.05, 1.0))
def test_a_share_is_kept_by_the_most_rows_that_can_keep_it(answers: list[int], wanted: int, share: float) -> None:
    result = sampling.within_share([np.array(answers, dtype=np.int64)], [share], wanted).tolist()
    assert result == sorted(result)
    for answer in set(answers):
        rows = [place for place in result if answers[place] == answer]
        assert rows == [place for place, value in enumerate(answers) if value == answer][: len(rows)]
        assert len(rows) <= sampling.most_of(len(result), share)

    def possible(size: int) -> bool:
        return sum(min(count, sampling.most_of(size, share)) for count in Counter(answers).values()) >= size

    assert len(result) == max((size for size in range(min(wanted, len(answers)) + 1) if possible(size)), default=0)


def test_most_of_is_a_floor_but_never_none() -> None:
    assert [sampling.most_of(size, 0.05) for size in (1, 20, 39, 40, 455)] == [1, 1, 1, 2, 22]
    assert sampling.most_of(100, 0.29) == 29


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_a_few_new_rows_change_few_pairs(seed: int) -> None:
    generator = random.Random(seed)
    rows = [
        (generator.choice(sampling.SIDES), f"s{index}", f"b{index}", generator.choice("pqrs"), generator.choice("uvwx"))
        for index in range(630)
    ]
    before, after = matched(sided(rows[:600], 1000)), matched(sided(rows, 1000))
    for side in sampling.SIDES:
        name = f"fact_id_{side}"
        common = set(before.head(100)[name]) & set(after.head(100)[name])
        assert len(common) >= 85


@given(st.lists(st.tuples(st.integers(0, 7), st.sampled_from([-1, 0])), max_size=60), st.integers(1, 40))
def test_shares_of_several_columns_are_kept_and_below_zero_is_no_value(
    rows: list[tuple[int, int]], wanted: int
) -> None:
    answers, echoes = (np.array([row[column] for row in rows], dtype=np.int64) for column in range(2))
    result = sampling.within_share([answers, echoes], [0.4, 0.2], wanted)
    assert (echoes[result] == 0).sum() <= sampling.most_of(len(result), 0.2)
    assert max(Counter(answers[result].tolist()).values(), default=0) <= sampling.most_of(len(result), 0.4)
    without_echoes = sampling.within_share([answers, np.full(len(rows), -1)], [0.4, 0.2], wanted)
    assert without_echoes.tolist() == sampling.within_share([answers], [0.4], wanted).tolist()


@given(st.lists(st.integers(-1, 4), max_size=40))
def test_nth_counts_the_equal_keys_before_each(keys: list[int]) -> None:
    result = sampling.nth(np.array(keys, dtype=np.int64)).tolist()
    assert result == [keys[:place].count(key) for place, key in enumerate(keys)]
