"""Pushing to a loopback Hub that fails, refuses or is changed meanwhile: the state of the remote, and the message."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import pytest

from dual_data.errors import DualDataError, Refused, ServiceError
from dual_data.release.hub import SENDING, push, translated
from tests.faults.proxy import RESET, Fault, Request, error_500, proxy
from tests.release.made import Released
from tests.release.pushing import FOREIGN, NAME, PUSHES, publish
from tests.services.hub import TOKEN, Answer, Hub, Repository

pytestmark = PUSHES


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
        assert publish(online, released, say=lambda line: os.kill(os.getpid(), signal.SIGTERM)).tagged
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(("status", "files"), [(409, FOREIGN), (409, {}), (502, FOREIGN)])
def test_repository_that_somebody_else_made_meanwhile_stays(
    online: Hub, released: Released, status: int, files: dict[str, bytes]
) -> None:
    def hurry(method: str, path: str) -> Answer | None:
        if path != "/api/repos/create":
            return None
        online.repositories[NAME] = Repository(private=False)
        online.repositories[NAME].commit("main", {".gitattributes": b"", **files}, "somebody else")
        return Answer(status, {"error": "already there"})

    online.before = hurry
    with pytest.raises(ServiceError):
        publish(online, released)
    assert files.keys() <= online.repositories[NAME].head.keys()


@pytest.mark.parametrize("status", [500, 502])
def test_a_repository_whose_creation_was_not_answered_is_taken_away(
    online: Hub, released: Released, status: int
) -> None:
    online.after = lambda method, path: Answer(status, {"error": "later"}) if path == "/api/repos/create" else None
    with pytest.raises(ServiceError, match=str(status)):
        publish(online, released)
    assert online.state() == {}


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (401, Refused, r"the Hub refused it \(401\)"),
        (403, Refused, r"the Hub refused it \(403\)"),
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
        push(release, folder, NAME, "v1.0.0", endpoint=online.url, token=TOKEN, say=stop)
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


@pytest.mark.parametrize("wrong", ["hf_" + "w" * 34, "let-me-in"])
def test_wrong_token_is_refused_and_never_shown(online: Hub, released: Released, wrong: str) -> None:
    release, folder = released
    with pytest.raises(Refused) as caught:
        push(release, folder, NAME, "v1.0.0", endpoint=online.url, token=wrong)
    assert wrong not in str(caught.value)
    assert online.state() == {}


def test_an_error_that_the_client_wraps_says_what_it_was() -> None:
    words = r"\(OSError\); push again\. not found and no answer: connection refused$"
    with pytest.raises(ServiceError, match=words), translated(NAME, None, SENDING):
        raise OSError("not found and no answer:") from OSError("connection refused")


def test_an_error_of_the_network_shows_neither_token_nor_signature() -> None:
    with pytest.raises(ServiceError) as caught, translated(NAME, "letmein", SENDING):
        raise OSError("PUT https://storage.invalid/a?X-Sig=abc with letmein: timed out")
    assert str(caught.value) == (
        f"{NAME}: the upload failed (OSError); push again. PUT https://storage.invalid/a?*** with ***: timed out"
    )


@pytest.mark.parametrize(
    ("dry_run", "words"),
    [
        (True, r"the release is ready, but its repository could not be read from the Hub \(.*; try again\."),
        (False, r"could not be read from the Hub, so nothing was sent \(.*; push again\."),
    ],
)
def test_a_hub_that_does_not_answer_is_told_once(online: Hub, released: Released, dry_run: bool, words: str) -> None:
    release, folder = released
    with pytest.raises(ServiceError, match=words) as caught:
        push(release, folder, NAME, "v1.0.0", endpoint="http://127.0.0.1:9", token=TOKEN, dry_run=dry_run)
    assert str(caught.value).count("refused") == 1
