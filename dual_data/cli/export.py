"""`dual-data export lm-eval | open-unlearning | tofu-json`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dual_data.cli.options import DEFAULT_PROFILE, HERE, ProfileName, ProjectFolder
from dual_data.cli.text import say

if TYPE_CHECKING:
    from dual_data.released import Place, Release

app = typer.Typer(help="Write a release as files that other programs read.", no_args_is_help=True)

Target = Annotated[
    Path,
    typer.Argument(
        metavar="DIR",
        help="Folder to write to. An earlier export of the same kind and dataset is replaced; one of another dataset "
        "is refused. Exports of different kinds may share a folder.",
    ),
]
Source = Annotated[
    str | None,
    typer.Option(
        "--release",
        metavar="PATH|REPO[@revision]",
        help="Release folder or Hub dataset.",
        show_default="artifacts/PROFILE/release",
    ),
]


@app.command("lm-eval")
def lm_eval(
    folder: Target, source: Source = None, project: ProjectFolder = HERE, profile: ProfileName = DEFAULT_PROFILE
) -> None:
    """Write a task for lm-evaluation-harness for every split.

    The tasks read the release from where it is now. Their names begin with dual, or with dual_NAME for a
    profile of another name. Tags such as dual_matched or dual_matched_retain_eval name many tasks at once. The prompt
    is that of dual-data's own evaluation only with --apply_chat_template: without it, lm_eval puts nothing, not even a
    space, between the instruction and the question.

    Example: dual-data export lm-eval tasks && lm_eval --include_path tasks --tasks dual_matched_city_forget_rare_5
    --apply_chat_template ...
    """
    from dual_data.export.lm_eval import lm_eval_files

    release, place = _read(folder, source, project, profile)
    _write("lm-eval", lm_eval_files(release, place), folder, release, place)


@app.command("open-unlearning")
def open_unlearning(
    folder: Target, source: Source = None, project: ProjectFolder = HERE, profile: ProfileName = DEFAULT_PROFILE
) -> None:
    """Write configurations for open-unlearning.

    They are datasets, metrics and experiments; DIR may be open-unlearning's own configs folder. Forget splits without
    rows of their topic to retain have no experiment, and are named. Names begin with dual, or with dual_NAME for a
    profile of another name.

    Example: dual-data export open-unlearning configs --release owner/dual@v1.0.0
    """
    from dual_data.export.open_unlearning import open_unlearning_files

    release, place = _read(folder, source, project, profile)
    _write("open-unlearning", open_unlearning_files(release, place, say), folder, release, place)


@app.command("tofu-json")
def tofu_json(
    folder: Target, source: Source = None, project: ProjectFolder = HERE, profile: ProfileName = DEFAULT_PROFILE
) -> None:
    """Write JSON lines with the keys of TOFU's data files.

    One file for every split: CONFIG/SPLIT.json. Every row of a file has equally many wrong answers: five, or fewer if a
    row has no more. They are of its relation, or if this has too few, also of relations with the same kind of object,
    which are easier to tell apart. Files with fewer than five are named.

    Load them by file: load_dataset("json", data_files="DIR/CONFIG/SPLIT.json", split="train"). In a folder, the library
    datasets takes files for train or test by their names, and leaves out others.

    Example: dual-data export tofu-json data/dual
    """
    from dual_data.export.tofu_json import tofu_json_files

    release, place = _read(folder, source, project, profile)
    files = tofu_json_files(release, place, say)
    _write("tofu-json", files, folder, release, place, has_rows=True)
    if files:
        say(f'load them by file: load_dataset("json", data_files="{folder / min(files)}", split="train")')


def _read(target: Path, source: str | None, project: Path, profile: str) -> tuple[Release, Place]:
    """The release that `source` names, or else that of the profile; refused before if `target` cannot be a folder."""
    from dual_data.cli.release import expect_of_build
    from dual_data.errors import InputError
    from dual_data.project.loading import load_project
    from dual_data.released import locate, read_release

    if file := next((path for path in (target, *target.parents) if path.is_file()), None):
        raise InputError(f"{file}: is a file; name a folder to write to")
    if source is not None:
        place = locate(source)
        return read_release(place), place
    loaded = load_project(project, profile)
    if not loaded.release.is_dir():
        raise InputError(f"{loaded.release}: no release; make it with: {loaded.command('release')}")
    place = locate(loaded.release)
    release = read_release(place)
    expect_of_build(release, loaded)
    return release, place


def _write(
    kind: str, files: Mapping[str, str], folder: Path, release: Release, place: Place, *, has_rows: bool = False
) -> None:
    """Write an export; `has_rows` is whether its files hold the rows, where others say from where to read them."""
    from dual_data.export.folder import write_export

    write_export(kind, files, folder, release, place)
    if not has_rows and place.folder is None and not place.revision:
        say(
            f"{place}: what is written reads whatever its main holds when it is used; to read this version alone, "
            f"name it: --release {place}@v{release.version}"
        )
    print(f"{folder}: {len(files)} files")
