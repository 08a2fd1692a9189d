"""What a model is asked, and what it answered."""

from __future__ import annotations

from typing import NamedTuple

from dual_data.evaluation.rows.encoding import Encoded


class Answer(NamedTuple):
    """Tokens to score after a prompt: those of the answer, then those that end the turn."""

    ids: tuple[int, ...]
    answer_tokens: int


class Request(NamedTuple):
    """One prompt and what is asked of it."""

    prompt: tuple[int, ...]
    """At least one token."""
    answers: tuple[Answer, ...] = ()
    """Scored separately; the first is the gold answer, which is compared with the reference."""
    generate: bool = True
    group: str = ""
    """Prompts of one group share a prefix, which is computed once; batches do not mix groups. Each attack is a group,
    since its prompts share more than those of all attacks do."""

    def tokens(self, max_new_tokens: int) -> int:
        """Most tokens that it can take: the prompt with its longest answer or with the longest generation."""
        longest = max((len(answer.ids) for answer in self.answers), default=0)
        return len(self.prompt) + max(longest, max_new_tokens if self.generate else 0)


class TokenScores(NamedTuple):
    """Figures of one answer from one forward pass, one per token: the answer's tokens, then those that end the turn."""

    answer_tokens: int
    """Number of tokens of the answer itself; at least one."""
    log_p: tuple[float, ...]
    """Natural log-probability of the gold token, in float32 from the logits."""
    rank: tuple[int, ...]
    """1 + the number of vocabulary entries with a strictly higher logit."""
    greedy: tuple[bool, ...]
    """Whether the gold token is the argmax."""
    mean: tuple[float, ...]
    """Mean of log p(v) over the vocabulary under p itself, which is minus the entropy in nats."""
    deviation: tuple[float, ...]
    """Standard deviation of log p(v) under p."""
    kl: tuple[float, ...] = ()
    """KL(reference || model) in nats over the whole vocabulary; empty without a reference."""
    cosine: float | None = None
    """Cosine between the reference's and the model's mean hidden state at the answer positions."""

    @property
    def answer_log_p(self) -> tuple[float, ...]:
        """Log-probabilities of the answer tokens alone."""
        return self.log_p[: self.answer_tokens]


class Outcome(NamedTuple):
    """What one model answered to one request."""

    scores: tuple[TokenScores, ...]
    generation: tuple[int, ...]
    """Greedy tokens without the stop token; empty where no generation was asked for."""
    ended: bool
    """Whether a stop token came before the limit."""


def answer_of(row: Encoded) -> Answer:
    """A row's own answer."""
    return Answer(row.answer_ids + row.end_ids, len(row.answer_ids))


def request_of(row: Encoded) -> Request:
    """The request that scores a row's own answer and generates one."""
    return Request(row.prompt_ids, (answer_of(row),))
