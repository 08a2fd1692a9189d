"""Common parts of uploads to the Hub: checks, progress bars, and a new repository that is deleted on failure."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dual_data.errors import UsageError

KEPT = (".gitattributes",)
"""Files that the Hub itself adds to a new repository; a release neither has nor removes them."""
LOGGED_OUT = "no Hub token: log in with `hf auth login`, or set HF_TOKEN to a token that may write to the repository"


@contextlib.contextmanager
def new_repository(api: Any, repository: str, kind: str, *, private: bool) -> Iterator[str]:
    """Create the repository for an upload and yield its first commit.

    If creating it or the block fails, the repository is deleted again unless it has changed since it was created.
    `kind` is dataset or model.
    """
    created, first = False, None
    try:
        api.create_repo(repository, repo_type=kind, private=private)
        created = True
        first = api.repo_info(repository, repo_type=kind).sha
        yield first
    except BaseException as error:
        with contextlib.suppress(Exception):
            if created and first is None:
                api.delete_repo(repository, repo_type=kind)
            elif created or not _refused(error):
                info = api.repo_info(repository, repo_type=kind)
                # If only the answer to a commit was lost, the commit has arrived and stays. If the answer to
                # create_repo was lost, an empty repository is the one it created.
                if info.sha == first or (not created and {file.rfilename for file in info.siblings or ()} <= set(KEPT)):
                    api.delete_repo(repository, repo_type=kind)
        raise


def expect_private(repository: str, info: Any) -> None:
    """Raise UsageError for a public repository, if a private one is requested."""
    if info.private is False:
        raise UsageError(
            f"{repository}: exists and is public, and --private only makes new repositories private. Make it private "
            "on the Hub first, or choose another name."
        )


def expect_token(token: str | None) -> None:
    """Raise UsageError if there is no token."""
    if not token:
        raise UsageError(LOGGED_OUT)


def additions(files: Mapping[str, bytes | Path]) -> list[Any]:
    """The operations of a commit that write `files`, by path."""
    from huggingface_hub import CommitOperationAdd

    return [
        CommitOperationAdd(path_in_repo=path, path_or_fileobj=data if isinstance(data, bytes) else str(data))
        for path, data in sorted(files.items())
    ]


def size_of(files: Mapping[str, bytes | Path]) -> int:
    """Bytes of `files`, by path."""
    return sum(len(data) if isinstance(data, bytes) else data.stat().st_size for data in files.values())


def bars_on_terminals_only() -> contextlib.AbstractContextManager[None]:
    """Turn off the progress bars of uploads in a block if stderr is not a terminal."""
    import huggingface_hub.utils

    return contextlib.nullcontext() if sys.stderr.isatty() else without_bars(huggingface_hub.utils)


@contextlib.contextmanager
def without_bars(library: Any) -> Iterator[None]:
    """Turn off the progress bars of `datasets` or `huggingface_hub.utils` in a block."""
    if library.are_progress_bars_disabled():
        yield
        return
    library.disable_progress_bars()
    try:
        yield
    finally:
        library.enable_progress_bars()


def _refused(error: BaseException) -> bool:
    """Whether the Hub refused, so that nothing was created; the repository may be somebody else's."""
    status = getattr(getattr(error, "response", None), "status_code", 0)
    return 400 <= status < 500
