"""By what the splits of a release tell rare from popular."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dual_data.release.card import OWN
from dual_data.text.markdown import text
from tests.release.made import Released


def test_card_and_metadata_say_by_what_the_splits_tell_rare_from_popular(released: Released) -> None:
    release, folder = released
    apart = (
        "Rare and popular are told apart by inbound links of the subject (matched, matched_answer); by inbound links "
        "of subject and object together (paper)."
    )
    assert release.told_apart() == apart
    assert text(apart, OWN) in (folder / "README.md").read_text()
    croissant = json.loads((folder / "croissant.json").read_text())
    assert croissant["rai:dataManipulationProtocol"].endswith(f"by a hash of the fact. {apart}")


def test_links_within_the_snapshot_are_called_so(released: Released) -> None:
    release = released[0]
    links = release.stages["links"]
    basis = links.basis.model_copy(update={"params": {**links.basis.params, "method": "in_degree"}})
    own = release.model_copy(update={"stages": {**release.stages, "links": links.model_copy(update={"basis": basis})}})
    degree = "in-degree (subjects of the embedded snapshot that state something about the entity)"
    assert own.told_apart() == (
        f"Rare and popular are told apart by {degree} of the subject (matched, matched_answer); by {degree} of subject "
        "and object together (paper)."
    )


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"matched": {"signal": "given", "given": "a.csv"}}, "the popularity that the project's table a.csv gives"),
        ({"matched": {"signal": "salience", "side": "subject"}}, "the salience that the judge gave the fact"),
        (
            {"matched": {"signal": "mentions", "side": "object"}},
            "mentions (triplets of the whole input that name the entity) of the object",
        ),
    ],
)
def test_the_signal_is_that_of_the_build(released: Released, params: dict[str, Any], words: str) -> None:
    release = released[0]
    splits = release.stages["splits"]
    basis = splits.basis.model_copy(update={"params": params})
    own = release.model_copy(
        update={"stages": {**release.stages, "splits": splits.model_copy(update={"basis": basis})}}
    )
    assert own.told_apart() == f"Rare and popular are told apart by {words} (matched, matched_answer)."
    assert release.model_copy(update={"stages": {}}).told_apart() == ""
