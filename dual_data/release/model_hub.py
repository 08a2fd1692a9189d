"""Pushes files to a model repository on the Hub in one commit."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dual_data.release.hub import LOOKING_FIRST, SENDING, translated
from dual_data.release.repository import additions, bars_on_terminals_only, expect_private, expect_token, new_repository
from dual_data.system.interrupts import stopped_as_by_hand


def push_model(
    repository: str,
    files: Mapping[str, bytes | Path],
    *,
    message: str,
    private: bool = False,
    endpoint: str | None = None,
    token: str | None = None,
) -> str:
    """Write `files` by path into the model `repository` and return the commit's id; other files there stay.

    A repository that was created for a failed push is deleted again. Raises UsageError without a token and for a public
    repository if a private one is requested, Refused if the Hub refuses, ServiceError if it does not answer.
    """
    import huggingface_hub

    token = token or huggingface_hub.get_token()
    expect_token(token)
    api: Any = huggingface_hub.HfApi(endpoint=endpoint, token=token)
    with stopped_as_by_hand():
        with translated(repository, token, LOOKING_FIRST):
            exists = api.repo_exists(repository)
            if exists and private:
                expect_private(repository, api.repo_info(repository))
        creation = new_repository(api, repository, "model", private=private)
        scope = contextlib.nullcontext() if exists else creation
        with translated(repository, token, SENDING), scope, bars_on_terminals_only():
            return str(api.create_commit(repository, additions(files), commit_message=message).oid)
