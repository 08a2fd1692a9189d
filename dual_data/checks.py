"""All faults of a project's files at once, for `dual-data check`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dual_data.config import (
    Profile,
    Relation,
    load_excluded,
    load_profile,
    load_relation,
    load_relations,
    load_topics,
    read_toml,
)
from dual_data.engine.stage import Stage
from dual_data.errors import UsageError
from dual_data.prompts import load_prompt


def check_project(root: Path, stages: Sequence[Stage]) -> tuple[list[str], str]:
    """Every fault as `file: key: message`, and a line that says how much was checked."""
    findings: list[str] = []

    def attempt(read: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return read(*arguments)
        except UsageError as error:
            findings.extend(str(error).split("\n"))
            return None

    profiles = [path for path in sorted((root / "pipeline").glob("*.toml")) if _kind(path) == "profile"]
    topic_files = [path for path in sorted((root / "pipeline").glob("*.toml")) if _kind(path) == "topics"]
    relation_files = [p for p in sorted((root / "pipeline" / "relations").glob("*.toml")) if p.stem != "EXCLUDED"]
    prompt_files = sorted((root / "prompts").glob("*.md"))

    loaded_profiles = [profile for path in profiles if (profile := attempt(load_profile, path)) is not None]
    for profile in loaded_profiles:
        findings.extend(_stage_faults(profile, stages))
    findings.extend(_same_names(loaded_profiles))
    topics = [loaded for path in topic_files if (loaded := attempt(load_topics, path)) is not None]
    relations = {path: attempt(load_relation, path) for path in relation_files}
    if all(relation is not None for relation in relations.values()):
        attempt(load_relations, root / "pipeline" / "relations")
    findings.extend(_same_questions({path: one for path, one in relations.items() if one is not None}))
    known = {name for loaded in topics for name in loaded}
    for path, relation in relations.items():
        for topic in relation.topics if relation is not None else ():
            if topic != "*" and topic not in known:
                findings.append(f"{path}: topics: {topic!r} is in none of {', '.join(p.name for p in topic_files)}")
    for path in (root / "pipeline" / "relations").glob("EXCLUDED.toml"):
        attempt(load_excluded, path)
    for path in prompt_files:
        attempt(load_prompt, path)
    summary = (
        f"{len(profiles)} profiles, {len(known)} topics, {len(relations)} relations with "
        f"{sum(len(r.questions.questions()) for r in relations.values() if r is not None)} questions, "
        f"{len(prompt_files)} prompts: no fault found"
    )
    return findings, summary


def _same_names(profiles: Sequence[Profile]) -> list[str]:
    """Profiles that would write over each other's artifacts."""
    owners: dict[str, Profile] = {}
    return [
        f"{profile.path}: project.name: {profile.name!r} is the name of {owner.path.name} too; both would write to "
        f"artifacts/{profile.name}, so give one of them another"
        for profile in profiles
        if (owner := owners.setdefault(profile.name, profile)) is not profile
    ]


def _same_questions(relations: Mapping[Path, Relation]) -> list[str]:
    """Questions that two relations of one topic would both ask: what answers the one would be wrong for the other."""
    found = []
    asked: dict[str, list[Path]] = {}
    for path, relation in relations.items():
        for question in dict.fromkeys(relation.questions.questions()):
            others = asked.setdefault(question.casefold(), [])
            found += [
                f"{path}: questions: {question!r} is asked by {other.name} too, in {', '.join(topics)}; "
                "word one of the two so that its answers are not right for the other"
                for other in others
                if (topics := _common_topics(relation, relations[other]))
            ]
            others.append(path)
    return found


def _common_topics(first: Relation, second: Relation) -> list[str]:
    """Topics in which both are asked; the files of one property divide the topics among them."""
    if first.property == second.property:
        return []
    for one, other in ((first, second), (second, first)):
        if "*" in one.topics:
            return list(other.topics)
    return sorted(set(first.topics) & set(second.topics))


def _stage_faults(profile: Profile, stages: Sequence[Stage]) -> list[str]:
    """Wrong parameters, and tables of stages that do not exist."""
    found = []
    for stage in stages:
        try:
            profile.params(stage.name, stage.params)
        except UsageError as error:
            found.extend(str(error).split("\n"))
    names = [stage.name for stage in stages]
    found += [
        f"{profile.path}: {name}: unknown table; the stages are: {', '.join(names)}"
        for name in profile.stages
        if name not in names
    ]
    return found


def _kind(path: Path) -> str:
    """profile, topics or other: told by content, since users name their files as they like.

    A file that is not TOML counts as a profile, so that its fault is found.
    """
    try:
        data = read_toml(path)
    except UsageError:
        return "profile"
    if "project" in data:
        return "profile"
    tables = [table for table in data.values() if isinstance(table, dict)]
    return "topics" if tables and all("classes" in table for table in tables) else "other"
