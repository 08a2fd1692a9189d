"""A local chat model without weights: its answers are given, and the chats that it was asked are recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from dual_data.sources.chat.protocol import Chat, Sampling


class FakeModel:
    """Answers by functions of the user's message; deterministic, and blind to the batch."""

    def __init__(
        self,
        name: str = "fake",
        *,
        answer: Callable[[str, int], str] = lambda user, sample: "",
        log_probability: Callable[[str, str], float] = lambda user, answer: -1.0,
        labels: Callable[[str], Sequence[float]] = lambda user: [],
        weights: str = "w1",
    ) -> None:
        self._name, self._weights = name, weights
        self._answer, self._log_probability, self._labels = answer, log_probability, labels
        self.asked: list[tuple[Chat, ...]] = []

    @property
    def name(self) -> str:
        return self._name

    @property
    def identity(self) -> Mapping[str, str]:
        return {"weights": self._weights}

    def generate(self, chats: Sequence[Chat], sampling: Sampling) -> list[list[str]]:
        self.asked.append(tuple(chats))
        count = sampling.samples if sampling.temperature > 0 else 1
        return [[self._answer(chat.user, sample) for sample in range(count)] for chat in chats]

    def log_probabilities(self, chats: Sequence[Chat], answers: Sequence[str]) -> list[float]:
        self.asked.append(tuple(chats))
        return [self._log_probability(chat.user, answer) for chat, answer in zip(chats, answers, strict=True)]

    def label_log_probabilities(self, chats: Sequence[Chat], labels: Sequence[str]) -> list[list[float]]:
        self.asked.append(tuple(chats))
        return [list(self._labels(chat.user)) for chat in chats]
