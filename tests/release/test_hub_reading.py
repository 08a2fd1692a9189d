"""Reading a pushed release from a loopback Hub: copies, comparison, verification, and a Hub that fails."""

from __future__ import annotations

import re
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.utils._http import http_backoff

import dual_data
from dual_data.errors import DualDataError, InputError, ServiceError
from dual_data.hub_reading import all_paths, ask_for, quietly
from dual_data.release.diff import compare, read_dataset
from dual_data.release.verify import verify
from dual_data.released import Place, locate, read_release
from tests.release.made import Released
from tests.release.pushing import NAME, PUSHES, publish
from tests.services.hub import Answer, Hub

pytestmark = PUSHES


@pytest.fixture
def place(online: Hub, released: Released) -> Place:
    """The release on the Hub, at its tag."""
    publish(online, released)
    return locate(NAME, "v1.0.0", endpoint=online.url)


def test_a_download_into_a_folder_is_what_was_released(place: Place, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    huggingface_hub.snapshot_download(NAME, repo_type="dataset", local_dir=copy, endpoint=place.endpoint)
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


def test_hub_and_folder_differ_in_nothing(online: Hub, released: Released, place: Place) -> None:
    assert read_release(place).configs == released[0].configs
    online.requests.clear()
    difference = compare(read_dataset(str(released[1])), read_dataset(f"{NAME}@v1.0.0", endpoint=online.url))
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


def test_a_damaged_download_is_named_and_is_downloaded_again_once_deleted(place: Place) -> None:
    copies = [place.file(path).resolve() for path in ("links/train.parquet", "README.md")]
    for copy in copies:
        copy.write_bytes(copy.read_bytes()[:-1])
    advice = [f"if its download was damaged, delete {copy} and try again" for copy in copies]
    with pytest.raises(InputError, match=re.escape(f"is not what was released; {advice[0]}")):
        dual_data.load("links", "train", source=NAME, revision="v1.0.0", endpoint=place.endpoint)
    findings = verify(place)[1]
    assert f"README.md: was changed; {advice[1]}" in findings
    assert f"links/train.parquet: its bytes were changed; {advice[0]}" in findings
    for copy in copies:
        copy.unlink()
    assert verify(place)[1] == []


def test_what_was_added_after_a_version_is_no_finding_in_it(online: Hub, place: Place) -> None:
    repository = online.repositories[NAME]
    repository.commit("main", {**repository.head, "extra.txt": b"not ours"}, "later")
    assert verify(place)[1] == []
    assert verify(locate(NAME, "main", endpoint=online.url))[1] == ["extra.txt: is not in manifest.json"]


@pytest.mark.parametrize(("method", "status"), [("HEAD", 503), ("GET", 429), ("GET", 520)])
def test_a_hub_that_fails_midway_is_no_finding(online: Hub, place: Place, method: str, status: int) -> None:
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
@pytest.mark.parametrize("what", ["/links/train.parquet", "/tree/v1.0.0"])
def test_a_hub_that_refuses_midway_is_no_finding(online: Hub, place: Place, status: int, what: str) -> None:
    online.before = lambda method, path: Answer(status, {"error": "no"}) if what in path else None
    with pytest.raises(InputError, match=rf"refused it \({status}\)\. Check name and revision"):
        verify(place)


def test_a_hub_that_cannot_be_reached_to_list_files_is_no_finding() -> None:
    message = (
        rf"^{NAME}@v1\.0\.0: could not be read from the Hub: the Hub could not be reached \(.*\); try again later$"
    )
    with pytest.raises(ServiceError, match=message):
        all_paths(NAME, "v1.0.0", endpoint="http://127.0.0.1:9")


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


def test_a_hub_that_is_gone_after_the_manifest_was_cached_is_asked_once_more(online: Hub, place: Place) -> None:
    assert verify(place)[1] == []
    ask_for.cache_clear()
    online.requests.clear()
    online.before = lambda method, path: Answer(503, {"error": "later"}) if method == "GET" else None
    with pytest.raises(
        ServiceError, match=rf"^{NAME}@v1\.0\.0: could not be read from the Hub: the Hub failed \(503\)"
    ):
        verify(place)
    assert [method for method, _ in online.requests].count("GET") == 1


def test_what_is_in_the_cache_is_read_without_the_hub(online: Hub, place: Place) -> None:
    before = read_release(place)
    online.requests.clear()
    online.before = lambda method, path: None if method == "HEAD" else Answer(404, {"error": "gone"})
    assert read_release(place) == before
    assert all(path.endswith("/manifest.json") for _, path in online.requests)
