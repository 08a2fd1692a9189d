"""The rehearsal's project: the repository's own stages, topics, relations and prompts over other addresses."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.rebuild.world import ROOT

MODEL = "rehearsal-model"
PROFILE = """\
# dual.toml over the rehearsal's services: same pace, same sizes.
[project]
name = "rehearsal"

[services]
contact = "rehearsal@example.org"
sparql = "{wikidata}/query"
wikipedia = "{wikipedia}/w/"

[services.pace]
wikidata = {{ per_minute = 30, concurrency = 1{stubborn} }}
wikipedia = {{ per_minute = 190, concurrency = 1{stubborn} }}
probe = {{ concurrency = 16{stubborn} }}
judge = {{ concurrency = 16, per_minute = 480{stubborn} }}

[facts]
source = "sparql"
topics = [{topics}]

[links]
method = "cirrusdoc"

[[knowledge.models]]
name = "{model}"
rules = [{rules}]
endpoint = {{ base_url = "{probe}/v1", model = "{model}" }}

[salience]
endpoint = {{ base_url = "{judge}/v1", model = "rehearsal-judge" }}

[splits.matched]
models = ["{model}"]
"""
PUBLISHED_RULE = """
[splits.paper]
model = "{model}"
"""


def make_project(
    folder: Path,
    urls: Mapping[str, str],
    topics: Sequence[str],
    *,
    rules: Sequence[str] = ("matched",),
    attempts: int = 6,
) -> Path:
    """Write the project; topics that hold more than their limit get room, so that the world decides what is in.

    With `paper` among the rules of the probe, the recipe `paper` holds what the model knows by it.
    """
    for name in ("pipeline", "prompts"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    path = folder / "pipeline" / "topics.toml"
    path.write_text(re.sub(r"^limit = \d+", "limit = 100000", path.read_text("utf-8"), flags=re.MULTILINE), "utf-8")
    named, asked = (", ".join(f'"{name}"' for name in group) for group in (topics, rules))
    stubborn = f", attempts = {attempts}"
    profile = PROFILE + PUBLISHED_RULE if "paper" in rules else PROFILE
    text = profile.format(**urls, topics=named, model=MODEL, rules=asked, stubborn=stubborn)
    (folder / "pipeline" / "dual.toml").write_text(text, "utf-8")
    return folder
