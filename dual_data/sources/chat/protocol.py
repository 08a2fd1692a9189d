"""Chat models, remote or local, as the stages see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol


class Chat(NamedTuple):
    """One conversation up to the model's turn."""

    system: str
    """Empty for none."""
    user: str


class Sampling(NamedTuple):
    """How answers are drawn; temperature 0 is greedy and gives one answer."""

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    samples: int = 1
    seed: int = 0


class ChatModel(Protocol):
    """A model in this process: it answers many conversations at once and shows its probabilities."""

    @property
    def name(self) -> str:
        """Short name, as it stands in the rows."""

    @property
    def identity(self) -> Mapping[str, str]:
        """What rounding depends on, for the keys of the call log: hash of the weights, dtype, package versions."""

    def generate(self, chats: Sequence[Chat], sampling: Sampling) -> list[list[str]]:
        """`sampling.samples` answers per conversation, special tokens removed.

        A conversation's samples depend on the seed and its text alone, never on what else is in the batch.
        """

    def log_probabilities(self, chats: Sequence[Chat], answers: Sequence[str]) -> list[float]:
        """Sum of the log-probabilities (nats) of each answer's tokens, end of turn excluded."""

    def label_log_probabilities(self, chats: Sequence[Chat], labels: Sequence[str]) -> list[list[float]]:
        """Log-probability of each label as the very next token, [conversation][label]; each label must be one token."""
