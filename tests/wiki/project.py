"""A project over the invented world: its own topics, the real relation files."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.wiki.world import world

ROOT = Path(__file__).resolve().parents[2]

TOPICS = """\
[places_country]
classes = ["{country}"]
limit = 100

[places_city]
classes = ["{city}"]
limit = 160

[geography_volcano]
classes = ["{volcano}"]
limit = 100

[human_writer]
property = "P106"
classes = ["{writer}"]
limit = 100
"""
"""One city topic is smaller than its class: the limit takes the best linked."""


def make_project(folder: Path, *, relations: tuple[str, ...] = ()) -> Path:
    """Fill `folder` with the world's topics and the repository's relation files (all, or those named)."""
    target = folder / "pipeline" / "relations"
    target.mkdir(parents=True)
    (folder / "pipeline" / "topics.toml").write_text(TOPICS.format(**world().named), encoding="utf-8")
    for path in sorted((ROOT / "pipeline" / "relations").glob("*.toml")):
        if not relations or path.stem in relations:
            shutil.copy(path, target / path.name)
    return folder


def add_stages(folder: Path) -> None:
    """Put the repository's stages and prompts beside what `make_project` filled in."""
    no_code = shutil.ignore_patterns("*.toml", "relations", "__pycache__")
    shutil.copytree(ROOT / "pipeline", folder / "pipeline", dirs_exist_ok=True, ignore=no_code)
    shutil.copytree(ROOT / "prompts", folder / "prompts")
