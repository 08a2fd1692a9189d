"""Reading datasets of the Hub: what their names look like, how a file is downloaded, what a failure means."""

from __future__ import annotations

import functools
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

from dual_data.errors import DualDataError, InputError, ServiceError

_REPOSITORY = re.compile(r"(?=.{1,96}$)(?!.*(--|\.\.))[\w-][\w.-]*/[\w-][\w.-]*(?<!\.git)", re.ASCII)
_LATER = (408, 429)
"""HTTP statuses below 500 after which the same request may succeed later."""


class NoSuchFile(InputError):
    """The dataset on the Hub can be read but lacks the file."""


def is_repository(name: str) -> bool:
    """Whether `name` has the form of a Hub dataset's name: owner/name."""
    return _REPOSITORY.fullmatch(name) is not None


def written(repository: str, revision: str | None) -> str:
    """A dataset at a revision as users write it: owner/name[@revision]."""
    return f"{repository}@{revision}" if revision else repository


def expect_no_folder(name: str) -> None:
    """Raise InputError where the folder of the missing path `name` exists: then `name` is no Hub dataset but a typo."""
    folder = Path(name).parent
    if folder.is_dir():
        close = get_close_matches(Path(name).name, (entry.name for entry in folder.iterdir()), n=1)
        hint = f"; did you mean {folder / close[0]}?" if close else "."
        raise InputError(f"{name}: no such file or folder{hint} A Hub dataset of this name would be {name}@main")


def downloaded(repository: str, revision: str | None, path: str, *, endpoint: str | None = None) -> Path:
    """A local path of a dataset's file, which is downloaded to the Hub client's cache.

    Raises NoSuchFile where the dataset lacks it, and what `hub_error` makes of other failures.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    name = written(repository, revision)
    try:
        with quietly():
            if not isinstance(try_to_load_from_cache(repository, path, None, revision, "dataset"), str):
                ask_for(repository, revision, endpoint)
            file = hf_hub_download(repository, path, repo_type="dataset", revision=revision, endpoint=endpoint)
    except Exception as error:
        if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
            raise NoSuchFile(f"{name}: holds no {path}; is it a dataset released by dual-data?") from None
        # A mistyped path has the form of a dataset's name.
        raise hub_error(f"{name}: no such folder, and", error) from None
    return Path(file)


def all_paths(repository: str, revision: str | None, *, endpoint: str | None = None) -> list[str]:
    """Paths of all files of a dataset. Raises what `hub_error` makes of a failure."""
    from huggingface_hub import HfApi

    try:
        with quietly():
            ask_for(repository, revision, endpoint)
            return sorted(HfApi(endpoint=endpoint).list_repo_files(repository, revision=revision, repo_type="dataset"))
    except Exception as error:
        raise hub_error(f"{written(repository, revision)}: could not be read from the Hub:", error) from None


def hub_error(context: str, error: Exception) -> DualDataError:
    """An error of the Hub's client as one of ours, with a message that begins with `context`.

    InputError where the Hub refused the request, ServiceError where it failed or could not be reached.
    """
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    if isinstance(error, HFValidationError):
        return InputError(f"{context} this is not the name of a Hub dataset (owner/name[@revision])")
    if isinstance(error, LocalEntryNotFoundError):
        # The client's own error only says that the cache lacks the file; its cause is the Hub's error.
        error = error.__cause__ if isinstance(error.__cause__, Exception) else error
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is None:  # the client passes on its HTTP library's errors, which differ between its versions
        return ServiceError(f"{context} the Hub could not be reached ({type(error).__name__}); try again later")
    if status in _LATER or status >= 500:
        return ServiceError(f"{context} the Hub failed ({status}); try again later")
    return InputError(
        f"{context} the Hub refused it ({status}). Check name and revision; log in if the dataset is private."
    )


@contextmanager
def quietly() -> Iterator[None]:
    """Silence, in a block, the Hub client's log of each retry on stderr: the final error is enough.

    A set HF_HUB_VERBOSITY, the client's own variable, is respected.
    """
    log = logging.getLogger("huggingface_hub.utils._http")
    before = log.level
    if not os.environ.get("HF_HUB_VERBOSITY"):
        log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


@functools.cache
def ask_for(repository: str, revision: str | None, endpoint: str | None) -> None:
    """Raise the client's error where the Hub has no such dataset or cannot be reached.

    A request for a file would be retried for half a minute first.
    """
    from huggingface_hub import HfApi, constants

    timeout = constants.HF_HUB_ETAG_TIMEOUT
    HfApi(endpoint=endpoint).dataset_info(repository, revision=revision, timeout=timeout)
