"""Recomputes every hash of a release in a folder or on the Hub."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from dual_data.engine.tables import content_hash, expect_supported
from dual_data.errors import DualDataError
from dual_data.hub_reading import NoSuchFile, all_paths
from dual_data.release.listed import files_below
from dual_data.release.tree import content_of
from dual_data.released import MANIFEST, Place, Release, how_to_get_again, read_release
from dual_data.system.files import file_hash

IGNORED = (".gitattributes", ".gitignore")
"""Files that the Hub or git add."""
OF_COPIES = (".git", ".cache")
"""Folders that `git clone` and `hf download --local-dir` add to a copy."""


def verify(place: Place) -> tuple[Release, list[str]]:
    """The release, and its deviations from its manifest; an empty list if there are none.

    The hashes of bytes and content and the numbers of rows are recomputed for every table and text, and the seal of
    what else the manifest states, such as the commit. Files that the manifest does not list are findings too. Raises
    InputError if there is no manifest, ServiceError if the Hub does not answer.
    """
    release = read_release(place)
    checks = (_files(place, release), _tables(place, release), _provenance(release), _strangers(place, release))
    return release, list(itertools.chain(_seal(release), *checks))


def _seal(release: Release) -> Iterator[str]:
    if release.is_edited():
        yield f"{MANIFEST}: was changed: its seal does not follow from what it states"


def _files(place: Place, release: Release) -> Iterator[str]:
    for path, expected in release.files.items():
        local = _present(place, path)
        if local is None:
            yield f"{path}: is missing"
        elif file_hash(local) != expected:
            yield f"{path}: was changed{_advice(place, local)}"


def _tables(place: Place, release: Release) -> Iterator[str]:
    for file in release.tables():
        local = _present(place, file.path)
        if local is None:
            yield f"{file.path}: is missing"
            continue
        if file_hash(local) != file.sha256:
            yield f"{file.path}: its bytes were changed{_advice(place, local)}"
        try:
            frame = pl.read_parquet(local, glob=False)
        except (pl.exceptions.PolarsError, OSError) as error:
            yield f"{file.path}: cannot be read: {error}"
            continue
        if frame.height != file.rows:
            yield f"{file.path}: {frame.height} rows, not {file.rows}"
        try:
            expect_supported({file.path: frame}, file.path)
            is_same = content_hash(frame) == file.content
        except DualDataError:  # bytes in place of text, as some writers leave it: no table of a release has any
            is_same = False
        if not is_same:
            yield f"{file.path}: its rows were changed"
    if content_of(release.configs) != release.content:
        yield f"{MANIFEST}: its content hash does not follow from its tables"


def _advice(place: Place, local: Path) -> str:
    return f"; {how_to_get_again(place, local)}" if place.folder is None else ""


def _provenance(release: Release) -> Iterator[str]:
    """Tables of stages that are not what the stage made."""
    for stage, manifest in release.stages.items():
        released = release.whole(stage)
        if released is not None and released.content != manifest.content():
            yield f"{released.path}: is not what its stage made: it is from another build"


def _strangers(place: Place, release: Release) -> Iterator[str]:
    listed = {MANIFEST, *release.files, *(file.path for file in release.tables())}
    for path in _paths(place):
        if path not in listed and path not in IGNORED:
            yield f"{path}: is not in {MANIFEST}"


def _paths(place: Place) -> list[str]:
    if place.folder is not None:
        return [path for path in files_below(place.folder) if path.split("/")[0] not in OF_COPIES]
    return all_paths(place.repository, place.revision, endpoint=place.endpoint)


def _present(place: Place, path: str) -> Path | None:
    try:
        file = place.file(path)
    except NoSuchFile:
        return None
    return file if file.is_file() else None
