"""The code of a project that a stage runs, to tell where it was edited after a build.

Whether code gives other rows than before only its authors know: they raise the stage's version, and the fingerprint
holds that. An edit alone makes no stage run again, but is told, since a forgotten version keeps old rows.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.util import resolve_name
from pathlib import Path

from dual_data.engine.stage import Stage
from dual_data.system.files import file_hash

PACKAGE = "pipeline"


def code_of(stage: Stage, project: Path) -> dict[str, str]:
    """SHA-256 by path, below the project, of the module with the stage's `run` and of all that it imports there."""
    found = set[Path]()
    ahead = list(_files(stage.run.__module__, project))
    while ahead:
        file = ahead.pop()
        if file not in found:
            found.add(file)
            ahead += [other for name in _imported(file, project) for other in _files(name, project)]
    return {file.relative_to(project).as_posix(): file_hash(file) for file in sorted(found)}


def edited(stage: Stage, project: Path, build: Mapping[str, object]) -> tuple[str, ...]:
    """Paths of that code that differ from those of a `Manifest.build`; none where it has no code, as those before."""
    was = build.get("code")
    if not isinstance(was, Mapping):
        return ()
    now = code_of(stage, project)
    return tuple(sorted(path for path in {*was, *now} if was.get(path) != now.get(path)))


def _files(name: str, project: Path) -> Iterator[Path]:
    """The files of the module `name` of the project, or of the package: none of other packages.

    The package itself lists all stages and is none of a single one's.
    """
    top, *inner = name.split(".")
    if top == PACKAGE and inner:
        place = project.joinpath(PACKAGE, *inner)
        yield from (file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file())


def _imported(file: Path, project: Path) -> Iterator[str]:
    """Full names of what a file imports: modules, and perhaps names in them."""
    package = ".".join(file.relative_to(project).parent.parts)
    with suppress(SyntaxError, ValueError, ImportError):  # of a file that only some runs import
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                module = resolve_name("." * node.level + (node.module or ""), package)
                yield module
                yield from (f"{module}.{alias.name}" for alias in node.names)
