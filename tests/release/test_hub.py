"""Pushing with the real huggingface_hub client to a loopback Hub, and its state after every kind of failure."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.utils._http import http_backoff

import dual_data
from dual_data.engine.tables import content_hash
from dual_data.errors import DualDataError, InputError, Refused, ServiceError, UsageError
from dual_data.release.diff import compare, read_snapshot
from dual_data.release.hub import SENDING, Pushed, push, translated
from dual_data.release.verify import verify
from dual_data.released import Release, locate, quietly, read_release
from tests.faults.proxy import RESET, Fault, Request, error_500, proxy
from tests.services.hub import TOKEN, Answer, Hub, Repository

# The client passes files to its HTTP library in a deprecated way.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

NAME = "made-up/dual"
Released = tuple[Release, Path]


def publish(hub: Hub, released: Released, tag: str = "v1.0.0", **options: Any) -> Pushed:
    release, folder = released
    return push(release, folder, NAME, tag, endpoint=hub.public, token=TOKEN, **options)


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


def test_a_download_into_a_folder_is_what_was_released(online: Hub, released: Released, tmp_path: Path) -> None:
    publish(online, released)
    copy = tmp_path / "copy"
    huggingface_hub.snapshot_download(NAME, repo_type="dataset", local_dir=copy, endpoint=online.url)
    assert (copy / ".cache" / "huggingface").is_dir(), "the client leaves its notes there"
    assert verify(locate(copy))[1] == []


def test_tries_of_the_client_are_not_logged_beside_our_error(online: Hub, caplog: pytest.LogCaptureFixture) -> None:
    def try_twice() -> str:
        caplog.clear()
        with pytest.raises(Exception, match="refused"):
            http_backoff("HEAD", "http://127.0.0.1:9", max_retries=1, base_wait_time=0)
        return caplog.text

    assert "Retrying" in try_twice()
    with quietly():
        assert try_twice() == ""
    assert "Retrying" in try_twice(), "what others do with the client is theirs"


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


FOREIGN = {"data/precious.parquet": b"years of work", "images/fig.png": b"a figure"}


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
    pushed = publish(online, released, force=True, report=messages.append)
    assert set(pushed.removed) == set(FOREIGN)
    assert {f"removing {path}" for path in FOREIGN} <= set(messages)
    assert not FOREIGN.keys() & repository.head.keys()


def test_repository_that_holds_nothing_but_a_card_is_taken(online: Hub, released: Released) -> None:
    repository = online.repositories[NAME] = Repository(private=False)
    repository.commit("main", {".gitattributes": b"", "README.md": b"Soon."}, "announce")
    assert publish(online, released).tagged


def test_dry_run_sends_nothing(online: Hub, released: Released) -> None:
    pushed = publish(online, released, dry_run=True)
    assert online.state() == {}
    assert not pushed.tagged
    assert "matched/town_forget_rare_5.parquet" in pushed.written
    tables = [file.bytes for splits in released[0].configs.values() for file in splits.values()]
    assert sum(tables) < pushed.bytes < sum(tables) + 10**6
    assert all(method == "GET" for method, _ in online.requests)


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
    assert publish(online, released, "v1.0.1", dry_run=True, report=messages.append).removed == gone
    assert online.state() == before
    files = "LICENSE, eval/results.parquet, images/fig.png and 1 more"
    words = f"keeping files that no release wrote: {files}; verify will name"
    assert [line for line in messages if line.startswith(words)] == messages
    proposed = publish(online, released, "v1.0.1", create_pr=True)
    assert THEIRS.items() <= repository.commits[proposed.commit].items()
    messages.clear()
    assert publish(online, released, "v1.0.1", report=messages.append).removed == gone
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
    assert publish(online, released, "v1.0.1", report=messages.append).tagged
    assert not any("keeping" in line for line in messages)
    assert verify(locate(NAME, "v1.0.1", endpoint=online.url))[1] == []


def test_repeating_a_finished_push_changes_nothing(online: Hub, released: Released) -> None:
    first = publish(online, released)
    assert publish(online, released, "v1.1.0").commit != first.commit
    before = online.state()
    again = publish(online, released)
    assert again.tagged
    assert again.commit == first.commit
    assert online.state() == before


def test_tag_of_other_data_is_refused(online: Hub, released: Released) -> None:
    publish(online, released)
    online.repositories[NAME].head["manifest.json"] = b"{}"
    before = online.state()
    with pytest.raises(UsageError, match="stands for other data"):
        publish(online, released)
    assert online.state() == before


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


STEPS: dict[str, Callable[[str, str], bool]] = {
    "creating": lambda method, path: path == "/api/repos/create",
    "looking after creating": lambda method, path: method == "GET" and path.endswith(NAME),
    "checking the card": lambda method, path: path == "/api/validate-yaml",
    "asking how to upload": lambda method, path: "/preupload/" in path,
    "asking where to upload": lambda method, path: path.endswith("/objects/batch"),
    "uploading": lambda method, path: method == "PUT",
    "committing": lambda method, path: "/commit/" in path,
}


@pytest.mark.parametrize(
    ("step", "exists"),
    [(step, exists) for step in STEPS for exists in (False, True) if not (exists and "creating" in step)],
)
def test_failure_at_any_step_leaves_the_remote_as_it_was(
    online: Hub, released: Released, step: str, exists: bool
) -> None:
    if exists:
        publish(online, released, "v0.9.0")
        online.stored.clear()
        online.repositories[NAME].head["facts/train.parquet"] = b"older"
    before = online.state()
    seen: list[str] = []

    def refuse(method: str, path: str) -> Answer | None:
        seen.append(path)
        first_look = step.startswith("looking") and len(seen) == 1
        return Answer(403, {"error": f"no, {TOKEN}"}) if STEPS[step](method, path) and not first_look else None

    online.before = refuse
    # An existing repository is read before anything is sent.
    early = exists and step.startswith("looking")
    with pytest.raises(DualDataError, match="so nothing was sent" if early else "the upload failed") as caught:
        publish(online, released)
    assert online.state() == before
    assert TOKEN not in str(caught.value)
    assert "Signature" not in str(caught.value)
    online.before = lambda method, path: None
    assert publish(online, released).tagged, "it can be repeated"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_ways_to_stop_an_upload_leave_the_remote_as_it_was(online: Hub, released: Released, number: int) -> None:
    handlers = signal.getsignal(number), signal.signal(number, signal.SIG_DFL)
    try:
        for step in (STEPS["creating"], STEPS["checking the card"], STEPS["asking how to upload"]):

            def stop(method: str, path: str, step: Callable[[str, str], bool] = step) -> Answer | None:
                if step(method, path):
                    signal.pthread_kill(threading.main_thread().ident or 0, number)
                return None

            # The Hub still processes the interrupted request; only the answer is lost.
            online.before = stop
            with pytest.raises(KeyboardInterrupt):
                publish(online, released)
            online.before = lambda method, path: None
            assert online.state() == {}
            assert signal.getsignal(number) is signal.SIG_DFL, "the handler is put back"
        assert publish(online, released).tagged
    finally:
        signal.signal(number, handlers[0])


def test_handlers_of_the_program_around_it_stay(online: Hub, released: Released) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        assert publish(online, released, report=lambda line: os.kill(os.getpid(), signal.SIGTERM)).tagged
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("status", [409, 502])
def test_repository_that_somebody_else_made_meanwhile_stays(online: Hub, released: Released, status: int) -> None:
    def hurry(method: str, path: str) -> Answer | None:
        if path != "/api/repos/create":
            return None
        online.repositories[NAME] = Repository(private=False)
        online.repositories[NAME].commit("main", {".gitattributes": b"", **FOREIGN}, "somebody else")
        return Answer(status, {"error": "already there"})

    online.before = hurry
    with pytest.raises(ServiceError):
        publish(online, released)
    assert FOREIGN.keys() <= online.repositories[NAME].head.keys()


def test_a_repository_whose_creation_was_not_answered_is_taken_away(online: Hub, released: Released) -> None:
    online.after = lambda method, path: Answer(502, {"error": "bad gateway"}) if path == "/api/repos/create" else None
    with pytest.raises(ServiceError, match="502"):
        publish(online, released)
    assert online.state() == {}


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (401, Refused, r"the Hub refused it \(401\)"),
        (404, Refused, r"the Hub refused it \(404\)"),
        (409, ServiceError, r"somebody .* exists and the token may not read it \(409\); look at it, then push again\."),
        (412, ServiceError, r"somebody else changed it meanwhile, .* \(412\)"),
        (500, ServiceError, r"the Hub failed \(500\); push again later\."),
    ],
)
def test_what_the_hub_answers_says_what_to_do(
    online: Hub, released: Released, status: int, error: type[DualDataError], words: str
) -> None:
    online.before = lambda method, path: Answer(status, {"error": "no"}) if "/commit/" in path else None
    with pytest.raises(error, match=rf"^{NAME}: the upload failed: {words}"):
        publish(online, released)


def test_interrupted_upload_leaves_the_remote_as_it_was(online: Hub, released: Released) -> None:
    release, folder = released

    def stop(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        push(release, folder, NAME, "v1.0.0", endpoint=online.url, token=TOKEN, report=stop)
    assert online.state() == {}
    assert publish(online, released).tagged


def test_transient_faults_of_storage_and_network_are_survived(online: Hub, released: Released) -> None:
    with proxy(online.url) as between:
        online.public = between.url
        failed: set[str] = set()

        def once(request: Request) -> Fault | None:
            if request.method == "PUT" and "a" not in failed:
                failed.add("a")
                return error_500()
            if request.path.endswith("/objects/batch") and "b" not in failed:
                failed.add("b")
                return RESET
            return None

        between.when = once
        assert publish(online, released).tagged
        assert failed == {"a", "b"}
    assert online.repositories[NAME].titles == ["initial commit", "Release v1.0.0"]


def test_commit_whose_answer_was_lost_is_found_again(online: Hub, released: Released) -> None:
    online.after = lambda method, path: Answer(502, {"error": "bad gateway"}) if "/commit/" in path else None
    with pytest.raises(ServiceError, match="502"):
        publish(online, released)
    online.after = lambda method, path: None
    repository = online.repositories[NAME]
    assert len(repository.titles) == 2, "the commit arrived, so the repository is not taken away"
    assert repository.tags == {}
    assert publish(online, released).tagged
    assert len(repository.titles) == 2, "and is not made twice"


def test_tag_that_failed_is_set_by_the_next_push(online: Hub, released: Released) -> None:
    online.before = lambda method, path: Answer(500, {"error": "later"}) if "/tag/" in path else None
    with pytest.raises(ServiceError, match=r"commit \w+ is there, and its tag v1\.0\.0 could not be set: .*500"):
        publish(online, released)
    online.before = lambda method, path: None
    assert publish(online, released).tagged
    assert online.repositories[NAME].titles == ["initial commit", "Release v1.0.0"]


def test_change_by_somebody_else_meanwhile_is_not_overwritten(online: Hub, released: Released) -> None:
    publish(online, released)
    repository = online.repositories[NAME]

    def meddle(method: str, path: str) -> Answer | None:
        if "/preupload/" in path:
            repository.commit("main", {**repository.head, "note.md": b"hello"}, "somebody else")
        return None

    online.before = meddle
    with pytest.raises(ServiceError, match="somebody else"):
        publish(online, released, "v1.0.1")
    assert "note.md" in repository.head
    assert list(repository.tags) == ["v1.0.0"]


def test_the_tag_is_that_of_the_release_though_somebody_commits_before_it_is_set(
    online: Hub, released: Released
) -> None:
    def hurry(method: str, path: str) -> Answer | None:
        if "/tag/" in path:
            repository = online.repositories[NAME]
            repository.commit("main", {**repository.head, "note.md": b"hello"}, "somebody else")
        return None

    online.before = hurry
    pushed = publish(online, released)
    repository = online.repositories[NAME]
    assert repository.tags == {"v1.0.0": pushed.commit}
    assert "note.md" not in repository.commits[pushed.commit]
    assert "note.md" in repository.head


def test_wrong_token_is_refused_and_never_shown(online: Hub, released: Released) -> None:
    release, folder = released
    wrong = "hf_" + "w" * 34
    with pytest.raises(Refused) as caught:
        push(release, folder, NAME, "v1.0.0", endpoint=online.url, token=wrong)
    assert wrong not in str(caught.value)
    assert online.state() == {}


def test_an_error_of_the_network_shows_neither_token_nor_signature() -> None:
    with pytest.raises(ServiceError) as caught, translated(NAME, "letmein", SENDING):
        raise OSError("PUT https://storage.invalid/a?X-Sig=abc with letmein: timed out")
    assert str(caught.value) == (
        f"{NAME}: the upload failed (OSError); push again. PUT https://storage.invalid/a?*** with ***: timed out"
    )


def test_without_a_token_nothing_is_tried(online: Hub, released: Released) -> None:
    release, folder = released
    with pytest.raises(UsageError, match="no Hub token"):
        push(release, folder, NAME, "v1.0.0", endpoint=online.url)
    assert online.state() == {}


@pytest.mark.parametrize(
    ("change", "words", "forced"),
    [
        ({"limit": 200}, r"limited build \(--limit 200\)\. Build again without --limit$", True),
        ({"dirty": True}, r"uncommitted changes.*\. Commit the project, move the stages' folders out", True),
        (
            {"commit": None},
            r"git named no commit .*\. Put the project under git \(.*`git status`.*\), commit it, move",
            True,
        ),
        ({"snapshot": True}, r"snapshot inside the package.*\. Build .* with a profile whose \S+ is an endpoint", True),
        ({"unresolved": 3}, "3 facts are unresolved.* Resolve them and build again$", False),
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


@pytest.mark.parametrize(
    ("dry_run", "words"),
    [
        (True, r"could not be read from the Hub \(.*; try again\."),
        (False, r"could not be read from the Hub, so nothing was sent \(.*; push again\."),
    ],
)
def test_a_hub_that_does_not_answer_is_told_once(online: Hub, released: Released, dry_run: bool, words: str) -> None:
    release, folder = released
    with pytest.raises(ServiceError, match=words) as caught:
        push(release, folder, NAME, "v1.0.0", endpoint="http://127.0.0.1:9", token=TOKEN, dry_run=dry_run)
    assert str(caught.value).count("refused") == 1


@pytest.mark.parametrize("tag", ["", "v 1", "v1:0", "v1^", " v1", "1.0.0", "latest"])
def test_what_is_no_tag_is_refused(online: Hub, released: Released, tag: str) -> None:
    with pytest.raises(UsageError, match="is not a version tag"):
        publish(online, released, tag)
    assert online.requests == []


def test_hub_and_folder_differ_in_nothing(online: Hub, released: Released) -> None:
    publish(online, released)
    place = locate(NAME, "v1.0.0", endpoint=online.url)
    assert read_release(place).configs == released[0].configs
    online.requests.clear()
    difference = compare(read_snapshot(str(released[1])), read_snapshot(f"{NAME}@v1.0.0", endpoint=online.url))
    read = {path.rpartition("/resolve/v1.0.0/")[2] for _, path in online.requests}
    assert {path for path in read if path.endswith(".parquet")} == {
        f"{table}/train.parquet" for table in ("facts", "questions", "splits")
    }
    assert not difference.added.height
    assert not difference.changed.height
    assert (difference.splits["kept"] == difference.splits["before"]).all()


def test_changed_file_on_the_hub_is_found(online: Hub, released: Released) -> None:
    publish(online, released)
    head = online.repositories[NAME].head
    head["links/train.parquet"] = head["facts/train.parquet"]
    head["extra.txt"] = b"not ours"
    del head["croissant.json"]
    _, findings = verify(locate(NAME, "main", endpoint=online.url))
    assert any(line.startswith("links/train.parquet: its rows") for line in findings)
    assert "extra.txt: is not in manifest.json" in findings
    assert "croissant.json: is missing" in findings


@pytest.mark.parametrize(("method", "status"), [("HEAD", 503), ("GET", 429), ("GET", 520)])
def test_a_hub_that_fails_midway_is_no_finding(online: Hub, released: Released, method: str, status: int) -> None:
    publish(online, released)
    place = locate(NAME, "v1.0.0", endpoint=online.url)
    online.before = lambda request_method, path: (
        Answer(status, {"error": "later"}, (("Retry-After", "0"),))
        if request_method == method and path.endswith("/links/train.parquet")
        else None
    )
    with pytest.raises(
        ServiceError, match=rf"{NAME}@v1\.0\.0: no such folder, and the Hub failed \({status}\); try again later"
    ):
        verify(place)
    online.before = lambda method, path: None
    assert verify(place)[1] == []


@pytest.mark.parametrize("status", [401, 403])
def test_a_hub_that_refuses_midway_is_no_finding(online: Hub, released: Released, status: int) -> None:
    publish(online, released)
    online.before = lambda method, path: (
        Answer(status, {"error": "no"}) if path.endswith("/links/train.parquet") else None
    )
    with pytest.raises(InputError, match=rf"refused it \({status}\)\. Check name and revision"):
        verify(locate(NAME, "v1.0.0", endpoint=online.url))


def test_unknown_dataset_and_revision_are_user_errors(online: Hub, released: Released) -> None:
    with pytest.raises(DualDataError, match="refused it"):
        read_release(locate("made-up/nothing", endpoint=online.url))
    publish(online, released)
    with pytest.raises(DualDataError, match="refused it"):
        read_release(locate(NAME, "v9", endpoint=online.url))


def test_a_dataset_that_is_nowhere_is_asked_for_once(online: Hub) -> None:
    online.before = lambda method, path: Answer(503, {"error": "later"})
    with pytest.raises(ServiceError, match=r"failed \(503\); try again later"):
        read_release(locate("made-up/nothing", endpoint=online.url))
    assert len(online.requests) == 1


def test_what_is_in_the_cache_is_read_without_the_hub(online: Hub, released: Released) -> None:
    publish(online, released)
    place = locate(NAME, "v1.0.0", endpoint=online.url)
    before = read_release(place)
    online.requests.clear()
    online.before = lambda method, path: None if method == "HEAD" else Answer(404, {"error": "gone"})
    assert read_release(place) == before
    assert all(path.endswith("/manifest.json") for _, path in online.requests)
