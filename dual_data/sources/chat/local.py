"""A chat model in this process, with the call log in front of it.

Every answer is a call, keyed by the model's identity (weights, dtype, packages), because rounding differs between
machines and versions. The identity behind a name is logged whenever the model is opened: from it a plan can tell what
is in the log without loading or downloading a model, and an offline build which answers are the newest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dual_data.calls.fetching import Calls, Forecast
from dual_data.calls.log import Request
from dual_data.errors import Offline
from dual_data.ids import canonical
from dual_data.sources.chat.protocol import Chat, ChatModel, Sampling
from dual_data.system.extras import versions

SOURCE = "local"
"""Source of the calls that log which model was opened; the source of answers is `local:<name>`."""


class LocalChat:
    """One local model; answers are asked in groups of `batch`. `model` is None where only plans are made."""

    def __init__(
        self, name: str, identity: Mapping[str, str], model: ChatModel | None, calls: Calls, batch: int = 32
    ) -> None:
        self.name, self._identity, self._calls, self._batch = name, dict(identity), calls, batch
        self._opened = model
        self.source = f"local:{name}"
        self.weights = self._identity.get("weights", "")

    @property
    def _model(self) -> ChatModel:
        if self._opened is None:
            raise RuntimeError(f"{self.name} was recalled for a plan and cannot answer")
        return self._opened

    def generate(
        self, chats: Sequence[Chat], sampling: Sampling, advance: Callable[[int], None] = lambda _: None
    ) -> list[list[str]]:
        """`sampling.samples` answers per conversation."""

        def do(group: Sequence[Request]) -> list[list[str]]:
            return self._model.generate([_chat(request) for request in group], sampling)

        return self._fetch(self._generate(chats, sampling), do, advance)

    def log_probabilities(
        self, chats: Sequence[Chat], answers: Sequence[str], advance: Callable[[int], None] = lambda _: None
    ) -> list[float | None]:
        """Sum of the log-probabilities (nats) of each answer's tokens; None where the model gives no number."""

        def do(group: Sequence[Request]) -> list[list[float | None]]:
            chats = [_chat(request) for request in group]
            sums = self._model.log_probabilities(chats, [str(request["answer"]) for request in group])
            return [[_finite(p)] for p in sums]

        # A list of one: an answer of the log must not be None.
        return [p if p is None else min(0.0, p) for (p,) in self._fetch(self._score(chats, answers), do, advance)]

    def label_log_probabilities(
        self, chats: Sequence[Chat], labels: Sequence[str], advance: Callable[[int], None] = lambda _: None
    ) -> list[list[float | None]]:
        """Log-probability of each label as the very next token, [conversation][label]."""

        def do(group: Sequence[Request]) -> list[list[float | None]]:
            rows = self._model.label_log_probabilities([_chat(request) for request in group], labels)
            return [[_finite(p) for p in row] for row in rows]

        return self._fetch(self._labels(chats, labels), do, advance)

    def plan(
        self, chats: Sequence[Chat], sampling: Sampling, canonical: Sequence[Chat], answers: Sequence[str]
    ) -> Forecast:
        """Calls of `generate(chats, sampling)`, and of `log_probabilities(canonical, answers)` if there are answers."""
        return self._planned(self._generate(chats, sampling) + (self._score(canonical, answers) if answers else []))

    def plan_labels(self, chats: Sequence[Chat], labels: Sequence[str]) -> Forecast:
        """Calls of `label_log_probabilities(chats, labels)`, as `plan` gives them."""
        return self._planned(self._labels(chats, labels))

    def _planned(self, requests: Sequence[Request]) -> Forecast:
        missing = self._calls.missing(self.source, requests)
        note = "in this process" if self._identity else "the model was not loaded yet"
        return Forecast(self.source, len(requests), len(requests) - len(missing), note=note)

    def _generate(self, chats: Sequence[Chat], sampling: Sampling) -> list[dict[str, Any]]:
        parameters = sampling._asdict()
        return [self._request("generate", chat, sampling=parameters) for chat in chats]

    def _score(self, chats: Sequence[Chat], answers: Sequence[str]) -> list[dict[str, Any]]:
        return [self._request("answer", chat, answer=answer) for chat, answer in zip(chats, answers, strict=True)]

    def _labels(self, chats: Sequence[Chat], labels: Sequence[str]) -> list[dict[str, Any]]:
        return [self._request("labels", chat, labels=list(labels)) for chat in chats]

    def _request(self, task: str, chat: Chat, **more: Any) -> dict[str, Any]:
        return {"task": task, "identity": self._identity, "system": chat.system, "user": chat.user, **more}

    def _fetch(
        self,
        requests: Sequence[Request],
        do: Callable[[Sequence[Request]], Sequence[Any]],
        advance: Callable[[int], None],
    ) -> list[Any]:
        return self._calls.fetch_batches(self.source, requests, do, size=self._batch, advance=advance)


def open_local(open_model: Callable[[str], ChatModel], spec: str, calls: Calls, batch: int) -> LocalChat:
    """The model that a profile names. Raises MissingExtra where no local model can be opened here.

    Offline it is the model as last opened, with whatever packages: its answers are in the log, and a miss is an error
    before the model would be asked. Raises Offline for one that never was: opening may download it.
    """
    if calls.offline:
        opened = calls.latest(SOURCE, {"task": "open", "model": spec})
        if opened is None:
            raise Offline(SOURCE, [canonical(_opening(spec))])
        return LocalChat(opened["name"], opened["identity"], None, calls, batch)
    model = open_model(spec)
    opened = {"name": model.name, "identity": dict(model.identity)}
    calls.note(SOURCE, _opening(spec) | {"weights": model.identity.get("weights", "")}, opened)
    return LocalChat(model.name, model.identity, model, calls, batch)


def recall_local(spec: str, name: str, calls: Calls, weights: str | None) -> LocalChat:
    """The model as last opened with the installed packages (and `weights`, if known), for plans only.

    Where it never was, it has the `name` that it will have, and nothing in the log.
    """
    opened = calls.latest(SOURCE, _opening(spec) | ({} if weights is None else {"weights": weights}))
    opened = opened or {"name": name, "identity": {}}
    return LocalChat(opened["name"], opened["identity"], None, calls)


def _opening(spec: str) -> dict[str, str]:
    packages = ("torch", "transformers")
    return {"task": "open", "model": spec} | dict.fromkeys(packages, "") | versions(packages)


def _chat(request: Request) -> Chat:
    return Chat(str(request["system"]), str(request["user"]))


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
