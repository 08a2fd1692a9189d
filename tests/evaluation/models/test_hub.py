"""Models of the Hub: downloaded and cached, loaded from the cache offline, and refused at once where neither works."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import huggingface_hub.constants
import pytest

from dual_data.errors import UsageError
from dual_data.evaluation.models import hub as reach
from dual_data.evaluation.models.loading import identify, load
from dual_data.evaluation.models.tiny import tiny
from tests.release.conftest import online
from tests.services.hub import Answer, Hub, Repository
from tests.services.process import free_port

__all__ = ["online"]

NAME = "someone/small"
AT_ONCE = 10.0
"""Seconds, on a busy machine. The client's retries alone are 23."""


def point_at(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Make `url` the Hub, even where transformers has already talked to another one."""
    monkeypatch.setattr("transformers.utils.hub._hf_api", None, raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)
    template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def served(online: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A server with one model, which the client uses as the Hub."""
    monkeypatch.setenv("DUAL_DATA_CACHE", str(tmp_path / "cache"))
    loaded = tiny("llama")
    loaded.model.save_pretrained(tmp_path / "model")
    loaded.tokenizer.save_pretrained(tmp_path / "model")
    repository = online.repositories[NAME] = Repository(private=False)
    files = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    repository.commit("main", files, "a model")
    point_at(monkeypatch, online.url)
    return online


def refused(name: str) -> str:
    """The error message of `identify` and `load`, which must be the same and come at once."""
    messages = set()
    for function in (identify, load):
        began = time.monotonic()
        with pytest.raises(UsageError) as caught:
            function(name)
        assert time.monotonic() - began < AT_ONCE
        messages.add(str(caught.value))
    (message,) = messages
    assert "\n" not in message
    return message


def test_a_model_of_the_hub_is_loaded_through_its_faults_and_again_without_it(
    served: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[str] = []

    def once(method: str, path: str) -> Answer | None:
        """Two files fail at the first request and, where that is retried, at the second."""
        if path.endswith(("/config.json", "/model.safetensors")) and failed.count(path) < 2:
            failed.append(path)
            return Answer(503, {"error": "later"})
        return None

    served.before = once
    loaded = load(NAME)
    assert sorted(path.rpartition("/")[2] for path in failed) == ["config.json"] * 2 + ["model.safetensors"] * 2
    assert loaded.info.weights == loaded.info.revision == served.repositories[NAME].branches["main"]

    first = loaded.info.revision
    second = served.repositories[NAME].commit("main", {**served.repositories[NAME].head, "note.md": b""}, "a note")
    assert identify(NAME).weights == second
    assert load(NAME, revision=first).info.revision == first

    began = time.monotonic()
    point_at(monkeypatch, f"http://127.0.0.1:{free_port()}")
    assert load(NAME, revision=first).info == loaded.info
    assert identify(NAME).weights == second
    assert time.monotonic() - began < AT_ONCE


def test_damaged_weights_of_the_hub_are_to_be_downloaded_again(served: Hub, tmp_path: Path) -> None:
    served.repositories[NAME].commit("main", {**served.repositories[NAME].head, "model.safetensors": b""}, "damaged")
    with pytest.raises(UsageError, match=rf"^{NAME}: not readable in the Hub's cache, {tmp_path / 'hub'}: .*Delete it"):
        load(NAME)


def test_what_neither_the_hub_nor_the_cache_has_is_refused_at_once(
    served: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    message = refused("someone/nothing")
    assert "the Hub provided: someone/nothing is not a local folder" in message
    assert "Correct the name or the revision; for a private or gated model log in (hf auth login)" in message
    for name in ("nope", NAME):
        point_at(monkeypatch, url := f"http://127.0.0.1:{free_port()}")
        message = refused(name)
        assert message.startswith(
            f"{name}: no folder or file here, not complete in the Hub's cache ({tmp_path / 'hub'}), and the Hub at "
            f"{url} cannot be reached: ConnectError: "
        )
        assert "Correct the name or the path, or connect" in message
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "cannot be reached: offline mode is on (HF_HUB_OFFLINE)" in refused("nope")


@pytest.mark.parametrize("name", ["a/b/c", "-name", NAME, "someone/nothing"])
def test_a_hub_that_answers_is_reachable_whatever_the_name_of_which_nothing_is_cached(served: Hub, name: str) -> None:
    assert (reach.why_unreachable(name), reach.cached_commit(name)) == ("", "")


def test_a_hub_that_takes_the_call_and_says_nothing_is_not_waited_for(
    served: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "PATIENCE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        point_at(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert "cannot be reached: ReadTimeout" in refused("nope")
