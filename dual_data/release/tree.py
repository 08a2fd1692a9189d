"""The release folder: written to a temporary folder, reloaded as its users will, and only then moved into place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from dual_data.config import About
from dual_data.engine.places import is_here
from dual_data.errors import UsageError
from dual_data.ids import digest
from dual_data.release import croissant
from dual_data.release.build import Build
from dual_data.release.card import card
from dual_data.release.licences import notices
from dual_data.release.listed import CARD, files_below, listed_by
from dual_data.release.reload import reload_all
from dual_data.release.secrets import expect_no_secret
from dual_data.release.tables import tables_of, write_tables
from dual_data.released import FORMAT, MANIFEST, File, Place, Release
from dual_data.system.files import expect_utf_8, whole_folder
from dual_data.system.interrupts import stopped_as_by_hand
from dual_data.text.display import some_of


def write_release(
    build: Build, target: Path, *, name: str, about: About | None = None, say: Callable[[str], None] = lambda _: None
) -> Release:
    """Write the release of a build to `target`, which is absent, empty or an earlier release.

    First, every configuration and split is reloaded through `datasets` and compared by content hash; a failure leaves
    `target` as it was. Raises UsageError for a folder with any file that no release wrote, ProjectBusy while another
    process writes it, DualDataError if the reloaded rows differ or a file would reveal a secret.
    """
    target = target.resolve()  # For a link, the folder that it points to is replaced.
    expect_utf_8(target)
    _expect_replaceable(target)
    with stopped_as_by_hand(), whole_folder(target, replace=True) as folder:
        release = _fill(build, folder, name, about or About())
        say(f"{len(release.tables())} splits of {len(release.configs)} configurations are written")
        for line in reload_all(release, folder, folder.with_name("cache")):
            say(line)
    return release


def texts(release: Release, folder: Path) -> tuple[Release, dict[str, str]]:
    """The release with the hashes of the files other than tables and its seal, and the texts of these files by path.

    Raises DualDataError if one of them would reveal a secret.
    """
    place = Place(folder=folder)
    contents = {CARD: card(release, place), croissant.FILE: croissant.croissant(release, place), **notices(release)}
    hashes = {path: digest(content, 64) for path, content in contents.items()}
    stamped = release.model_copy(update={"files": hashes}).sealed()
    contents[MANIFEST] = stamped.text()
    expect_no_secret(contents, "Take it out of the profile (keys belong in environment variables) and build again.")
    return stamped, contents


def _fill(build: Build, folder: Path, name: str, about: About) -> Release:
    tables = tables_of(build)
    configs = write_tables(tables.configs, folder)
    release = Release(
        format=FORMAT,
        name=name,
        about=about,
        repository=None,
        version=None,
        content=content_of(configs),
        state=build.state(),
        configs=configs,
        absent=tables.absent,
        files={},
        stages={stage: manifest.released() for stage, manifest in build.manifests.items()},
    )
    release, files = texts(release, folder)
    for path, content in files.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(content.encode())  # the hashed bytes, without the platform's line endings
    return release


def content_of(configs: Mapping[str, Mapping[str, File]]) -> str:
    """One hash over the content of all tables, independent of the order of configurations and splits."""
    lines = sorted(
        f"{config}/{split} {file.content}" for config, splits in configs.items() for split, file in splits.items()
    )
    return digest("\n".join(lines), 64)


def _expect_replaceable(target: Path) -> None:
    """Raise UsageError for a target with a file that no release wrote, which would be deleted with the old release."""
    if target.is_mount() or is_here(target):  # A process that works there would be left in a deleted folder.
        reason = "a mount point" if target.is_mount() else "or holds the working directory"
        raise UsageError(f"{target}: is {reason}, so it cannot be replaced; choose another folder, such as one in it")
    if other := next((folder for folder in target.parents if _listed_in(folder) is not None), None):
        raise UsageError(f"{target}: lies in the release {other}, where nothing else may be; choose another folder")
    entries = list(target.iterdir()) if target.is_dir() else []
    if not entries and (target.is_dir() or not target.exists()):
        return
    listed = _listed_in(target)
    if listed is None:
        names = f" ({some_of(sorted(path.name for path in entries))})" if entries else ""
        raise UsageError(f"{target}: exists and is not a release{names}; choose another folder")
    if strangers := set(files_below(target)) - listed - {CARD, croissant.FILE}:
        raise UsageError(
            f"{target}: holds files that no release wrote ({some_of(sorted(strangers))}), and a new release would "
            "delete them. Move them out, or choose another folder."
        )


def _listed_in(folder: Path) -> frozenset[str] | None:
    """The files that the release in a folder lists; None where it holds none."""
    manifest = folder / MANIFEST
    return listed_by(manifest.read_bytes()) if manifest.is_file() else None
