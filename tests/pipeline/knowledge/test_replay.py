"""Answers that come from the call log."""

from __future__ import annotations

import importlib.metadata
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from dual_data.calls.fetching import Calls
from dual_data.config import Profile, Services, Strict
from dual_data.engine.manifest import Manifest
from dual_data.engine.plan import plan
from dual_data.engine.run import build
from dual_data.engine.stage import Stage, Tools
from dual_data.errors import Offline
from dual_data.project.loading import open_model
from dual_data.schema import Facts, Questions
from pipeline.knowledge import KNOWLEDGE, KnowledgeParams, forecast, run
from tests.clock import FakeClock
from tests.pipeline import capitals
from tests.pipeline.knowledge.probed import knows, probe, probed
from tests.services.fake_model import FakeModel
from tests.tools import no_embedding, no_model


def test_a_replay_of_the_published_rule_needs_no_embedding(tools: Tools) -> None:
    model = FakeModel(answer=knows)
    first = probe(tools, model, rules=("paper",))
    with Calls(tools.calls.log.path, offline=True) as log:
        assert probe(replace(tools, calls=log, open_embedding=no_embedding), model, rules=("paper",)) == first
        with pytest.raises(Offline, match="not in the call log"):
            probe(replace(tools, calls=log, open_embedding=no_embedding), model, rules=("matched",))


def test_a_replay_needs_neither_the_model_nor_the_packages_that_ran_it(
    tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = {"models": [{"name": "m", "local": "x"}]}
    first = probed(replace(tools, open_model=lambda _: FakeModel(answer=knows)), data)
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "another")
    with Calls(tools.calls.log.path, offline=True) as log:
        assert probed(replace(tools, calls=log, open_model=no_model), data).equals(first)
        with pytest.raises(Offline):
            probed(replace(tools, calls=log, open_model=no_model), {"models": [{"name": "m", "local": "y"}]})


def test_a_replay_is_of_the_weights_that_were_opened_last(tmp_path: Path) -> None:
    """The weights under one name are replaced, and then restored."""
    clock = FakeClock()
    folder = capitals.project(tmp_path)
    path = folder / "calls.sqlite"
    params = KnowledgeParams.model_validate({"models": [{"name": "m", "local": "x"}]})
    facts, questions = capitals.frames()
    right = FakeModel("x", answer=knows)
    wrong = FakeModel("x", answer=lambda *_: "no idea", weights="w2")
    for model, known, calls_made in ((right, True, 24), (wrong, False, 24), (right, True, 0)):
        with Calls(path, clock=clock) as log:
            tools = capitals.tools(folder, log, open_model=lambda _, model=model: model)  # type: ignore[misc]
            online = run(params, tools, facts=facts, questions=questions)
            assert log.counts()["local:x"].made == calls_made
        clock.sleep(60)
        assert set(online.rows["known"]) == {known}
        assert online.sources == {"weights of x": model.identity["weights"]}
        with Calls(path, offline=True) as log:
            tools = capitals.tools(folder, log)
            replayed = run(params, tools, facts=facts, questions=questions)
            assert replayed.rows.equals(online.rows)
            assert replayed.sources == online.sources
            (estimate,) = forecast(params, tools, facts=facts, questions=questions)
            assert estimate.in_log == estimate.calls


def test_new_weights_in_the_folder_are_seen_before_they_are_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="the evaluation extra is not installed")
    from dual_data.evaluation.models.tiny import tiny

    monkeypatch.setenv("DUAL_DATA_CACHE", str(tmp_path / "cache"))
    model = tmp_path / "model"

    def put(seed: int) -> None:
        loaded = tiny(seed=seed)
        loaded.model.save_pretrained(model)
        loaded.tokenizer.save_pretrained(model)

    root = capitals.project(tmp_path / "project")
    facts, questions = capitals.frames()
    stages = (
        Stage("facts", 1, lambda *_: facts, Facts, Strict),
        Stage("questions", 1, lambda *_: questions, Questions, Strict),
        KNOWLEDGE,
    )
    table = {"models": [{"name": "m", "local": str(model)}], "new_tokens": 4}
    profile = Profile(path=Path("pipeline/toy.toml"), name="toy", services=Services(), stages={"knowledge": table})

    def built(*, offline: bool = False) -> tuple[Manifest, int]:
        """The manifest, and the number of calls that were made to the model."""
        with Calls(root / "calls.sqlite", clock=clock, offline=offline) as log:
            manifest = build(stages, capitals.tools(root, log, open_model=open_model), profile)[-1].manifest
            assert manifest is not None
            counts = log.counts().get("local:model")
        clock.sleep(60)
        return manifest, counts.made if counts else 0

    def state() -> tuple[str, int]:
        """Why the stage runs, and how many of its answers are in the log."""
        with Calls(root / "calls.sqlite", read_only=True) as log:
            (estimate,) = forecast(
                KnowledgeParams.model_validate(table), capitals.tools(root, log), facts=facts, questions=questions
            )
        return plan(stages, root, profile, None)[-1].reason, estimate.in_log

    clock = FakeClock()
    put(0)
    first, calls_made = built()
    name = "weights of model"
    assert (calls_made, set(first.basis.sources), state()) == (24, {name}, ("", 24))
    assert str(tmp_path) not in first.model_dump_json(exclude={"build"}), "a manifest is published"

    put(1)
    assert state() == (f"{name} changed", 0)
    # Offline the answers come from the log, and the manifest does not attribute them to the new weights.
    assert built(offline=True)[0].basis == first.basis
    second, calls_made = built()
    assert (calls_made, state()) == (24, ("", 24))
    assert second.basis.sources != first.basis.sources

    put(0)
    assert state() == (f"{name} changed", 24)
    assert built()[0].outcome == first.outcome
    assert built()[1] == 0

    # On a machine without the weights the log is enough for the same fingerprint.
    shutil.rmtree(model)
    assert state() == ("", 24)
    shutil.rmtree(root / "artifacts")
    assert built(offline=True)[0].fingerprint == first.fingerprint
