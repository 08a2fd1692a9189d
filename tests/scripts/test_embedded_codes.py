"""How ISO codes decide whose word counts when the embedded snapshot is built."""

from __future__ import annotations

import pytest

from scripts.embedded.codes import Claim, Disagreement, Verdict, compare


def verdict(*claims: tuple[str, str, str, str], **names: str) -> Verdict:
    """Compare claims; names: `source_item="a|b"`, else the item's id is its name."""
    called = {(source, item): frozenset({item.casefold()}) for source, _, item, _ in claims}
    called |= {(key.split("_")[0], key.split("_")[1]): frozenset(name.split("|")) for key, name in names.items()}
    return compare([Claim(*claim) for claim in claims], called)


def test_equal_codes_are_agreed_and_counted() -> None:
    found = verdict(("a", "P298", "Q142", "FRA"), ("b", "P298", "Q142", "FRA"), ("b", "P298", "Q183", "DEU"))
    assert found.agreed == {("P298", "Q142"): "FRA", ("P298", "Q183"): "DEU"}
    assert found.compared["P298"] == 1
    assert not found.doubtful_codes
    assert not found.doubtful_items


@pytest.mark.parametrize("name", ["P297", "P298", "P299"])
def test_different_country_codes_of_one_item_stop_the_build(name: str) -> None:
    with pytest.raises(Disagreement, match=r"Q142 has more than one .*X \(a\), Y \(b\)"):
        verdict(("a", name, "Q142", "X"), ("b", name, "Q142", "Y"))


def test_different_division_codes_of_one_item_are_withheld() -> None:
    found = verdict(("a", "P300", "Q1168", "IN-CT"), ("b", "P300", "Q1168", "IN-CG"))
    assert not found.agreed
    assert found.doubtful_codes == {("P300", "Q1168"): "IN-CT (a), IN-CG (b)"}
    assert not found.doubtful_items


def test_a_code_stays_with_the_item_that_most_sources_mean() -> None:
    found = verdict(
        ("a", "P298", "Q756617", "DNK"), ("b", "P298", "Q756617", "DNK"), ("c", "P298", "Q35", "DNK"),
    )  # fmt: skip
    assert found.agreed == {("P298", "Q756617"): "DNK"}
    assert list(found.doubtful_codes) == [("P298", "Q35")]
    assert not found.doubtful_items


def test_on_a_tie_no_item_keeps_the_code() -> None:
    found = verdict(("a", "P298", "Q1", "SJM"), ("b", "P298", "Q2", "SJM"))
    assert not found.agreed
    assert set(found.doubtful_codes) == {("P298", "Q1"), ("P298", "Q2")}


def test_one_code_and_one_name_on_two_items_put_the_ids_in_doubt() -> None:
    claims = (("a", "P300", "Q1973", "CA-BC"), ("b", "P300", "Q1974", "CA-BC"))
    found = verdict(*claims, a_Q1973="british columbia", b_Q1974="british columbia")
    assert set(found.doubtful_items) == {("a", "Q1973"), ("b", "Q1974")}


def test_an_item_that_another_source_knows_by_that_name_is_not_in_doubt() -> None:
    claims = (("a", "P298", "Q756617", "DNK"), ("b", "P298", "Q756617", "DNK"), ("c", "P298", "Q35", "DNK"))
    named = {"b_Q756617": "denmark", "c_Q35": "denmark"}
    assert set(verdict(*claims, **named).doubtful_items) == {("c", "Q35")}
    assert not verdict(*claims, **named, a_Q35="denmark").doubtful_items


def test_a_source_that_swaps_two_divisions_is_wrong_about_codes_alone() -> None:
    found = verdict(
        ("a", "P300", "Q649", "RU-MOS"), ("a", "P300", "Q1697", "RU-MOW"),
        ("b", "P300", "Q649", "RU-MOW"), ("b", "P300", "Q1697", "RU-MOS"),
        a_Q649="moscow", a_Q1697="moscow", b_Q649="moscow", b_Q1697="moscow oblast",
    )  # fmt: skip
    assert not found.agreed
    assert not found.doubtful_items
    assert set(found.doubtful_codes) == {("P300", "Q649"), ("P300", "Q1697")}


def test_two_codes_of_one_item_in_one_source_put_the_source_in_doubt() -> None:
    found = verdict(
        ("a", "P300", "Q5971", "RU-AL"), ("a", "P300", "Q5971", "RU-ALT"), ("b", "P300", "Q5971", "RU-AL"),
    )  # fmt: skip
    assert set(found.doubtful_items) == {("a", "Q5971")}
    assert found.agreed == {("P300", "Q5971"): "RU-AL"}
