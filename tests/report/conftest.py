"""An invented build with a judge and two models, and its page, for all tests of the folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

from dual_data.config import load_relations
from dual_data.report.page import write_report
from dual_data.report.read import Built, read_built
from tests.release.made import NAMES, artifacts, world

HOSTILE = "</script><img src=http://a.invalid onerror=pwned=1>\u202e\x07'\"&$x^$"
"""Markup, an external load, a script, a change of direction, a bell, quotes and a formula."""


class Report(NamedTuple):
    """A build and its page."""

    built: Built
    page: Path
    text: str


def judged(frames: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """The frames with a judge whose score rises with the links, and a second model that knows subjects with many."""
    counts = (
        frames["facts"].join(frames["links"], left_on="subject_qid", right_on="qid").select("fact_id", "inbound_links")
    )
    many = counts["inbound_links"] > 100
    salience = counts.select(
        "fact_id",
        score=pl.col("inbound_links").cast(pl.Float64).log1p(),
        low_mass=pl.col("fact_id").str.starts_with("0"),
        samples=pl.lit(0, pl.Int64),
        method=pl.lit("logprobs"),
        judge=pl.lit("made-up judge"),
        prompt_version=pl.lit("1"),
    )
    second = frames["knowledge"].clear().select("fact_id").vstack(counts.select("fact_id")).with_columns(
        model=pl.lit(f"second {HOSTILE}"), rule=pl.lit("matched"), generations=pl.lit(["x"]), hits=pl.lit(0, pl.Int64),
        known=many, control_known=pl.lit(value=False),
    )  # fmt: skip
    return frames | {
        "salience": pl.concat([frames["salience"], salience], how="diagonal"),
        "knowledge": pl.concat([frames["knowledge"], second], how="diagonal"),
    }


def report_on(root: Path, frames: dict[str, pl.DataFrame] | None = None, without: tuple[str, ...] = ()) -> Report:
    """Build the frames in a new project at `root`, leave out stages, and write the page of the others."""
    folder = artifacts(root, frames)
    for name in without:
        shutil.rmtree(folder / name)
    built = read_built("made", folder, NAMES)
    page = root / "report.html"
    write_report(built, load_relations(root / "pipeline" / "relations"), page)
    return Report(built, page, page.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """A clean, complete build with hostile names wherever a name comes from outside."""
    topics = (f"places_town{HOSTILE}", "places_river")
    frames = world(topics=topics, spice=f" {HOSTILE}")
    # Facts of hostile topics keep their ids, which do not depend on topics.
    return report_on(tmp_path_factory.mktemp("full"), judged(frames))
