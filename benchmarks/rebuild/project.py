"""The rehearsal's project: the repository's own stages, topics, relations and prompts over other addresses."""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import ROOT

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
{pace}

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


def artifacts_of(root: Path) -> Path:
    """Where the rehearsal's project is built."""
    return root / "artifacts" / "rehearsal"


def make_project(
    folder: Path,
    urls: Mapping[str, str],
    topics: Sequence[str],
    *,
    rules: Sequence[str] = ("matched",),
    attempts: int = 6,
    paced: bool = True,
) -> Path:
    """Write the project, with the topics' limits raised, so that all subjects of the world are in.

    With `paper` among the rules of the probe, the recipe `paper` has only facts that the model knows by that rule.
    Without `paced` there are no limits per minute, with which a small build would take an hour.
    """
    for name in ("pipeline", "prompts"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    path = folder / "pipeline" / "topics.toml"
    path.write_text(re.sub(r"^limit = \d+", "limit = 100000", path.read_text("utf-8"), flags=re.MULTILINE), "utf-8")
    topic_list, rule_list = (", ".join(f'"{name}"' for name in group) for group in (topics, rules))
    profile = PROFILE + PUBLISHED_RULE if "paper" in rules else PROFILE
    text = profile.format(**urls, topics=topic_list, model=MODEL, rules=rule_list, pace=_pace(attempts, paced=paced))
    (folder / "pipeline" / "dual.toml").write_text(text, "utf-8")
    return folder


def _pace(attempts: int, *, paced: bool) -> str:
    """The pace of dual.toml with so many attempts, and without its limits per minute unless `paced`."""
    pace = tomllib.loads((ROOT / "pipeline" / "dual.toml").read_text("utf-8"))["services"]["pace"]
    lines = []
    for name, limits in pace.items():
        kept = {key: value for key, value in limits.items() if paced or key != "per_minute"} | {"attempts": attempts}
        lines.append(f"{name} = {{ {', '.join(f'{key} = {value}' for key, value in kept.items())} }}")
    return "\n".join(lines)
