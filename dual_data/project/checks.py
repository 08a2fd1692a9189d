"""Collects all faults of a project's files, for `dual-data check`."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dual_data.config import (
    RELATIONS,
    TOPICS,
    Excluded,
    Profile,
    Relation,
    Topic,
    load_excluded,
    load_profile,
    load_relation,
    load_relations,
    load_topics,
    profile_files,
    read_toml,
    same_name,
    wording_key,
)
from dual_data.engine.plan import check_stage
from dual_data.engine.stage import Stage
from dual_data.errors import ConfigError, InputError, UsageError
from dual_data.evaluation.rows.panel import SHIPPED
from dual_data.evaluation.settings import EvaluationSettings, load_settings, read_settings, resolved
from dual_data.project.loading import unknown_tables
from dual_data.prompts import load_prompt
from dual_data.sources.tables import SOURCES
from dual_data.sources.tables.files import table_files
from dual_data.text.display import count, did_you_mean

_EXPLAINED = re.compile(r"^#\s{2,}([a-z_]+)\s{2,}\S", re.MULTILINE)
"""A line of the comment at the top of EXCLUDED.toml: a reason and its meaning."""


class _Findings(list[str]):
    """Faults, each as `file: key: message`."""

    def attempt(self, read: Callable[..., Any], *arguments: Any) -> Any:
        """What `read` returns; None where it raises UsageError, whose faults are added."""
        try:
            return read(*arguments)
        except UsageError as error:
            self.extend(str(error).split("\n"))
            return None


def check_project(root: Path, stages: Sequence[Stage]) -> tuple[list[str], str]:
    """Every fault as `file: key: message`, and a line with the numbers of checked items."""
    findings = _Findings()
    grid_files = _checked_pipeline_files(root, stages, findings)
    methods = _checked_methods(root, grid_files, findings)
    findings += _wrong_endings(root)
    files = profile_files(root)
    profiles = [profile for path in files if (profile := findings.attempt(load_profile, path)) is not None]
    for profile in profiles:
        for stage in stages:
            findings.attempt(check_stage, stage, root, profile)
        findings += unknown_tables(profile, stages)
        findings += _missing_triplets(profile, root)
    findings += _same_names(profiles)
    topics = findings.attempt(load_topics, root / TOPICS)
    relations = _checked_relations(root, topics, findings)
    prompt_files = sorted((root / "prompts").glob("*.md"))
    for path in prompt_files:
        findings.attempt(load_prompt, path)
    idle = [name for name in topics or () if not any(relation.applies_to(name) for relation in relations)]
    # No fault: its relations may come later.
    unasked = f" (no relation, so no fact, is of {', '.join(idle)})" if idle else ""
    summary = (
        f"{count(len(profiles), 'profile')}, {count(len(topics or ()), 'topic')}{unasked}, "
        f"{count(len(relations), 'relation')} with "
        f"{count(sum(len(relation.questions.questions()) for relation in relations), 'question')}, "
        f"{count(len(prompt_files), 'prompt')}, {count(len(grid_files), 'grid file')}{methods}: no fault found"
    )
    # Without duplicates: a prompt is read here and again by the check of its stage, for every profile.
    return list(dict.fromkeys(findings)), summary


def _checked_pipeline_files(root: Path, stages: Sequence[Stage], findings: _Findings) -> list[Path]:
    """The grid files; adds the faults of all TOML files in pipeline/ but those of a stage or a profile alone."""
    read_by_stages = {path for stage in stages for pattern in stage.files for path in root.glob(pattern)}
    grid_files = []
    for path in sorted((root / "pipeline").glob("*.toml")):
        if (data := findings.attempt(read_toml, path)) is None:
            continue
        if "grids" in data:
            grid_files.append(path)
            if (settings := findings.attempt(read_settings, path)) is not None:
                findings += _missing_data(settings, root, path)
                findings += _missing_panels(settings, root, path)
        elif "project" not in data and path not in read_by_stages:
            findings.append(f"{path}: nothing reads it: it has neither [project] nor [grids]; topics are in {TOPICS}")
    return grid_files


def _wrong_endings(root: Path) -> Iterator[str]:
    """A fault for each TOML file whose ending is written in a way that nothing looks for, such as .TOML."""
    for path in sorted((*root.glob("pipeline/*.*"), *root.glob(f"{RELATIONS}/*.*"))):
        if path.suffix != ".toml" and path.suffix.lower() == ".toml":
            yield f"{path}: nothing reads it: it ends in {path.suffix}; rename it to {path.stem}.toml"


def _checked_relations(root: Path, topics: Mapping[str, Topic] | None, findings: _Findings) -> Collection[Relation]:
    """The relations that can be read; adds their faults, and those of EXCLUDED.toml."""
    files = [path for path in sorted((root / RELATIONS).glob("*.toml")) if path.stem != "EXCLUDED"]
    relations = {path: relation for path in files if (relation := findings.attempt(load_relation, path)) is not None}
    if len(relations) == len(files):
        findings.attempt(load_relations, root / RELATIONS)
    findings += _same_questions(relations)
    topics_by_key = {
        f"{path}: topics": relations[path].topics if path in relations else _stated_topics(path) for path in files
    }
    exclusions = root / RELATIONS / "EXCLUDED.toml"
    if exclusions.exists() and (excluded := findings.attempt(load_excluded, exclusions)) is not None:
        findings += _wrong_exclusions(exclusions, excluded, relations)
        topics_by_key |= {f"{exclusions}: {label}.topics": entry.topics for label, entry in excluded.items()}
    if topics is not None:
        findings += _unknown_topics(topics_by_key, topics)
    return relations.values()


def _checked_methods(root: Path, grid_files: Sequence[Path], findings: _Findings) -> str:
    """For the summary, what was checked; adds the faults of the project's methods, or else of those in presets."""
    files = sorted((root / "pipeline" / "methods").glob("*.py"))
    broken = [fault for path in files for fault in _broken_code(path)]
    findings += broken
    if broken or not (files or grid_files):
        return ""
    try:
        from dual_data.evaluation.methods import METHODS, load_methods
    except ModuleNotFoundError:
        return ", methods not checked (that needs the extra `eval`)"
    before = len(findings)
    findings.attempt(load_methods, root)
    if len(findings) == before:
        for path in grid_files:
            findings.attempt(load_settings, path)
    return f", {len(METHODS)} methods"


def _broken_code(path: Path) -> Iterator[str]:
    """A fault for a file of methods that is no Python; what it defines is known once it is run, which needs torch."""
    try:
        compile(path.read_bytes(), path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        yield f"{path}{line}: {error.msg if isinstance(error, SyntaxError) else error}"


def _missing_data(settings: EvaluationSettings, root: Path, path: Path) -> Iterator[str]:
    """Faults for files of rows that are not there, without those below artifacts/, or whose $VARIABLE is not set."""
    for name, data in settings.data.items():
        if (folder := _kept_place(data.folder, root)) is None:
            continue
        missing = [] if folder.is_dir() else [folder]
        for file in missing or [folder / file for file in data.files if not (folder / file).is_file()]:
            yield f"{path}: data.{name}: {file}: not there, but the grid file takes rows from it: correct the path"


def _missing_panels(settings: EvaluationSettings, root: Path, path: Path) -> Iterator[str]:
    """The same for files of utility panels."""
    for name, grid in settings.grids.items():
        if grid.panel in ("", SHIPPED) or (file := _kept_place(grid.panel, root)) is None or file.is_file():
            continue
        yield f"{path}: grids.{name}.panel: {file}: no such file; name a file of JSON lines, or {SHIPPED!r}"


def _kept_place(text: str, root: Path) -> Path | None:
    """A path of the grid file; None below artifacts/, which is built, and where its $VARIABLE is not set."""
    try:
        place = resolved(text, root, "", "")
    except ConfigError:
        return None
    return None if place.resolve().is_relative_to((root / "artifacts").resolve()) else place


def _missing_triplets(profile: Profile, root: Path) -> Iterator[str]:
    """A fault for a folder of facts without tables; dumps may be on another machine."""
    facts = profile.stages.get("facts", {})
    if facts.get("source") in SOURCES and isinstance(folder := facts.get("folder"), str):
        try:
            table_files(root / folder)
        except InputError as error:
            yield f"{profile.path}: facts.folder: {error}"


def _stated_topics(path: Path) -> list[str]:
    """The topics that a faulty relation file names, so that misspelt topics are reported together with its fault."""
    try:
        topics = read_toml(path).get("topics")
    except UsageError:
        return []
    return [topic for topic in topics if isinstance(topic, str)] if isinstance(topics, list) else []


def _unknown_topics(topics_by_key: Mapping[str, Sequence[str]], known: Collection[str]) -> Iterator[str]:
    """Faults for topics by file and key that are not in topics.toml."""
    for key, topics in topics_by_key.items():
        for topic in topics:
            if topic != "*" and topic not in known:
                yield f"{key}: {topic!r} is not in {TOPICS}{did_you_mean(topic, known)}"


def _wrong_exclusions(
    path: Path, excluded: Mapping[str, Excluded], relations: Mapping[Path, Relation]
) -> Iterator[str]:
    """Faults for excluded labels that a relation asks about, and for reasons that the top of the file lacks."""
    head = path.read_text(encoding="utf-8").partition("\n[")[0]
    reasons = _EXPLAINED.findall(head)
    for label, entry in excluded.items():
        if reasons and entry.reason not in reasons:
            known = ", ".join(reasons)
            yield f"{path}: {label}.reason: {entry.reason!r} is not explained at the head of the file; known: {known}"
        for file, relation in relations.items():
            applies = "*" in entry.topics or any(relation.applies_to(topic) for topic in entry.topics)
            if applies and label in relation.labels:
                yield f"{path}: {label}: {file.name} asks about it; remove it here, or from the labels of that file"


def _same_names(profiles: Sequence[Profile]) -> list[str]:
    """Profiles that would write over each other's artifacts."""
    owners: dict[str, Profile] = {}
    return [
        same_name(profile, owner)
        for profile in profiles
        if (owner := owners.setdefault(profile.name, profile)) is not profile
    ]


def _same_questions(relations: Mapping[Path, Relation]) -> list[str]:
    """Faults for questions that two relations of one topic share: an answer right for one is wrong for the other."""
    faults = []
    files_by_question: dict[str, list[Path]] = {}
    for path, relation in relations.items():
        for question in dict.fromkeys(relation.questions.questions()):
            earlier = files_by_question.setdefault(wording_key(question), [])
            faults += [
                f"{path}: questions: {question!r} is asked by {other.name} too, in {', '.join(topics)}; "
                "word one of the two so that its answers are not right for the other"
                for other in earlier
                # Two files of one property may not share a topic at all.
                if relation.property != relations[other].property
                and (topics := sorted(relation.topics_with(relations[other])))
            ]
            earlier.append(path)
    return faults
