"""A project: a folder with pipeline/ and prompts/, from which stages and profiles are loaded."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from dual_data.calls import Calls
from dual_data.config import Profile, is_profile, load_profile, same_name, shipped_project
from dual_data.display import visible
from dual_data.engine.plan import artifacts, command
from dual_data.engine.progress import Progress
from dual_data.engine.stage import Stage, Tools, wiring_faults
from dual_data.errors import ConfigError, DualDataError, InputError, MissingExtra, UsageError
from dual_data.sources.chat.protocol import ChatModel

_ABOUT = re.compile(r"(^\[project\]\n(?:#[^\n]*\n)*name = [^\n]*\n).*?(?=^\[services\]$)", re.MULTILINE | re.DOTALL)
"""The part of a shipped profile's [project] that describes the dataset, after its name."""
_README = """\
# {title}

A benchmark for LLM unlearning, made with dual-data.

| where | what |
|---|---|
| `pipeline/dual.toml`, `pipeline/embedded.toml` | profiles: the parameters of every stage; `embedded` is offline |
| `pipeline/topics.toml`, `pipeline/relations/` | what the facts are about, and how each relation is asked |
| `pipeline/*.py` | the stages |
| `pipeline/evaluation.toml` | models, methods and grids of the evaluation |
| `pipeline/methods/` | a place for unlearning methods of your own, one Python file each |
| `prompts/` | what the knowledge probe and the salience judge are asked with |
| `artifacts/PROFILE/` | what is built, and every answer that was paid for; git ignores it |

```bash
dual-data check                                 # the files of this folder
dual-data build --profile embedded --dry-run    # the plan
dual-data build --profile embedded              # then: dual-data show --profile embedded
```
"""


class Project(NamedTuple):
    """A loaded project with one of its profiles."""

    root: Path
    stages: tuple[Stage, ...]
    profile: Profile

    @property
    def artifacts(self) -> Path:
        """Folder that the profile's build writes."""
        return artifacts(self.root, self.profile)

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
    """The nearest folder at or above `start` that is a project. Raises InputError where there is none."""
    if not start.exists():  # Else a misspelt folder in a project would be taken for that project.
        raise InputError(f"{start}: no such folder; name a project, or a folder inside one")
    for folder in (start, *start.resolve().parents):
        if (folder / "pipeline" / "__init__.py").is_file():
            return folder
    raise InputError(
        f"{start}: no dual-data project here or above (a folder with pipeline/). Make one with: dual-data init DIR"
    )


def load_project(start: Path, profile: str) -> Project:
    """Load the project at or above `start`. `profile` is the name of a file in pipeline/, or a path."""
    root = find_root(start)
    profiles = [file for file in sorted((root / "pipeline").glob("*.toml")) if is_profile(file)]
    path = Path(profile) if profile.endswith(".toml") else root / "pipeline" / f"{profile}.toml"
    if not path.is_file():
        names = ", ".join(file.stem for file in profiles)
        raise InputError(f"{path}: no such profile; {root / 'pipeline'} has: {names}")
    stages = load_stages(root)
    loaded = load_profile(path)
    if unknown := [name for name in loaded.stages if name not in {stage.name for stage in stages}]:
        known = ", ".join(stage.name for stage in stages)
        raise UsageError(f"{path}: {unknown[0]}: unknown table; the stages are: {known}; and [project], [services]")
    for other in (file for file in profiles if not file.samefile(path)):
        with suppress(ConfigError):  # `check` reports the faults of other profiles.
            if (owner := load_profile(other)).name == loaded.name:
                raise UsageError(same_name(loaded, owner))
    return Project(root, stages, loaded)


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
                raise UsageError(f"{place}: {error.msg if isinstance(error, SyntaxError) else error}") from None
            raise
    stages = getattr(module, "PIPELINE", None)
    if not isinstance(stages, tuple) or not all(isinstance(stage, Stage) for stage in stages):
        raise UsageError(f"{folder / '__init__.py'}: PIPELINE must be a tuple of stages")
    if fault := next(wiring_faults(stages), None):
        raise UsageError(f"{folder / '__init__.py'}: PIPELINE: {fault}")
    return stages


def _place_of(error: BaseException, folder: Path) -> str:
    """`FILE:LINE` of the project's code with a syntax error or a failing import; empty for any other error."""
    if isinstance(error, SyntaxError):
        places = [(error.filename or "", error.lineno)]
    elif isinstance(error, ImportError):
        places = [(frame.filename, frame.lineno) for frame in reversed(traceback.extract_tb(error.__traceback__))]
    else:
        return ""
    own = (f"{file}:{line}" for file, line in places if Path(file).resolve().is_relative_to(folder.resolve()))
    return next(own, "")


def init(target: Path, source: Path | None = None) -> None:
    """Copy the project `source`, by default the shipped one, to `target`, which must be absent or empty.

    A failure leaves nothing behind. Raises DualDataError where the files cannot be written.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target}: exists and is not an empty folder; choose another name")
    if obstacles := [parent for parent in target.parents if parent.exists() and not parent.is_dir()]:
        raise UsageError(f"{target}: cannot be made, because {obstacles[0]} is a file; choose another name")
    is_new = not target.exists()
    try:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target, prefix=".init-") as scratch:
            _fill(Path(scratch), source or shipped_project(), visible(target.resolve().name))
            for path in list(Path(scratch).iterdir()):
                path.rename(target / path.name)
    except BaseException as error:
        if is_new:
            with suppress(OSError):
                target.rmdir()
        if isinstance(error, OSError):
            raise DualDataError(
                f"{target}: cannot be made ({error.strerror or error}); nothing was left behind"
            ) from None
        raise


def _fill(folder: Path, source: Path, title: str) -> None:
    """Copy the project in `source` with `title` in place of its profiles' descriptions of the original dataset, and a
    README."""
    for path in (entry for name in ("pipeline", "prompts") for entry in (source / name).rglob("*")):
        copy = folder / path.relative_to(source)
        if path.is_file() and copy.parent.name != "__pycache__":
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())  # Without file modes: an installation may be read-only.
    own = f"title = {json.dumps(title, ensure_ascii=False)}\n\n"
    for profile in filter(is_profile, (folder / "pipeline").glob("*.toml")):
        profile.write_bytes(_ABOUT.sub(lambda match: match[1] + own, profile.read_text("utf-8")).encode())
    (folder / "artifacts").mkdir()
    (folder / "README.md").write_text(_README.format(title=title), encoding="utf-8")
    # What `git add .` must not take: results, and the dumps of README's recipe.
    (folder / ".gitignore").write_text("/artifacts/\n/dumps/\n__pycache__/\n")


def open_model(spec: str) -> ChatModel:
    """Open a local model for the stages. Raises MissingExtra without the evaluation extra."""
    try:
        from dual_data.evaluation.measuring.local_model import LocalModel
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "torch", "eval") from None
    return LocalModel.open(spec)


def open_embedding() -> Callable[[Sequence[str]], Any]:
    """Open the sentence embedding of the `paper` rule. Raises MissingExtra where it is not installed."""
    try:
        from dual_data.evaluation.measuring.embedding import SentenceEmbedder
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "torch", "eval") from None
    return SentenceEmbedder().embed
