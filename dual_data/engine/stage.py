"""What a stage is, and what it is given to work with."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import dataframely as dy
import polars as pl

from dual_data.calls import Calls
from dual_data.config import Services, Strict
from dual_data.engine.progress import Progress
from dual_data.sources.chat.protocol import ChatModel


class Result(NamedTuple):
    """The rows of a stage, and further tables that it writes beside them, by name."""

    rows: pl.DataFrame
    tables: Mapping[str, pl.DataFrame]
    sources: Mapping[str, str] = {}
    """Hashes, by name, of those `Stage.sources` that only the run could tell."""


class Forecast(NamedTuple):
    """What a stage is going to ask of one source."""

    source: str
    calls: int
    """Calls in all."""
    in_log: int
    """Those that are answered already."""
    tokens: int = 0
    """Prompt and answer tokens of the calls to make, estimated; 0 where the source does not count tokens."""
    note: str = ""
    """What the numbers rest on, where that is not obvious."""

    @property
    def to_make(self) -> int:
        """Calls that are not answered yet."""
        return self.calls - self.in_log


@dataclass(frozen=True)
class Tools:
    """Everything from outside that a stage may touch."""

    project: Path
    """Root folder of the project."""
    services: Services
    calls: Calls
    limit: int | None = None
    """Most facts that the stage works on; None for all. A later stage may rely on inputs that are limited already."""
    progress: Progress = field(default_factory=Progress)
    open_model: Callable[[str], ChatModel] | None = None
    """Opens a local model by name or folder, or raises MissingExtra; None where no stage may ask for one."""
    open_embedding: Callable[[], Callable[[Sequence[str]], Any]] | None = None
    """Opens the sentence embedding of the `paper` rule: texts -> unit vectors [n, d]."""


TAKEN = ("release", "project", "services")
"""Names that no stage may have: of the folder of a release, and of tables of a profile."""
_NAME = re.compile(r"[a-z][a-z0-9_]*")
Run = Callable[..., "pl.DataFrame | Result"]


@dataclass(frozen=True)
class Stage:
    """One step of a pipeline: a pure function of its parameters, files, inputs and the call log.

    `run(params, tools, **inputs)` returns the rows of `schema`. Rows with a value in the optional column `reason` are
    the rejected ones; the engine keeps them apart, with those that break a rule of the schema.
    """

    name: str
    """Plural noun of what it makes (small letters, digits and _); also the name of its table and artifacts folder."""
    version: int
    """Raised whenever the code changes what comes out for the same input."""
    run: Run
    schema: type[dy.Schema]
    params: type[Strict]
    inputs: tuple[str, ...] = ()
    """Names of the stages whose rows `run` takes as keyword arguments."""
    files: tuple[str, ...] = ()
    """Globs below the project root; the bytes of what they match belong to the fingerprint."""
    sources: Callable[[Any, Path, Services], Mapping[str, str | None]] | None = None
    """`sources(params, project, services)`: hashes, by name, of inputs that `files` cannot name, such as a folder of
    tables that a parameter points to. None where a hash cannot be told before the run, which then gives it in its
    `Result`; until the next one it is taken for unchanged."""
    services: tuple[str, ...] = ()
    """Fields of `Services` that change the outcome, such as the endpoint."""
    forecast: Callable[..., list[Forecast]] | None = None
    """`forecast(params, tools, **inputs)`: the calls that `run` would make; None for a stage that makes none."""
    outlook: Callable[..., list[Forecast] | None] | None = None
    """`outlook(params, tools, profile)`: the same, estimated, while an input is not built; None where there is nothing
    to estimate from."""
    check: Callable[[Path], object] | None = None
    """`check(project)`: raises UsageError where a file is not what the stage needs; asked by `dual-data check`."""


def wiring_faults(stages: Sequence[Stage]) -> Iterator[str]:
    """What keeps the stages from being built one after the other."""
    earlier: list[str] = []
    for stage in stages:
        if not isinstance(stage.name, str) or not _NAME.fullmatch(stage.name):
            yield f"{stage.name!r} is no name of a stage (a small letter, then small letters, digits and _)"
        elif stage.name in TAKEN:
            yield f"{stage.name!r} cannot be the name of a stage; dual-data calls something else so"
        elif stage.name in earlier:
            yield f"two stages are called {stage.name!r}; the second would write over the first"
        elif not isinstance(stage.inputs, tuple):
            yield f"{stage.name}: inputs must be a tuple of names, such as ({stage.inputs!r},)"
        elif unknown := [name for name in stage.inputs if name not in earlier]:
            known = ", ".join(earlier) or "none"
            yield f"{stage.name}: its input {unknown[0]!r} is no stage before it; before it are: {known}"
        elif fault := _refusal(stage):
            yield f"{stage.name}: run(params, tools{''.join(f', {name}' for name in stage.inputs)}) fails: {fault}"
        earlier.append(stage.name)


def _refusal(stage: Stage) -> str:
    """Why `run` cannot be called with what it is given; empty where it can."""
    try:
        inspect.signature(stage.run).bind(None, None, **dict.fromkeys(stage.inputs))
    except TypeError as error:
        return str(error)
    return ""


def needed(stages: Sequence[Stage], wanted: Iterable[str]) -> list[Stage]:
    """The stages named in `wanted` and all that they depend on, in order."""
    names = set(wanted)
    for stage in reversed(stages):
        if stage.name in names:
            names.update(stage.inputs)
    return [stage for stage in stages if stage.name in names]
