"""Definition of a stage, and the tools that it works with."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import dataframely as dy
import polars as pl

from dual_data.calls.fetching import Calls
from dual_data.calls.fetching import Forecast as Forecast  # noqa: PLC0414 - stages have it from here
from dual_data.config import RELATIONS, Profile, Relation, Services, Strict, load_relation, load_relations
from dual_data.engine.places import RELEASE
from dual_data.sources.chat.protocol import ChatModel
from dual_data.system.progress import Progress


class Result(NamedTuple):
    """The rows of a stage, and its further tables by name."""

    rows: pl.DataFrame
    tables: Mapping[str, pl.DataFrame]
    sources: Mapping[str, str] = {}
    """Hashes by name of the `Stage.sources` that only the run can determine."""


class Lack(NamedTuple):
    """Something that a stage, or calls of it, needs and this machine lacks, such as a key."""

    message: str
    params: Any
    """The stage's parameters with no other service than the one whose calls need it."""
    calls_expected: bool = True
    """What to assume while the stage's inputs are not built, so that its calls are unknown: False where the log may
    answer all of them, or none may be made."""
    always: bool = False
    """Whether the stage needs it even where it makes no call, such as a package."""


@dataclass(frozen=True)
class Tools:
    """Everything outside a stage that it may use."""

    project: Path
    """Root folder of the project."""
    services: Services
    calls: Calls
    open_model: Callable[[str], ChatModel]
    """Opens a local model by name or folder, or raises MissingExtra."""
    open_embedding: Callable[[], Callable[[Sequence[str]], Any]]
    """Opens the sentence embedding of the `paper` rule, texts -> unit vectors [n, d], or raises MissingExtra."""
    limit: int | None = None
    """Most facts that the stage works on; None for all. A later stage may rely on inputs that are limited already."""
    progress: Progress = field(default_factory=Progress)
    alone: str = ""
    """The relation that a preview asks for alone, such as P36; empty in a build, which asks for all."""

    def relations(self) -> dict[str, Relation]:
        """The relations to ask for, by the stems of their files. Raises ConfigError for a faulty file."""
        folder = self.project / RELATIONS
        return {self.alone: load_relation(folder / f"{self.alone}.toml")} if self.alone else load_relations(folder)


RESERVED = (RELEASE, "project", "services")
"""Names that no stage may have: the folder of a release, and tables of a profile."""
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Stage:
    """One step of a pipeline: a pure function of its parameters, files, inputs and the call log.

    `run(params, tools, **inputs)` returns the rows of `schema`. Rows with a value in the optional column `reason` are
    rejected; the engine stores them separately, with the rows that break a rule of the schema.
    """

    name: str
    """What its rows are (small letters, digits and _); also the name of its table and artifacts folder."""
    version: int
    """Raised whenever a change of the code changes the output for the same input."""
    run: Callable[..., pl.DataFrame | Result]
    schema: type[dy.Schema]
    params: type[Strict]
    """Their fields with `exclude=True`, such as folders and budgets, do not decide the output: they stay outside its
    fingerprint and are not released."""
    inputs: tuple[str, ...] = ()
    """Names of the stages whose rows `run` takes as keyword arguments."""
    files: tuple[str, ...] = ()
    """Globs below the project root; the bytes of the matching files are part of the fingerprint."""
    sources: Callable[[Any, Path, Services], Mapping[str, str | None]] | None = None
    """`sources(params, project, services)`: hashes by name of inputs that `files` cannot name, such as a folder of
    tables that a parameter points to. A hash that only the run can determine is None here and part of its `Result`;
    until the next run it counts as unchanged."""
    services: tuple[str, ...] = ()
    """Fields of `Services` that affect the output, such as the endpoint."""
    forecast: Callable[..., list[Forecast]] | None = None
    """`forecast(params, tools, **inputs)`: the calls that `run` would make; None for a stage that makes none."""
    outlook: Callable[..., list[Forecast] | None] | None = None
    """`outlook(params, tools, profile)`: an estimate of `forecast` while an input is not built; returns None if there
    is nothing to estimate from."""
    lacks: Callable[[Any, Tools], Iterable[Lack]] | None = None
    """`lacks(params, tools)`: what a run, or the calls of `forecast`, would need and this machine lacks."""
    greet: Callable[[Any, Tools], None] | None = None
    """`greet(params, tools)`: asks each service a first question, through the call log, before the calls of the stages
    ahead; raises Refused where one would not answer this stage."""
    check: Callable[[Any, Path, Profile], object] | None = None
    """`check(params, project, profile)`: raises UsageError if a parameter, a service or a file is not what the stage
    needs, or the parameters of another stage do not go with them, a ConfigError without file for a key of the profile;
    called by `dual-data check`, and before a build's first call."""


def wiring_faults(stages: Sequence[Stage]) -> Iterator[str]:
    """Faults that keep the stages from being built one after the other."""
    earlier: list[str] = []
    for stage in stages:
        if not isinstance(stage.name, str) or not _NAME.fullmatch(stage.name):
            yield f"{stage.name!r} is not a valid stage name (a small letter, then small letters, digits and _)"
        elif stage.name in RESERVED:
            yield f"{stage.name!r} cannot be the name of a stage; dual-data uses it for something else"
        elif stage.name in earlier:
            yield f"two stages are called {stage.name!r}; the second would write over the first"
        elif not isinstance(stage.inputs, tuple):
            yield f"{stage.name}: inputs must be a tuple of names, such as ({stage.inputs!r},)"
        elif unknown := [name for name in stage.inputs if name not in earlier]:
            known = ", ".join(earlier) or "none"
            yield f"{stage.name}: its input {unknown[0]!r} is not a stage before it; the stages before it are: {known}"
        elif fault := _refusal(stage):
            yield f"{stage.name}: run(params, tools{''.join(f', {name}' for name in stage.inputs)}) fails: {fault}"
        earlier.append(stage.name)


def _refusal(stage: Stage) -> str:
    """Why `run` cannot be called with its arguments; empty if it can."""
    try:
        inspect.signature(stage.run).bind(None, None, **dict.fromkeys(stage.inputs))
    except TypeError as error:
        return str(error)
    return ""


def needed(stages: Sequence[Stage], wanted: Iterable[str]) -> list[Stage]:
    """The stages named in `wanted` and those they depend on, in order."""
    names = set(wanted)
    for stage in reversed(stages):
        if stage.name in names:
            names.update(stage.inputs)
    return [stage for stage in stages if stage.name in names]
