"""Pushes a release to the Hub: one commit with all files, then the tag.

The order keeps the remote unchanged for as long as anything can fail: everything is checked first; large files are
uploaded to storage, where no reader sees them; one commit, based on the state seen at the start, publishes them all;
the tag follows. A repository that was created for a failed push is deleted again. Files that no release wrote are
removed only if forced: next to an earlier release they stay, and a repository with such files alone is refused.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dual_data.errors import DualDataError, Refused, ServiceError, UsageError
from dual_data.release.listed import CARD, card_hash, listed_by
from dual_data.release.repository import (
    KEPT,
    LOGGED_OUT,
    additions,
    bars_on_terminals_only,
    expect_private,
    expect_token,
    new_repository,
    size_of,
)
from dual_data.release.secrets import redacted
from dual_data.release.tree import texts
from dual_data.released import MANIFEST, Release, State
from dual_data.system.files import file_hash
from dual_data.system.interrupts import stopped_as_by_hand
from dual_data.text.display import some_of

_TAG = re.compile(r"v\d[\w+-]*(\.[\w+-]+)*(?<!\.lock)")
"""A version that git takes for the name of a tag: a tag that it refused would leave the commit without one."""
_TRYING = ("the release is ready, but its repository could not be read from the Hub", "try again")
_PUSH = "push again"
LOOKING_FIRST = "could not be read from the Hub, so nothing was sent"
SENDING = "the upload failed"
_AGAIN = (
    "and build with --rerun, since what is up to date keeps the commit that it was built from; calls are replayed from "
    "calls.sqlite in its artifacts"
)
_REMEDIES = {
    "unresolved": "Resolve them and build again",
    "limit": "Build again without --limit",
    "snapshot": "Build and release with a profile whose services.sparql is an endpoint of Wikidata's data",
    "dirty": f"Commit the project {_AGAIN}",
    "commit": "Put the project under git (if it already is, `git status` there says what is wrong), commit it "
    + _AGAIN,
}
"""What to do about each doubt of a state."""


class Pushed(NamedTuple):
    """What a push did, or would do in a dry run."""

    commit: str = ""
    """Commit id; empty in a dry run."""
    pull_request: str = ""
    """Its address; empty if the commit went to main."""
    tagged: bool = False
    written: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    bytes: int = 0
    """Of what is written."""


def refusals(state: State) -> tuple[list[str], list[str]]:
    """Reasons why a build is never published, and reasons why only if forced, each with a remedy."""
    reasons = {field: f"{doubt} {_REMEDIES[field]}" for field, doubt in state.doubts().items()}
    never = [reasons.pop("unresolved")] if "unresolved" in reasons else []
    return never, list(reasons.values())


def push(
    release: Release,
    folder: Path,
    repository: str,
    tag: str,
    *,
    private: bool = False,
    create_pr: bool = False,
    dry_run: bool = False,
    force: bool = False,
    endpoint: str | None = None,
    token: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Pushed:
    """Publish the release in `folder`, which must be verified, as dataset `repository`, tagged `tag`.

    The published card and manifest name repository and version. With `create_pr` the commit is a pull request and no
    tag is set: merge it, then push again without `create_pr`, which adds only the tag. An interrupted push can be
    repeated: files that are on the Hub already are not sent again. Files that no release wrote stay next to an earlier
    release unless forced; `say` gets their names, and `verify` reports them. A card that was written or changed on
    the Hub is replaced, and reported.

    Raises UsageError for a build that must not be published, for a tag of other data, for a repository with files but
    no release, and for a public repository if a private one is requested; Refused if the Hub refuses, ServiceError if
    it does not answer.
    """
    _expect_publishable(release.state, tag, force)
    import huggingface_hub

    token = token or huggingface_hub.get_token()
    api = huggingface_hub.HfApi(endpoint=endpoint, token=token or False)
    target = _Target(api, repository, token, private, tag, release.content)
    stamped = release.model_copy(update={"repository": repository, "version": tag.removeprefix("v")})
    stamped, contents = texts(stamped, folder)
    files: dict[str, bytes | Path] = {path: text.encode() for path, text in contents.items()}
    files |= {file.path: folder / file.path for file in stamped.tables()}
    with stopped_as_by_hand():
        with translated(repository, token, *(_TRYING if dry_run else (LOOKING_FIRST, _PUSH))):
            remote = target.look()
            if remote.tagged:
                target.expect_same(contents[MANIFEST].encode())
                say(f"{tag} is there and stands for this data: nothing to send")
                return Pushed(commit=str(api.dataset_info(repository, revision=tag).sha), tagged=True)
            strangers = frozenset() if force else target.strangers(remote) - files.keys()
            if target.has_other_card(remote):
                say(f"replacing {CARD}, which somebody wrote or changed on the Hub; its history there keeps it")
        if strangers:
            kept = some_of(sorted(strangers))
            say(f"keeping files that no release wrote: {kept}; verify will name them, --force removes them")
        removed = remote.files - files.keys() - strangers - {*KEPT}
        plan = Pushed(written=tuple(sorted(files)), removed=tuple(sorted(removed)), bytes=size_of(files))
        if dry_run:
            if not token:
                say(f"a push will be refused: {LOGGED_OUT}")
            return plan
        info = target.send(files, plan, remote.head, create_pr=create_pr, say=say)
        if create_pr:
            return plan._replace(commit=info.oid, pull_request=info.pr_url or "")
        say(f"commit {info.oid}")
        target.set_tag(info.oid)
    return plan._replace(commit=info.oid, tagged=True)


class _Remote(NamedTuple):
    """The present state of the repository."""

    head: str
    """Commit of main; empty if there is no repository."""
    files: frozenset[str]
    tagged: bool


class _Target(NamedTuple):
    """The dataset on the Hub to which a release is pushed, and the version."""

    api: Any
    repository: str
    token: str | None
    private: bool
    tag: str
    content: str
    """Of the release."""

    def look(self) -> _Remote:
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            info = self.api.dataset_info(self.repository)
        except RepositoryNotFoundError:
            return _Remote("", frozenset(), tagged=False)
        if self.private:
            expect_private(self.repository, info)
        refs = self.api.list_repo_refs(self.repository, repo_type="dataset")
        files = frozenset(sibling.rfilename for sibling in info.siblings or ())
        return _Remote(info.sha, files, tagged=self.tag in {ref.name for ref in refs.tags})

    def expect_same(self, manifest: bytes) -> None:
        """Raise UsageError if the tag exists with another manifest, so with other data."""
        if self._manifest_at(self.tag) != manifest:
            raise UsageError(
                f"{self.repository}: the tag {self.tag} exists and stands for other data. A published version never "
                "changes: choose another tag."
            )

    def strangers(self, remote: _Remote) -> frozenset[str]:
        """Files that the earlier release did not write. Raises UsageError if there are files but no release."""
        files = remote.files - {*KEPT, CARD}
        if not files:
            return files
        listed = listed_by(self._manifest_at(remote.head))
        if listed is None:
            raise UsageError(
                f"{self.repository}: holds files that no release of dual-data wrote ({some_of(sorted(files))}), and a "
                "release would replace them. Choose another name, or add --force to remove them."
            )
        return files - listed

    def has_other_card(self, remote: _Remote) -> bool:
        """Whether main has a card, and not the one that its release wrote."""
        if CARD not in remote.files:
            return False
        card = self.api.hf_hub_download(self.repository, CARD, repo_type="dataset", revision=remote.head)
        return bool(card_hash(self._manifest_at(remote.head)) != file_hash(Path(card)))

    def send(
        self, files: Mapping[str, bytes | Path], plan: Pushed, head: str, *, create_pr: bool, say: Callable[[str], None]
    ) -> Any:
        """Make the commit on top of `head`; if that is empty, create the repository first."""
        from huggingface_hub import CommitOperationDelete

        expect_token(self.token)
        existing = contextlib.nullcontext(head)
        with (
            translated(self.repository, self.token, SENDING),
            existing if head else new_repository(self.api, self.repository, "dataset", private=self.private) as parent,
        ):
            for path in plan.removed:
                say(f"removing {path}")
            say(f"uploading {len(files)} files, {plan.bytes / 1e6:.1f} MB")
            with bars_on_terminals_only():
                return self.api.create_commit(
                    self.repository,
                    [*(CommitOperationDelete(path_in_repo=path) for path in plan.removed), *additions(files)],
                    commit_message=f"Release {self.tag}",
                    commit_description=f"Content {self.content}",
                    repo_type="dataset",
                    parent_commit=parent,
                    create_pr=create_pr,
                )

    def set_tag(self, commit: str) -> None:
        failed = f"commit {commit} is there, and its tag {self.tag} could not be set"
        with translated(self.repository, self.token, failed):
            self.api.create_tag(
                self.repository,
                tag=self.tag,
                revision=commit,
                repo_type="dataset",
                tag_message=f"Content {self.content}",
            )

    def _manifest_at(self, revision: str) -> bytes | None:
        from huggingface_hub.errors import EntryNotFoundError

        try:
            path = self.api.hf_hub_download(self.repository, MANIFEST, repo_type="dataset", revision=revision)
        except EntryNotFoundError:
            return None
        return Path(path).read_bytes()


def _expect_publishable(state: State, tag: str, force: bool) -> None:
    if not _TAG.fullmatch(tag):
        raise UsageError(f"{tag!r}: is not a version tag; use one such as v1.0.0")
    never, unless_forced = refusals(state)
    if never:
        raise UsageError("\n  ".join(["this build is never published:", *never]))
    if unless_forced and not force:
        raise UsageError("\n  ".join(["this build is not published without --force:", *unless_forced]))


@contextlib.contextmanager
def translated(repository: str, token: str | None, failed: str, again: str = _PUSH) -> Iterator[None]:
    """Translate errors of the Hub's client in a block into ours, without tokens and signed addresses.

    `failed` says what failed, `again` what to do next.
    """
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except DualDataError:
        raise
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        message = redacted(" ".join(str(error).split()), token)
        if status in (401, 403, 404):
            raise Refused(
                f"{repository}: {failed}: the Hub refused it ({status}). Check the name, and that the token may "
                f"write there. {message}"
            ) from None
        if status in (409, 412):
            raise ServiceError(
                f"{repository}: {failed}: somebody else changed it meanwhile, or it exists and the token may "
                f"not read it ({status}); look at it, then {again}. {message}"
            ) from None
        raise ServiceError(f"{repository}: {failed}: the Hub failed ({status}); {again} later. {message}") from None
    except Exception as error:  # the client passes on its HTTP library's errors, which differ between its versions
        # The client may wrap an error of its HTTP library with the same message.
        words = dict.fromkeys(str(exception) for exception in (error, error.__cause__) if exception is not None)
        message = redacted(" ".join(" ".join(words).split()), token)
        raise ServiceError(f"{repository}: {failed} ({type(error).__name__}); {again}. {message}") from None
