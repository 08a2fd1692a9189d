"""`dual-data release`, `verify`, `diff` and `push`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dual_data.cli.options import DEFAULT_PROFILE, HERE, Private, ProfileName, ProjectFolder, SendNothing
from dual_data.cli.text import as_json, printable, say, table

if TYPE_CHECKING:
    from dual_data.project.loading import Project
    from dual_data.release.diff import Difference
    from dual_data.released import Release

SHOWN = 20
"""Rows of each kind that `diff` prints."""
LONGEST_TEXT = 60
"""Characters of a text that `diff` prints, so that both sides of a question fit in a line."""

ReleaseFolder = Annotated[
    Path | None,
    typer.Option("--folder", help="Release folder.", show_default="artifacts/PROFILE/release", metavar="DIR"),
]


def release(
    project: ProjectFolder = HERE,
    profile: ProfileName = DEFAULT_PROFILE,
    folder: ReleaseFolder = None,
) -> None:
    """Make the dataset to publish.

    It consists of Parquet files, a dataset card, Croissant metadata and a manifest. The build must be up to date.
    Recipes that cannot be made from the data are absent, and the card says why. Before the folder is put in place,
    every configuration and split is loaded again with the library `datasets`, without network, and compared by content
    hash.

    Example: dual-data release --profile embedded
    """
    from dual_data.cli.outdated import outdated
    from dual_data.errors import DualDataError
    from dual_data.project.loading import load_project
    from dual_data.release.build import read_build
    from dual_data.release.hub import refusals
    from dual_data.release.tree import write_release
    from dual_data.sources.tables import SOURCES

    loaded = load_project(project, profile)
    build = read_build(loaded.artifacts, [stage.name for stage in loaded.stages], loaded.command("build"))
    stale, edited = outdated(loaded)
    if stale:
        raise DualDataError(f"{loaded.artifacts}: is out of date: {stale}")
    for line in edited:
        say(line)
    target = folder or loaded.release
    written = write_release(build, target, name=loaded.profile.name, about=loaded.profile.about, say=say)
    for name, reason in written.absent.items():
        say(f"absent: {name}: {reason}")
    params = written.stages["facts"].basis.params if "facts" in written.stages else {}
    if params.get("source") in SOURCES and "licence" not in loaded.profile.about.model_fields_set:
        say(
            f"the card states {loaded.profile.about.licence}, Wikidata's licence, though the facts are from tables of "
            f"your own: name theirs as `licence` under [project] of {loaded.profile.path}"
        )
    never, unless_forced = refusals(written.state)
    for reason in (*never, *unless_forced):
        say(f"push will refuse it: {reason}")
    print(f"{target}\ncontent {written.content}")


def verify(
    target: Annotated[str, typer.Argument(metavar="PATH|REPO[@revision]", help="Release folder or Hub dataset.")],
) -> None:
    """Recompute every hash of a release and print what differs.

    The release may be in a folder or on the Hub. The exit code is 1 if anything differs from its manifest.

    Example: dual-data verify owner/dual@v1.0.0
    """
    from dual_data.release.verify import verify as check
    from dual_data.released import locate
    from dual_data.text.display import count

    released, findings = check(locate(target))
    for finding in findings:
        say(f"error: {finding}")
    if findings:
        say(count(len(findings), "finding"))
        raise typer.Exit(1)
    tables, texts = len(released.tables()), len(released.files)
    print(f"{tables} tables and {texts} texts are as they were released\ncontent {released.content}")


def diff(
    before: Annotated[str, typer.Argument(metavar="A", help="Release folder, artifacts folder, or REPO[@revision].")],
    after: Annotated[str, typer.Argument(metavar="B", help="Another of these; changes from A to B are shown.")],
    json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON object.")] = False,
) -> None:
    """Show what changed between two datasets.

    Shows facts that were added, removed, corrected or are asked differently, with both texts, and how many members
    each split kept. A release folder is refused if a table is missing or differs from what was released; `verify` lists
    all its faults.

    Example: dual-data diff owner/dual@v1.0.0 artifacts/dual/release
    """
    from dual_data.release.diff import compare, ids_differ, read_dataset

    sides = read_dataset(before), read_dataset(after)
    if ids_differ(*sides):
        say(
            "The ids of one are minted from labels, those of the other are Wikidata's: no fact of one can be found in "
            "the other, so all are told as added or removed."
        )
    difference = compare(*sides)
    print(as_json(difference.summary()) if json else _shown(difference))


def push(
    repository: Annotated[str, typer.Argument(metavar="REPO", help="Dataset on the Hub: owner/name.")],
    tag: Annotated[str, typer.Option("--tag", help="Version, such as v1.0.0.")],
    *,
    project: ProjectFolder = HERE,
    profile: ProfileName = DEFAULT_PROFILE,
    folder: ReleaseFolder = None,
    private: Private = False,
    create_pr: Annotated[bool, typer.Option("--create-pr", help="Open a pull request; no tag is set.")] = False,
    dry_run: SendNothing = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Publish a build that is limited, uncommitted or made from the embedded snapshot, and remove files "
            "that no release wrote. Unresolved facts are never published.",
        ),
    ] = False,
) -> None:
    """Publish a release on the Hugging Face Hub.

    The release is verified, then sent as one commit, then tagged. A push that fails or is stopped leaves the repository
    as it was and can be repeated; if only the tag is missing, only the tag is set. Log in with `hf auth login` or set
    HF_TOKEN. Our tests do not cover uploads through the Hub's Xet storage; HF_HUB_DISABLE_XET=1 selects the method that
    they do cover.

    Example: dual-data push owner/dual --tag v1.0.0 --private
    """
    from dual_data.errors import UsageError
    from dual_data.hub_reading import is_repository
    from dual_data.project.loading import load_project
    from dual_data.release.hub import push as publish
    from dual_data.release.verify import verify as check
    from dual_data.released import Place

    loaded: Project | None = None
    if folder is None:
        loaded = load_project(project, profile)
        folder = loaded.release
    if not is_repository(repository):
        raise UsageError(f"{repository}: is not the name of a Hub dataset (owner/name)")
    released, findings = check(Place(folder=folder))
    if findings:
        remedy = f"run: {loaded.command('release')}" if loaded else "get the release again, or make another"
        raise UsageError(f"{folder}: differs from what was released: {findings[0]}; {remedy}")
    if loaded:
        expect_of_build(released, loaded)
    pushed = publish(
        released,
        folder,
        repository,
        tag,
        private=private,
        create_pr=create_pr,
        dry_run=dry_run,
        force=force,
        say=say,
    )
    if dry_run and not pushed.tagged:
        for path in pushed.removed:
            print(f"would remove {path}")
        how = "as a pull request, without a tag" if create_pr else f"and tag {tag}"
        print(f"would write {len(pushed.written)} files, {pushed.bytes / 1e6:.1f} MB, to {repository}, {how}")
    elif pushed.pull_request:
        print(f"{pushed.pull_request}\nMerge it, then push again without --create-pr: that sets the tag {tag}.")
    else:
        print(f"{repository}@{tag}\ncommit {pushed.commit}")


def expect_of_build(released: Release, project: Project) -> None:
    """Raise UsageError where the project's release is of another build than stands in its artifacts.

    A build that came to the same rows is the same, whenever it was made.
    """
    from dual_data.engine.manifest import read_manifests
    from dual_data.errors import UsageError

    standing = read_manifests(project.artifacts, released.stages)
    if later := [name for name, manifest in standing.items() if not manifest.is_as(released.stages[name])]:
        raise UsageError(
            f"{project.release}: was made from another build than the one in {project.artifacts} (stages "
            f"that differ: {', '.join(later)}); run: {project.command('release')}"
        )


def _shown(difference: Difference) -> str:
    import polars as pl

    from dual_data.text.display import count

    counts = [(name, len(getattr(difference, name))) for name in ("added", "removed", "corrected")]
    counts.append(("changed", difference.changed["fact_id"].n_unique()))
    parts = [table(("facts", "count"), counts)]
    parts += _first(difference.corrected.columns, difference.corrected.rows())
    for name in ("added", "removed"):
        frame = getattr(difference, name)
        parts += _first((name, *frame.columns[1:]), frame.rows())
    texts = [
        (*fact, *(text and printable(text, LONGEST_TEXT) for text in (before, after)))
        for *fact, before, after in difference.changed.rows()
    ]
    parts += _first(("changed", *difference.changed.columns[1:]), texts)
    moved = difference.splits.filter((pl.col("added") > 0) | (pl.col("removed") > 0))
    same = f"{count(difference.splits.height - moved.height, 'split')} with the same members"
    parts.append(f"{table(moved.columns, moved.rows())}\n{same}" if moved.height else same)
    return "\n\n".join(parts)


def _first(header: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """A table of the first rows, with the number of further ones; nothing without rows."""
    if not rows:
        return []
    more = len(rows) - SHOWN
    return [table(header, rows[:SHOWN]) + (f"\nand {more} more; --json prints everything" if more > 0 else "")]
