"""Parsing the names of splits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_data.split_names import SplitName, parse

TOPICS = st.lists(st.sampled_from(["city", "world", "music", "full", "retain", "neighbor"]), max_size=3).map("_".join)


@given(TOPICS, st.sampled_from(["rare", "popular"]), st.integers(1, 100))
def test_a_forget_split_has_topic_side_and_size(topic: str, side: str, percent: int) -> None:
    kind = f"forget_{side}_{percent}"
    assert parse("_".join(filter(None, (topic, kind)))) == SplitName(topic, kind, side, percent)


@given(
    TOPICS,
    st.sampled_from(
        [
            "fast_retain_500",
            "retain_train",
            "retain_eval",
            "neighbor_subject",
            "neighbor_relation",
            "full",
            "world_facts",
        ]
    ),
)
def test_another_split_has_a_topic_and_a_kind(topic: str, kind: str) -> None:
    assert parse("_".join(filter(None, (topic, kind)))) == SplitName(topic, kind)


def test_a_forget_split_that_tells_no_size_has_none() -> None:
    assert parse("city_forget_rare_hard") == SplitName("city", "forget_rare_hard", "rare", None)


@pytest.mark.parametrize("name", ["", "train", "city", "cityfull", "fullness", "forget_common_5", "world_facts_2"])
def test_other_names_say_nothing(name: str) -> None:
    assert parse(name) is None
