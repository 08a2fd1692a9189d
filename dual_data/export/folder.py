"""Writes an export to any folder, replacing nothing but an earlier export of the same kind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from dual_data.errors import InputError, UsageError
from dual_data.released import Place, Release, expect_unchanged
from dual_data.system.files import write_text


def write_export(kind: str, files: Mapping[str, str], target: Path, release: Release, place: Place) -> None:
    """Write `files` (text by path) below `target`, and `dual-data-KIND.json`, which names the release and lists them.

    Files of an earlier export of the same dataset that are no longer made are removed. Raises UsageError, before
    anything is written, if `target` holds the export of another dataset, if a file would replace one that no export
    wrote, or if `target` lies in the release; InputError, as early, if a table of a local release is not what was
    released: the files name it by its path and by the hash of its released content.
    """
    if place.folder is not None and target.resolve().is_relative_to(place.folder.resolve()):
        raise UsageError(f"{target}: is the release or inside it, where nothing else may be; choose another folder")
    expect_unchanged(place, release)
    listing = target / f"dual-data-{kind}.json"
    dataset = {"name": release.name, "title": release.title}
    before = _listed(listing, dataset)
    if foreign := [path for path in files if path not in before and (target / path).exists()]:
        raise UsageError(
            f"{target / foreign[0]}: exists and was not written by an earlier export; choose another folder"
        )

    def list_them(paths: set[str], content: Mapping[str, str | None]) -> None:
        about = {**dataset, **content, "files": sorted(paths)}
        write_text(listing, json.dumps(about, indent=1, ensure_ascii=False) + "\n")

    # Listed before they are written, so that an interrupted export recognises its files when it is repeated. Until all
    # are written, they may be of two releases, and the list names none.
    list_them(before | files.keys(), {})
    for path, text in files.items():
        write_text(target / path, text)
    for path in before - files.keys():
        (target / path).unlink(missing_ok=True)
    list_them(set(files), {"release": str(place), "version": release.version, "content": release.content})


def _listed(listing: Path, dataset: Mapping[str, str]) -> set[str]:
    """The files of an earlier export of the dataset."""
    if not listing.exists():
        return set()
    inside = listing.parent.resolve()
    try:
        about = json.loads(listing.read_text(encoding="utf-8"))
        before = {key: str(about[key]) for key in dataset}
        files = {path for path in about["files"] if (inside / path).resolve().is_relative_to(inside)}
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise InputError(f"{listing}: is not the list of an earlier export ({error}); choose another folder") from None
    if before != dataset:
        raise UsageError(
            f"{listing.parent}: holds the export of {_called(before)}, whose files that of {_called(dataset)} would "
            "remove; choose another folder"
        )
    return files


def _called(dataset: Mapping[str, str]) -> str:
    name, title = dataset.values()
    return name if title == name else f"{name} ({title})"
