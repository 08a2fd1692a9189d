"""How ISO codes decide which statements the embedded snapshot uses."""

from __future__ import annotations

import pytest

from scripts.embedded.codes import Claim, Disagreement, Verdict, compare


def verdict(*claims: tuple[str, str, str, str], **names: str) -> Verdict:
    """Compare claims. A name is given as `source_item="a|b"`; the default is the item's id."""
    names_of = {(source, item): frozenset({item.casefold()}) for source, _, item, _ in claims}
    names_of |= {(key.split("_")[0], key.split("_")[1]): frozenset(name.split("|")) for key, name in names.items()}
    return compare([Claim(*claim) for claim in claims], names_of)


def test_equal_codes_are_agreed_and_counted() -> None:
    result = verdict(("a", "P298", "Q142", "FRA"), ("b", "P298", "Q142", "FRA"), ("b", "P298", "Q183", "DEU"))
    assert result.agreed == {("P298", "Q142"): "FRA", ("P298", "Q183"): "DEU"}
    assert result.compared["P298"] == 1
    assert not result.doubtful_codes
    assert not result.doubtful_items


@pytest.mark.parametrize("name", ["P297", "P298", "P299"])
def test_different_country_codes_of_one_item_stop_the_build(name: str) -> None:
    with pytest.raises(Disagreement, match=r"Q142 has more than one .*X \(a\), Y \(b\)"):
        verdict(("a", name, "Q142", "X"), ("b", name, "Q142", "Y"))


def test_different_division_codes_of_one_item_are_withheld() -> None:
    result = verdict(("a", "P300", "Q1168", "IN-CT"), ("b", "P300", "Q1168", "IN-CG"))
    assert not result.agreed
    assert result.doubtful_codes == {("P300", "Q1168"): "IN-CT (a), IN-CG (b)"}
    assert not result.doubtful_items


def test_a_code_stays_with_the_item_that_most_sources_mean() -> None:
    result = verdict(
        ("a", "P298", "Q756617", "DNK"), ("b", "P298", "Q756617", "DNK"), ("c", "P298", "Q35", "DNK"),
    )  # fmt: skip
    assert result.agreed == {("P298", "Q756617"): "DNK"}
    assert list(result.doubtful_codes) == [("P298", "Q35")]
    assert not result.doubtful_items


def test_on_a_tie_no_item_keeps_the_code() -> None:
    result = verdict(("a", "P298", "Q1", "SJM"), ("b", "P298", "Q2", "SJM"))
    assert not result.agreed
    assert set(result.doubtful_codes) == {("P298", "Q1"), ("P298", "Q2")}


def test_one_code_and_one_name_on_two_items_put_the_ids_in_doubt() -> None:
    claims = (("a", "P300", "Q1973", "CA-BC"), ("b", "P300", "Q1974", "CA-BC"))
    result = verdict(*claims, a_Q1973="british columbia", b_Q1974="british columbia")
    assert set(result.doubtful_items) == {("a", "Q1973"), ("b", "Q1974")}


def test_an_item_that_another_source_knows_by_that_name_is_not_in_doubt() -> None:
    claims = (("a", "P298", "Q756617", "DNK"), ("b", "P298", "Q756617", "DNK"), ("c", "P298", "Q35", "DNK"))
    names = {"b_Q756617": "denmark", "c_Q35": "denmark"}
    assert set(verdict(*claims, **names).doubtful_items) == {("c", "Q35")}
    assert not verdict(*claims, **names, a_Q35="denmark").doubtful_items


def test_a_source_that_swaps_two_divisions_is_wrong_about_codes_alone() -> None:
    result = verdict(
        ("a", "P300", "Q649", "RU-MOS"), ("a", "P300", "Q1697", "RU-MOW"),
        ("b", "P300", "Q649", "RU-MOW"), ("b", "P300", "Q1697", "RU-MOS"),
        a_Q649="moscow", a_Q1697="moscow", b_Q649="moscow", b_Q1697="moscow oblast",
    )  # fmt: skip
    assert not result.agreed
    assert not result.doubtful_items
    assert set(result.doubtful_codes) == {("P300", "Q649"), ("P300", "Q1697")}


def test_two_codes_of_one_item_in_one_source_put_the_source_in_doubt() -> None:
    result = verdict(
        ("a", "P300", "Q5971", "RU-AL"), ("a", "P300", "Q5971", "RU-ALT"), ("b", "P300", "Q5971", "RU-AL"),
    )  # fmt: skip
    assert set(result.doubtful_items) == {("a", "Q5971")}
    assert result.agreed == {("P300", "Q5971"): "RU-AL"}
