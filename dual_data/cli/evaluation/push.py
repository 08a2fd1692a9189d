"""`dual-data eval push`: publish an unlearned adapter on the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dual_data.cli.options import Private, SendNothing
from dual_data.cli.text import say
from dual_data.errors import UsageError


def push(
    result: Annotated[Path, typer.Argument(metavar="RESULT", help="A result: a file in cells/.")],
    repository: Annotated[str, typer.Argument(metavar="REPO", help="Model on the Hub: owner/name.")],
    *,
    private: Private = False,
    dry_run: SendNothing = False,
) -> None:
    """Publish a cell's adapter on the Hugging Face Hub.

    The cell's result, a model card and the adapter of its training stage are published with it, in one commit. The grid
    must have been run with --save-adapters. Log in with `hf auth login` or set HF_TOKEN.

    Example: dual-data eval push artifacts/evaluation/demo/cells/0a1b.json owner/unlearned --private
    """
    from huggingface_hub import get_token

    from dual_data.evaluation.publish import adapter_files
    from dual_data.hub_reading import is_repository
    from dual_data.release.model_hub import push_model
    from dual_data.release.repository import LOGGED_OUT, size_of
    from dual_data.release.secrets import expect_no_secret

    if not is_repository(repository):
        raise UsageError(f"{repository}: is not the name of a Hub model (owner/name)")
    files = adapter_files(result)
    texts = {
        path: data.decode() if isinstance(data, bytes) else data.read_text(encoding="utf-8")
        for path, data in files.items()
        if isinstance(data, bytes) or path.endswith(".json")
    }
    expect_no_secret(
        texts, "Take it out of the grid file (keys belong in environment variables) and run the cell again."
    )
    size = size_of(files)
    if dry_run:
        if not get_token():
            say(f"a push will be refused: {LOGGED_OUT}")
        print(f"would write {len(files)} files, {size / 1e6:.1f} MB, to {repository}")
        return
    say(f"uploading {len(files)} files, {size / 1e6:.1f} MB")
    commit = push_model(repository, files, message=f"Add the unlearned adapter {result.stem}", private=private)
    print(f"{repository}\ncommit {commit}")
