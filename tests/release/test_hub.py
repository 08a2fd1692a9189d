"""Pushing with the real huggingface_hub client to a loopback Hub: what is written, removed, kept, refused and read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub.utils
import polars as pl
import pytest

import dual_data
from dual_data.engine.tables import content_hash
from dual_data.errors import UsageError
from dual_data.release.hub import push
from dual_data.release.repository import bars_on_terminals_only
from dual_data.release.verify import verify
from dual_data.released import locate
from tests.release.made import Released
from tests.release.pushing import FOREIGN, NAME, PUSHES, publish
from tests.services.hub import TOKEN, Answer, Hub, Repository

pytestmark = PUSHES


def test_push_makes_one_commit_and_a_tag_that_can_be_loaded_and_verified(online: Hub, released: Released) -> None:
    pushed = publish(online, released)
    repository = online.repositories[NAME]
    assert repository.titles == ["initial commit", "Release v1.0.0"]
    assert repository.tags == {"v1.0.0": pushed.commit}
    assert not repository.private
    release, folder = released
    place = locate(f"{NAME}@v1.0.0", endpoint=online.url)
    manifest, findings = verify(place)
    assert findings == []
    assert (manifest.repository, manifest.version, manifest.content) == (NAME, "1.0.0", release.content)
    rows = dual_data.load("matched", "town_forget_rare_5", source=NAME, revision="v1.0.0", endpoint=online.url)
    assert content_hash(rows) == release.configs["matched"]["town_forget_rare_5"].content
    assert f'load_dataset("{NAME}", "matched"' in repository.head["README.md"].decode()
    assert repository.head["facts/train.parquet"] == (folder / "facts/train.parquet").read_bytes()


def test_what_was_pushed_can_be_loaded_with_datasets_alone(online: Hub, released: Released, tmp_path: Path) -> None:
    publish(online, released)
    program = (
        "import datasets, sys\n"
        f"rows = datasets.load_dataset({NAME!r}, 'matched', split='town_forget_rare_5', revision='v1.0.0')\n"
        f"default = datasets.load_dataset({NAME!r}, split='town_forget_rare_5')\n"
        "assert default['question'] == rows['question'] and 'dual_data' not in sys.modules\n"
        "rows.to_parquet(sys.argv[1])\n"
    )
    environment = {
        **os.environ,
        "HF_ENDPOINT": online.url,
        "HF_HUB_OFFLINE": "0",
        "HF_DATASETS_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(tmp_path / "home"),
    }
    target = tmp_path / "rows.parquet"
    subprocess.run([sys.executable, "-c", program, str(target)], env=environment, check=True)
    rows = pl.read_parquet(target)
    assert content_hash(rows) == released[0].configs["matched"]["town_forget_rare_5"].content


def test_private_repository_is_made_private(online: Hub, released: Released) -> None:
    publish(online, released, private=True)
    assert online.repositories[NAME].private


def test_public_repository_is_not_taken_for_a_private_one(online: Hub, released: Released) -> None:
    publish(online, released)
    before = online.state()
    for tag in ("v1.0.0", "v1.0.1"):
        with pytest.raises(UsageError, match="is public"):
            publish(online, released, tag, private=True)
    assert online.state() == before
    online.repositories[NAME].private = True
    assert publish(online, released, "v1.0.1", private=True).tagged


@pytest.mark.parametrize("manifest", [{}, {"manifest.json": b"{}"}, {"manifest.json": b"version: 3"}])
def test_files_that_no_release_wrote_are_removed_only_if_forced(
    online: Hub, released: Released, manifest: dict[str, bytes]
) -> None:
    repository = online.repositories[NAME] = Repository(private=False)
    repository.commit("main", {".gitattributes": b"", "README.md": b"Mine.", **FOREIGN, **manifest}, "years of work")
    before = online.state()
    cases: list[dict[str, Any]] = [{}, {"dry_run": True}, {"create_pr": True}]
    for options in cases:
        with pytest.raises(
            UsageError, match=r"no release of dual-data wrote \(data/precious\.parquet, images/fig\.png"
        ):
            publish(online, released, **options)
    assert online.state() == before
    messages: list[str] = []
    pushed = publish(online, released, force=True, say=messages.append)
    assert set(pushed.removed) == set(FOREIGN)
    assert {f"removing {path}" for path in FOREIGN} <= set(messages)
    assert messages[-1] == f"commit {pushed.commit}", "known even if the tag cannot be set"
    assert not FOREIGN.keys() & repository.head.keys()


def test_repository_that_holds_nothing_but_a_card_is_taken(online: Hub, released: Released) -> None:
    repository = online.repositories[NAME] = Repository(private=False)
    repository.commit("main", {".gitattributes": b"", "README.md": b"Soon."}, "announce")
    assert publish(online, released).tagged


def test_a_card_that_was_written_or_changed_on_the_hub_is_replaced_and_named(online: Hub, released: Released) -> None:
    repository = online.repositories[NAME] = Repository(private=False)
    repository.commit("main", {".gitattributes": b"", "README.md": b"Soon."}, "announce")
    named = "replacing README.md, which somebody wrote or changed on the Hub; its history there keeps it"
    messages = list[str]()
    publish(online, released, say=messages.append)
    assert messages[0] == named
    messages.clear()
    publish(online, released, "v1.0.1", say=messages.append)
    assert named not in messages
    card = repository.head["README.md"] + b"A note."
    repository.commit("main", {**repository.head, "README.md": card}, "add a note on the web")
    publish(online, released, "v1.0.2", dry_run=True, say=messages.append)
    assert messages[-1] == named


def test_dry_run_sends_nothing(online: Hub, released: Released) -> None:
    pushed = publish(online, released, dry_run=True)
    assert online.state() == {}
    assert not pushed.tagged
    assert "matched/town_forget_rare_5.parquet" in pushed.written
    tables = [file.bytes for file in released[0].tables()]
    assert sum(tables) < pushed.bytes < sum(tables) + 10**6
    assert all(method == "GET" for method, _ in online.requests)


def test_dry_run_without_a_token_says_what_a_push_will_lack(
    online: Hub, released: Released, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    messages: list[str] = []
    for token in (TOKEN, None):
        push(*released, NAME, "v1.0.0", endpoint=online.public, token=token, dry_run=True, say=messages.append)
    assert messages == [
        "a push will be refused: no Hub token: log in with `hf auth login`, or set HF_TOKEN to a token that may write "
        "to the repository"
    ]


def list_more(repository: Repository, files: dict[str, bytes], **changes: object) -> None:
    """Change the release at the head: more tables, a text `old.md`, and `changes` in its manifest."""
    manifest = json.loads(repository.head["manifest.json"])
    manifest["configs"]["old"] = {str(number): {"path": path} for number, path in enumerate(files)}
    manifest["files"]["old.md"] = "0" * 64
    manifest |= changes
    repository.head.update({**files, "old.md": b"old", "manifest.json": json.dumps(manifest).encode()})


def test_next_version_replaces_files_and_removes_those_that_are_gone(online: Hub, released: Released) -> None:
    first = publish(online, released)
    repository = online.repositories[NAME]
    list_more(repository, {"old/train.parquet": b"gone in the next version"})
    earlier_requests = len(online.requests)
    second = publish(online, released, "v1.0.1")
    assert second.removed == ("old.md", "old/train.parquet")
    assert not set(second.removed) & repository.head.keys()
    assert ".gitattributes" in repository.head
    assert repository.tags == {"v1.0.0": first.commit, "v1.0.1": second.commit}
    assert not any(method == "PUT" for method, _ in online.requests[earlier_requests:]), (
        "what the Hub has is not sent again"
    )


THEIRS = {"LICENSE": b"CC0", "eval/results.parquet": b"PAR1", "images/fig.png": b"a figure", "old/more.parquet": b"b"}


@pytest.mark.parametrize("changes", [{}, {"format": 99, "newer": [1]}, {"state": None}])
def test_files_that_others_put_beside_a_release_stay_unless_forced(
    online: Hub, released: Released, changes: dict[str, object]
) -> None:
    publish(online, released)
    repository = online.repositories[NAME]
    list_more(repository, {"old/train.parquet": b"gone in the next version"}, **changes)
    repository.commit("main", {**repository.head, **THEIRS}, "by a collaborator")
    before, messages = online.state(), list[str]()
    gone = ("old.md", "old/train.parquet")
    assert publish(online, released, "v1.0.1", dry_run=True, say=messages.append).removed == gone
    assert online.state() == before
    files = "LICENSE, eval/results.parquet, images/fig.png and 1 more"
    words = f"keeping files that no release wrote: {files}; verify will name"
    assert [line for line in messages if line.startswith(words)] == messages
    proposed = publish(online, released, "v1.0.1", create_pr=True)
    assert THEIRS.items() <= repository.commits[proposed.commit].items()
    messages.clear()
    assert publish(online, released, "v1.0.1", say=messages.append).removed == gone
    assert messages[0].startswith(words)
    assert THEIRS.items() <= repository.head.items()
    assert not set(gone) & repository.head.keys()
    _, findings = verify(locate(NAME, "v1.0.1", endpoint=online.url))
    assert findings == [f"{path}: is not in manifest.json" for path in THEIRS]
    rows = dual_data.load("facts", "train", source=NAME, revision="v1.0.1", endpoint=online.url)
    assert content_hash(rows) == released[0].configs["facts"]["train"].content
    assert publish(online, released, "v1.0.2", force=True).removed == tuple(THEIRS)
    assert verify(locate(NAME, "v1.0.2", endpoint=online.url))[1] == []


@pytest.mark.parametrize(
    "odd", [{"configs": [1], "files": ["LICENSE"]}, {"configs": {"a": 1, "b": {"c": {"path": []}}}}]
)
def test_what_an_odd_manifest_does_not_list_stays(online: Hub, released: Released, odd: dict[str, object]) -> None:
    repository = online.repositories[NAME] = Repository(private=False)
    manifest = json.dumps({"format": 99, "content": "", **odd}).encode()
    repository.commit("main", {".gitattributes": b"", "manifest.json": manifest, **THEIRS}, "another version")
    assert publish(online, released).removed == ()
    assert THEIRS.items() <= repository.head.items()


def test_a_table_takes_the_place_of_a_file_of_its_name(online: Hub, released: Released) -> None:
    publish(online, released)
    repository = online.repositories[NAME]
    manifest = json.loads(repository.head["manifest.json"])
    del manifest["configs"]["links"]
    mine = {"manifest.json": json.dumps(manifest).encode(), "links/train.parquet": b"by a collaborator"}
    repository.commit("main", {**repository.head, **mine}, "by a collaborator")
    messages: list[str] = []
    assert publish(online, released, "v1.0.1", say=messages.append).tagged
    assert not any("keeping" in line for line in messages)
    assert verify(locate(NAME, "v1.0.1", endpoint=online.url))[1] == []


def test_bars_are_shown_on_a_terminal_only_and_not_to_those_who_turned_them_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client: Any = huggingface_hub.utils
    client.enable_progress_bars()  # which a model loaded by an earlier test turned off for the process
    for is_terminal in (False, True):
        monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda shown=is_terminal: shown))
        with bars_on_terminals_only():
            assert client.are_progress_bars_disabled() is not is_terminal
        assert not client.are_progress_bars_disabled()
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: False))
    client.disable_progress_bars()
    try:
        with bars_on_terminals_only():
            pass
        assert client.are_progress_bars_disabled()
    finally:
        client.enable_progress_bars()


def test_repeating_a_finished_push_changes_nothing(online: Hub, released: Released) -> None:
    first = publish(online, released)
    assert publish(online, released, "v1.1.0").commit != first.commit
    before = online.state()
    messages: list[str] = []
    for dry_run in (False, True):
        again = publish(online, released, dry_run=dry_run, say=messages.append)
        assert again.tagged
        assert again.commit == first.commit
    assert messages == ["v1.0.0 is there and stands for this data: nothing to send"] * 2
    assert online.state() == before


def test_tag_of_other_data_is_refused(online: Hub, released: Released) -> None:
    publish(online, released)
    online.repositories[NAME].head["manifest.json"] = b"{}"
    before = online.state()
    for dry_run in (False, True):
        with pytest.raises(UsageError, match="stands for other data"):
            publish(online, released, dry_run=dry_run)
    assert online.state() == before


def test_pull_request_begins_at_the_commit_that_was_looked_at(online: Hub, released: Released) -> None:
    publish(online, released)
    repository = online.repositories[NAME]
    list_more(repository, {"old/train.parquet": b"gone in the next version"})
    looked_at = dict(repository.head)

    def meddle(method: str, path: str) -> Answer | None:
        if "/preupload/" in path:
            repository.commit("main", {**looked_at, "note.md": b"hello"}, "somebody else")
        return None

    online.before = meddle
    proposed = publish(online, released, "v1.0.1", create_pr=True)
    assert proposed.removed == ("old.md", "old/train.parquet")
    assert repository.commits[proposed.commit].keys() == looked_at.keys() - set(proposed.removed)


def test_pull_request_makes_a_repository_that_is_not_there(online: Hub, released: Released) -> None:
    proposed = publish(online, released, create_pr=True)
    repository = online.repositories[NAME]
    assert repository.head.keys() == {".gitattributes"}
    assert "manifest.json" in repository.commits[proposed.commit]
    assert repository.tags == {}


def test_pull_request_leaves_main_and_tags_alone(online: Hub, released: Released) -> None:
    publish(online, released)
    head = online.repositories[NAME].branches["main"]
    pushed = publish(online, released, "v1.1.0", create_pr=True)
    repository = online.repositories[NAME]
    assert pushed.pull_request.startswith(online.url)
    assert not pushed.tagged
    assert repository.branches["main"] == head
    assert list(repository.tags) == ["v1.0.0"]
    repository.branches["main"] = pushed.commit  # somebody merges it
    assert publish(online, released, "v1.1.0").tagged
    assert repository.tags["v1.1.0"] == pushed.commit


def test_without_a_token_nothing_is_tried_and_that_of_the_environment_will_do(
    online: Hub, released: Released, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, folder = released
    with pytest.raises(UsageError, match="no Hub token"):
        push(release, folder, NAME, "v1.0.0", endpoint=online.url)
    assert online.state() == {}
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert push(release, folder, NAME, "v1.0.0", endpoint=online.url).tagged


@pytest.mark.parametrize(
    ("change", "words", "forced"),
    [
        ({"limit": 200}, r"limited to 200 facts a stage.*\. Build again without --limit$", True),
        ({"dirty": True}, r"uncommitted changes.*\. Commit the project and build with --rerun, since", True),
        (
            {"commit": None},
            r"commit .* is not known\. Put the project under git \(.*`git status`.*\), commit it and build with "
            r"--rerun, .* keeps the commit that it was built from; calls are replayed from calls\.sqlite",
            True,
        ),
        ({"snapshot": True}, r"snapshot inside dual-data.*\. Build .* with a profile whose \S+ is an endpoint", True),
        ({"unresolved": 3}, r"ids of 3 facts were minted.*\. Resolve them and build again$", False),
    ],
)
def test_builds_that_are_not_to_be_published(
    online: Hub, released: Released, change: dict[str, object], words: str, forced: bool
) -> None:
    release, folder = released
    changed = release.model_copy(update={"state": release.state.model_copy(update=change)}), folder
    with pytest.raises(UsageError, match=words):
        publish(online, changed)
    if forced:
        assert publish(online, changed, force=True).tagged
    else:
        with pytest.raises(UsageError, match=words):
            publish(online, changed, force=True)
        assert online.requests == []


@pytest.mark.parametrize("tag", ["", "v 1", "v1:0", "v1^", " v1", "1.0.0", "latest", "v1.", "v1..0", "v1.lock"])
def test_what_is_no_tag_is_refused(online: Hub, released: Released, tag: str) -> None:
    with pytest.raises(UsageError, match="is not a version tag"):
        publish(online, released, tag)
    assert online.requests == []
