"""What a release says that it counted, and by what its splits tell rare from popular."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dual_data.release.card import OWN
from dual_data.release.popularity import OTHER, SNAPSHOT, UNCOUNTED, WIKIPEDIA, LinkWords, counted, told_apart
from dual_data.release.tree import write_release
from dual_data.released import Place, Release
from dual_data.text.markdown import text
from tests.release.made import SIZES, Released, invented_build, world


def of_method(root: Path, method: str | None, **matched: Any) -> tuple[Release, Path]:
    """A release whose links were counted by this method, or not at all."""
    frames = world(subjects=40)
    count = pl.col("inbound_links") if method else pl.lit(None, pl.Int64)
    frames["links"] = frames["links"].with_columns(inbound_links=count, method=pl.lit(method or "mentions"))
    splits = {**SIZES, "matched": {"retain_train": 30, "retain_eval": 20, **matched}}
    build = invented_build(root / "project", frames, sizes=splits)
    return write_release(build, root / "out", name="made"), root / "out"


def test_counts_of_the_snapshot_are_not_said_to_be_of_wikipedia(tmp_path: Path) -> None:
    _, folder = of_method(tmp_path, "in_degree")
    card = (folder / "README.md").read_text()
    croissant = json.loads((folder / "croissant.json").read_text())
    for words in (card, croissant["rai:dataCollection"], croissant["rai:dataCollectionRawData"]):
        assert "snapshot" in words
    for words in ("Links from Wikipedia", "encyclopaedia"):
        assert words not in card
    assert "Wikipedia" not in croissant["rai:dataCollection"]
    assert croissant["rai:dataCollectionMissingData"].startswith("Every entity has a link count, 0 where")
    fields = {field["name"]: field["description"] for item in croissant["recordSet"] for field in item["field"]}
    assert fields["matched/inbound_links_subject"] == f"{SNAPSHOT.of_the} subject."
    assert fields["links/inbound_links"].startswith(f"{SNAPSHOT.of_the} entity. Null where")
    apart = (
        "Rare and popular are told apart by inbound links of the subject (matched, matched_answer); by inbound links "
        f"of subject and object together (paper). Inbound links: s{SNAPSHOT.of_the[1:]} entity."
    )
    assert croissant["rai:dataManipulationProtocol"].endswith(apart)
    assert text(apart, OWN) in card


@pytest.mark.parametrize(("method", "words"), [("dump", WIKIPEDIA), (None, UNCOUNTED), ("own", OTHER)])
def test_every_way_of_counting_has_its_words(tmp_path: Path, method: str | None, words: LinkWords) -> None:
    signal = {} if method else {"signal": "mentions"}
    release, folder = of_method(tmp_path, method, **signal)
    assert counted(release, Place(folder=folder)) == words
    assert words.measures in (folder / "README.md").read_text()


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
    assert told_apart(own, WIKIPEDIA) == f"Rare and popular are told apart by {words} (matched, matched_answer)."
    assert told_apart(release.model_copy(update={"stages": {}}), WIKIPEDIA) == ""
