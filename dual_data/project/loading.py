"""A project: a folder with pipeline/ and prompts/, from which stages and profiles are loaded."""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import dual_data
from dual_data.calls.fetching import Calls
from dual_data.config import Profile, load_profile, profile_files, same_name, shipped_project, sound_profiles
from dual_data.engine.places import RELEASE, artifacts, command
from dual_data.engine.stage import Stage, Tools, wiring_faults
from dual_data.errors import DualDataError, InputError, MissingExtra, UsageError
from dual_data.sources.chat.protocol import ChatModel
from dual_data.system.files import expect_utf_8
from dual_data.system.progress import Progress


class Project(NamedTuple):
    """A loaded project with one of its profiles."""

    root: Path
    stages: tuple[Stage, ...]
    profile: Profile

    @property
    def artifacts(self) -> Path:
        """Folder that the profile's build writes."""
        return artifacts(self.root, self.profile)

    @property
    def release(self) -> Path:
        """Folder of the profile's release, unless another is named."""
        return self.artifacts / RELEASE

    def command(self, words: str) -> str:
        """`dual-data WORDS` for the profile; arguments may follow."""
        return command(self.root, words, self.profile)

    def tools(
        self,
        *,
        limit: int | None = None,
        offline: bool = False,
        read_only: bool = False,
        progress: Progress | None = None,
    ) -> Tools:
        """What the stages work with; the caller closes `tools.calls`."""
        services = self.profile.services
        calls = Calls(self.artifacts / "calls.sqlite", services.pace, offline=offline, read_only=read_only)
        if contact := os.environ.get("DUAL_DATA_CONTACT", "").strip():
            services = services.model_copy(update={"contact": contact})
        return Tools(
            project=self.root,
            services=services,
            calls=calls,
            open_model=open_model,
            open_embedding=open_embedding,
            limit=limit,
            progress=progress or Progress(),
        )


def find_root(start: Path) -> Path:
    """The nearest folder at or above `start` that is a project. Raises InputError where there is none, or no UTF-8."""
    if not start.exists():  # Else a misspelt folder in a project would be taken for that project.
        raise InputError(f"{start}: no such folder; name a project, or a folder inside one")
    expect_utf_8(start.resolve())
    for folder in (start, *start.resolve().parents):
        if (folder / "pipeline" / "__init__.py").is_file():
            return folder
    raise InputError(
        f"{start}: no dual-data project here or above (a folder with pipeline/__init__.py). Make one with: dual-data "
        "init DIR"
    )


def project_or_shipped(start: Path) -> Path:
    """The project at or above `start`, or the shipped one where none is in or above the current folder."""
    try:
        return find_root(start)
    except InputError:
        if start != Path():
            raise
        return shipped_project()


def load_project(start: Path, profile: str) -> Project:
    """Load the project at or above `start`. `profile` is the name of a file in pipeline/, or a path."""
    root = find_root(start)
    path = Path(profile) if profile.endswith(".toml") else root / "pipeline" / f"{profile}.toml"
    if not path.is_file():
        names = ", ".join(file.stem for file in profile_files(root))
        raise InputError(f"{path}: no such profile; {root / 'pipeline'} has: {names}")
    stages = load_stages(root)
    loaded = load_profile(path)
    if faults := unknown_tables(loaded, stages):
        raise UsageError(faults[0])
    for other in sound_profiles(root):
        if other.name == loaded.name and not other.path.samefile(path):
            raise UsageError(same_name(loaded, other))
    return Project(root, stages, loaded)


def unknown_tables(profile: Profile, stages: Sequence[Stage]) -> list[str]:
    """Faults for tables of a profile that are named after no stage."""
    names = [stage.name for stage in stages]
    return [
        f"{profile.path}: {name}: unknown table; the stages are: {', '.join(names)}; and [project], [services]"
        for name in profile.stages
        if name not in names
    ]


def load_stages(root: Path) -> tuple[Stage, ...]:
    """The PIPELINE of a project's pipeline/, loaded by path, since it is not an installed package."""
    folder = root / "pipeline"
    module = sys.modules.get("pipeline")
    if module is None or Path(str(module.__file__)).parent.resolve() != folder.resolve():
        for name in [name for name in sys.modules if name == "pipeline" or name.startswith("pipeline.")]:
            del sys.modules[name]
        spec = importlib.util.spec_from_file_location(
            "pipeline", folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        if spec is None or spec.loader is None:
            raise InputError(f"{folder}: cannot be loaded as a package")
        module = importlib.util.module_from_spec(spec)
        sys.modules["pipeline"] = module
        try:
            spec.loader.exec_module(module)
        except BaseException as error:
            del sys.modules["pipeline"]
            if place := _place_of(error, folder):
                raise UsageError(f"{place}: {_in_words(error)}{_of_another_version(error)}") from None
            raise
    stages = getattr(module, "PIPELINE", None)
    if not isinstance(stages, tuple) or not all(isinstance(stage, Stage) for stage in stages):
        raise UsageError(f"{folder / '__init__.py'}: PIPELINE must be a tuple of stages")
    if fault := next(wiring_faults(stages), None):
        raise UsageError(f"{folder / '__init__.py'}: PIPELINE: {fault}")
    return stages


def _place_of(error: BaseException, folder: Path) -> str:
    """`FILE:LINE` of the project's code that fails or cannot be read; empty where it is not at fault, as for Ctrl-C."""
    if isinstance(error, DualDataError) or not isinstance(error, Exception):
        return ""
    if isinstance(error, SyntaxError):
        places = [(error.filename or "", error.lineno)]
    else:
        places = [(frame.filename, frame.lineno) for frame in reversed(traceback.extract_tb(error.__traceback__))]
    own = (f"{file}:{line}" for file, line in places if Path(file).resolve().is_relative_to(folder.resolve()))
    return next(own, "")


def _in_words(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return error.msg
    return str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"


def _of_another_version(error: BaseException) -> str:
    """What to do where the project's code asks for something that this dual-data does not have."""
    lacks_name = isinstance(error, ImportError) and (error.name or "").partition(".")[0] == dual_data.__name__
    lacks_argument = isinstance(error, TypeError) and "argument" in str(error)
    if not lacks_name and not lacks_argument:
        return ""
    return (
        f". This is dual-data {dual_data.__version__}; if the project is of another version, install that one, or make "
        "a new project with `dual-data init` and move into it what is yours: profiles, topics, relations, grids, "
        "prompts, methods, stages"
    )


def open_model(spec: str) -> ChatModel:
    """Open a local model for the stages. Raises MissingExtra without the evaluation extra."""
    try:
        from dual_data.evaluation.measuring.local_model import LocalModel
        from dual_data.evaluation.models.loading import load
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "torch", "eval") from None
    return LocalModel(load(spec))


@cache
def open_embedding() -> Callable[[Sequence[str]], Any]:
    """Open the sentence embedding of the `paper` rule, once. Raises MissingExtra where it is not installed."""
    try:
        from dual_data.evaluation.measuring.embedding import SentenceEmbedder
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "torch", "eval") from None
    return SentenceEmbedder().embed
