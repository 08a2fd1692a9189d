"""The release folder: written beside its place, reloaded as its users will, and only then moved there."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from dual_data.config import About
from dual_data.engine.plan import is_here
from dual_data.errors import DualDataError, UsageError
from dual_data.interrupts import stopped_as_by_hand
from dual_data.release import croissant
from dual_data.release.build import Build
from dual_data.release.card import card
from dual_data.release.licences import notices
from dual_data.release.listed import files_below, first_of, listed_by
from dual_data.release.reload import reload_all
from dual_data.release.secrets import find_secret
from dual_data.release.tables import tables_of, write_tables
from dual_data.released import FORMAT, MANIFEST, File, Place, Release

CARD = "README.md"
Report = Callable[[str], None]


def write_release(
    build: Build, target: Path, *, name: str, about: About | None = None, report: Report = lambda _line: None
) -> Release:
    """Make the Hub tree of a build in `target`, which is absent, empty or an earlier release.

    Every configuration and split is reloaded through `datasets` from the folder and compared by content hash first; a
    failure leaves `target` as it was. Raises UsageError for a folder that holds any file that no release wrote,
    DualDataError where the reloaded rows differ or a file would give a secret away.
    """
    target = target.resolve()  # Where it is a link, the folder behind it is replaced.
    _expect_replaceable(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with stopped_as_by_hand(), tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch:
        folder = Path(scratch) / "tree"
        folder.mkdir()
        release = _fill(build, folder, name, about or About())
        report(f"{sum(map(len, release.configs.values()))} splits of {len(release.configs)} configurations are written")
        for line in reload_all(release, folder, Path(scratch) / "cache"):
            report(line)
        before = Path(scratch) / "before"
        try:
            if target.exists():
                target.rename(before)
            folder.rename(target)
        except BaseException:
            # Whatever stays in the scratch folder is deleted with it.
            if before.exists() and not target.exists():
                before.rename(target)
            raise
    return release


def manifest_text(release: Release) -> str:
    """manifest.json of a release."""
    return json.dumps(release.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"


def texts(release: Release, place: Place) -> tuple[Release, dict[str, str]]:
    """The files beside the tables, as they read for `release`, and the release with their hashes.

    Raises DualDataError where one of them would give a secret away.
    """
    written = {
        CARD: card(release, place),
        croissant.FILE: croissant.croissant(release, place),
        **notices(release),
    }
    hashes = {path: hashlib.sha256(content.encode()).hexdigest() for path, content in written.items()}
    stamped = release.model_copy(update={"files": hashes})
    written[MANIFEST] = manifest_text(stamped)
    for path, content in written.items():
        if found := find_secret(content):
            raise DualDataError(
                f"{path}: would publish what looks like a secret ({found}). Take it out of the profile (keys belong in "
                "environment variables) and build again."
            )
    return stamped, written


def _fill(build: Build, folder: Path, name: str, about: About) -> Release:
    tables = tables_of(build)
    written = write_tables(tables.configs, folder)
    release = Release(
        format=FORMAT,
        name=name,
        about=about,
        repository=None,
        version=None,
        content=content_of(written),
        state=build.state(),
        configs=written,
        absent=tables.absent,
        files={},
        stages={stage: manifest.model_dump(mode="json") for stage, manifest in build.manifests.items()},
    )
    release, files = texts(release, Place(folder=folder))
    for path, content in files.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(content.encode())  # as it was hashed, whatever ends a line on this platform
    return release


def content_of(configs: Mapping[str, Mapping[str, File]]) -> str:
    """One hash over the content of all tables, whatever the order of configurations and splits."""
    lines = sorted(
        f"{config}/{split} {file.content}" for config, splits in configs.items() for split, file in splits.items()
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _expect_replaceable(target: Path) -> None:
    """Refuse whatever holds a file that no release wrote: it would be deleted with the earlier release."""
    if target.is_mount() or is_here(target):  # Whoever works there would be left in a folder that is gone.
        what = "a mount point" if target.is_mount() else "or holds the working directory"
        raise UsageError(f"{target}: is {what}, which cannot be replaced; choose another folder, such as one in it")
    held = list(target.iterdir()) if target.is_dir() else []
    if not held and (target.is_dir() or not target.exists()):
        return
    manifest = target / MANIFEST
    listed = listed_by(manifest.read_bytes()) if manifest.is_file() else None
    if listed is None:
        names = f" ({first_of([path.name for path in held])})" if held else ""
        raise UsageError(f"{target}: exists and is no release{names}; choose another folder")
    if strangers := set(files_below(target)) - listed - {CARD, croissant.FILE}:
        raise UsageError(
            f"{target}: holds files that no release wrote ({first_of(strangers)}), and a new release would delete "
            "them. Move them out, or choose another folder."
        )
