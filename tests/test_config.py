"""What a profile says, and what holds where it says nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from dual_data.config import PACES, Pace, Services, load_profile
from dual_data.errors import ConfigError


def profile(folder: Path, paces: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(f"[project]\n[services.pace]\n{paces}", encoding="utf-8")
    return path


def test_the_pace_of_one_source_leaves_the_others_theirs(tmp_path: Path) -> None:
    paces = load_profile(profile(tmp_path, "wikidata = { per_minute = 5 }\n")).services.pace
    assert paces["wikidata"] == Pace(per_minute=5)
    assert paces["wikipedia"].per_minute == 190
    assert {name: pace for name, pace in paces.items() if name != "wikidata"} == {
        name: pace for name, pace in PACES.items() if name != "wikidata"
    }
    assert Services().pace == PACES


def test_models_and_own_sources_may_have_a_pace(tmp_path: Path) -> None:
    paces = load_profile(
        profile(tmp_path, '"local:smollm2" = { concurrency = 2 }\n"own:planets" = { per_minute = 7 }\n')
    ).services.pace
    assert (paces["local:smollm2"].concurrency, paces["own:planets"].per_minute) == (2, 7)


@pytest.mark.parametrize("name", ["wikpedia", "sparql", '"judge:a"', '"locl:smollm2"'])
def test_a_pace_of_no_source_is_refused(tmp_path: Path, name: str) -> None:
    path = profile(tmp_path, f"{name} = {{ per_minute = 5 }}\n")
    with pytest.raises(ConfigError, match=r"services\.pace: .* is no source; the sources are: wikidata,") as caught:
        load_profile(path)
    assert caught.value.file == path
