"""Uploads to the Hub: what they need and show, and a repository that is made for one and gone where it fails."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dual_data.errors import UsageError

KEPT = (".gitattributes",)
"""Files that the Hub itself puts into a new repository; a release neither has nor removes them."""


@contextlib.contextmanager
def made_repository(api: Any, repository: str, kind: str, *, private: bool) -> Iterator[str]:
    """Make the repository for the length of an upload and yield its first commit.

    Whatever ends the block or the making early, a repository that is still as it was made is taken away again. `kind`
    is dataset or model.
    """
    made, first = False, None
    try:
        api.create_repo(repository, repo_type=kind, private=private)
        made = True
        first = api.repo_info(repository, repo_type=kind).sha
        yield first
    except BaseException as error:
        with contextlib.suppress(Exception):
            if made and first is None:
                api.delete_repo(repository, repo_type=kind)
            elif made or not _refused(error):
                now = api.repo_info(repository, repo_type=kind)
                # A commit whose answer was lost has arrived, and stays. Where the answer to the making itself was
                # lost, an empty repository is what it made.
                if now.sha == first or (not made and {file.rfilename for file in now.siblings or ()} <= set(KEPT)):
                    api.delete_repo(repository, repo_type=kind)
        raise


def expect_private(repository: str, info: Any) -> None:
    """Raise UsageError for a public repository, where a private one is asked for."""
    if info.private is False:
        raise UsageError(
            f"{repository}: exists and is public, and --private only makes new repositories private. Make it private "
            "on the Hub first, or choose another name."
        )


def expect_token(token: str | None) -> None:
    """Raise UsageError where there is none."""
    if not token:
        raise UsageError(
            "no Hub token: log in with `hf auth login`, or set HF_TOKEN to a token that may write to the repository"
        )


def added(files: Mapping[str, bytes | Path]) -> list[Any]:
    """The parts of a commit that write `files`, by path."""
    from huggingface_hub import CommitOperationAdd

    return [
        CommitOperationAdd(path_in_repo=path, path_or_fileobj=data if isinstance(data, bytes) else str(data))
        for path, data in sorted(files.items())
    ]


def bars_on_terminals_only() -> contextlib.AbstractContextManager[None]:
    """A log file wants no progress bar a file."""
    import huggingface_hub.utils

    return contextlib.nullcontext() if sys.stderr.isatty() else without_bars(huggingface_hub.utils)


@contextlib.contextmanager
def without_bars(library: Any) -> Iterator[None]:
    """Turn off the progress bars of `datasets` or `huggingface_hub.utils` for the length of a block."""
    if library.are_progress_bars_disabled():
        yield
        return
    library.disable_progress_bars()
    try:
        yield
    finally:
        library.enable_progress_bars()


def _refused(error: BaseException) -> bool:
    """Whether the Hub said no, so that nothing was made; the repository may be somebody else's."""
    status = getattr(getattr(error, "response", None), "status_code", 0)
    return 400 <= status < 500
