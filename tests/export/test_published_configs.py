"""Configurations for the published dataset can read the config `paper` if only path and config name are changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dual_data.release.tree import write_release
from dual_data.released import Release
from tests.release.made import PUBLISHED, invented_build, world

SIZES = {
    "percents": [1, 5, 10],
    "smallest": 2,
    "recipes": ["paper"],
    "matched": {"signal": "inbound_links"},
    "paper": {"retain": [500, 1500]},
}
FORGET = ("city_forget_rare_5", "city_forget_popular_5")
QUOTED = ("city_fast_retain_500", "city_fast_retain_1500", "city_full", "full_")


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> tuple[Release, Path]:
    """The config paper of an invented world with a topic large enough for the published retain splits."""
    root = tmp_path_factory.mktemp("published")
    build = invented_build(root, world(subjects=660, topics=("places_city",)), sizes=SIZES)
    return write_release(build, root / "release", name="made"), root / "release"


def arguments(folder: Path, split: str) -> dict[str, Any]:
    """`hf_args` of such a configuration, of which a user changes path and name."""
    return {"path": str(folder), "name": "paper", "split": split}


def loaded(release: tuple[Release, Path], split: str, cache: Path) -> Any:
    """The rows that its loader reads with them."""
    import datasets

    return datasets.load_dataset(**arguments(release[1], split), cache_dir=str(cache))


@pytest.mark.parametrize(
    "split",
    [
        *FORGET,
        "city_forget_rare_1",
        "city_forget_popular_10",
        "+".join(FORGET),
        "city_forget_rare_5+city_fast_retain_500",
        "+".join([*FORGET, "city_fast_retain_500"]),
        *QUOTED,
        "full_[:10]",
    ],
)
def test_splits_of_the_published_names_load(release: tuple[Release, Path], tmp_path: Path, split: str) -> None:
    rows = loaded(release, split, tmp_path)
    files = release[0].configs["paper"]
    count = 10 if "[" in split else sum(files[name].rows for name in split.split("+"))
    assert len(rows) == count > 0
    assert all(isinstance(rows[0][key], str) and rows[0][key] for key in ("question", "answer"))
    assert rows.column_names[: len(PUBLISHED)] == PUBLISHED


def test_rows_stand_in_the_published_order(release: tuple[Release, Path], tmp_path: Path) -> None:
    whole = loaded(release, "city_full", tmp_path)["pop_sum"]
    for side in ("rare", "popular"):
        sums = list(loaded(release, f"city_forget_{side}_5", tmp_path)["pop_sum"])
        assert sums == (whole[: len(sums)] if side == "rare" else whole[-len(sums) :])
        assert sums == sorted(sums)
