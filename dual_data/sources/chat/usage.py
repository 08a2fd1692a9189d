"""Tokens and money: what a model's answers cost, and a limit that stops in time.

A ledger counts the answers that a table rests on, whether they come from the log or are fetched now, so that a build
in several runs keeps one budget. Before each call its estimated cost is set aside, so that concurrent calls overshoot
the limit by no more than the error of the estimate; a call that fits only if others are cheaper waits for them.
"""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import polars as pl
from pydantic import Field

from dual_data.calls.fetching import NAP
from dual_data.config import Strict
from dual_data.errors import BudgetSpent

CHARACTERS_PER_TOKEN = 4
"""Rule of thumb for English text, for plans and reserves only; real counts come from the server."""
TOKENS_PER_MESSAGE = 4
"""What a chat template adds around a message, roughly."""


class Price(Strict):
    """What a model costs, by a price list."""

    date: datetime.date
    """Day of the price list."""
    input: float = Field(ge=0)
    """Price of a million prompt tokens."""
    output: float = Field(ge=0)
    """Price of a million answer tokens, reasoning included."""
    cached_input: float | None = Field(default=None, ge=0)
    """Price of a million prompt tokens that the server had in its cache; that of `input` if left out."""
    currency: str = "USD"
    """Of the prices, such as EUR."""


class Budget(Strict):
    """The most that answers may cost, those in the call log included; where it is spent, the build stops."""

    tokens: int | None = Field(default=None, ge=0)
    """Most tokens of prompts and answers together; no limit if left out."""
    money: float | None = Field(default=None, ge=0)
    """Most money, in the currency of the price; needs a price. No limit if left out."""


class Usage(NamedTuple):
    """Tokens of answers."""

    answers: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """The prompt tokens that the server had in its cache."""
    completion_tokens: int = 0
    estimated: int = 0
    """The answers whose tokens the server did not report: counted as `estimate` says, as the longest answer."""

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def plus(self, other: Usage) -> Usage:
        return Usage(*(a + b for a, b in zip(self, other, strict=True)))

    def minus(self, other: Usage) -> Usage:
        return Usage(*(a - b for a, b in zip(self, other, strict=True)))

    def times(self, answers: int) -> Usage:
        return Usage(*(answers * number for number in self))

    def to_log(self) -> dict[str, int]:
        """What `usage_of` reads."""
        return {
            "answers": self.answers,
            "prompt": self.prompt_tokens,
            "cached": self.cached_tokens,
            "completion": self.completion_tokens,
            "estimated": self.estimated,
        }

    def cost(self, price: Price) -> float:
        """In the price's currency."""
        cached = price.input if price.cached_input is None else price.cached_input
        fresh = self.prompt_tokens - self.cached_tokens
        return (fresh * price.input + self.cached_tokens * cached + self.completion_tokens * price.output) / 1e6


def usage_of(answer: Mapping[str, Any]) -> Usage:
    """The usage of one answer of the log; nothing for a conversation that the server declined."""
    if "declined" in answer:
        return Usage()
    counts = answer.get("usage") or {}
    prompt, cached, completion, estimated = (
        int(counts.get(name) or 0) for name in ("prompt", "cached", "completion", "estimated")
    )
    return Usage(int(counts.get("answers", 1)), prompt, min(prompt, cached), completion, estimated)


def estimate(messages: Sequence[Mapping[str, str]], new_tokens: int) -> Usage:
    """Usage of one answer to `messages` before it is asked: characters / 4, and the longest answer."""
    characters = sum(len(message["content"]) for message in messages)
    prompt = -(-characters // CHARACTERS_PER_TOKEN) + TOKENS_PER_MESSAGE * (len(messages) + 1)
    return Usage(1, prompt, 0, new_tokens)


class Ledger:
    """Counts usage against a budget; safe to use from several threads."""

    def __init__(self, key: str, price: Price | None = None, budget: Budget | None = None) -> None:
        """`key` is where the budget stands in the profile."""
        self._key, self._price, self._budget = key, price, budget or Budget()
        self._lock = threading.Condition()
        self._spent = Usage()
        self._reserved = Usage()

    @property
    def spent(self) -> Usage:
        """All that was counted so far."""
        with self._lock:
            return self._spent

    def count(self, usage: Usage) -> None:
        """Add the usage of an answer that exists already."""
        with self._lock:
            self._spent = self._spent.plus(usage)

    def foresee(self, usage: Usage) -> list[str]:
        """Parts of a plan's note on answers still to be asked: their price, and the share that the budget covers where
        that is not all. They count as spent from then on."""
        price, budget, spent = self._price, self._budget, self.spent
        self.count(usage)
        if not usage.answers:
            return []
        notes = []
        limits: list[tuple[str, float, float]] = []
        if budget.tokens is not None:
            limits.append((f"tokens = {budget.tokens:,}", budget.tokens - spent.tokens, usage.tokens))
        if price is not None:
            cost = usage.cost(price)
            notes.append(f"about {cost:,.2f} {price.currency} by the price of {price.date}")
            if budget.money is not None:
                limits.append((f"money = {budget.money:g}", budget.money - spent.cost(price), cost))
        for limit, left, wanted in limits:
            if left < wanted:
                notes.append(f"{self._key}.{limit} covers about {max(0, int(100 * left / wanted))} % of this")
        return notes

    @contextmanager
    def spending(self, expected: Usage, ended: threading.Event | None = None) -> Iterator[Callable[[Usage], None]]:
        """Set `expected` aside during one call; the context's value is called with the real usage.

        Where the budget covers it only if other calls turn out cheaper than expected, waits for one of these to end.
        Raises BudgetSpent where the budget does not cover it, or `ended` is set meanwhile.
        """
        with self._lock:
            while not self._covers(self._spent.plus(self._reserved).plus(expected)):
                if not self._reserved.answers or not self._covers(self._spent.plus(expected)):
                    raise BudgetSpent(self._refusal(expected))
                self._lock.wait(NAP)
                if ended is not None and ended.is_set():
                    raise BudgetSpent(self._refusal(expected))
            self._reserved = self._reserved.plus(expected)
        try:
            yield self.count
        finally:
            with self._lock:
                self._reserved = self._reserved.minus(expected)
                self._lock.notify_all()

    def _covers(self, total: Usage) -> bool:
        budget, price = self._budget, self._price
        if budget.tokens is not None and total.tokens > budget.tokens:
            return False
        return budget.money is None or price is None or total.cost(price) <= budget.money

    def _refusal(self, expected: Usage) -> str:
        budget, price, spent = self._budget, self._price, self._spent
        over_tokens = budget.money is None or (
            budget.tokens is not None and spent.plus(expected).tokens > budget.tokens
        )

        def shown(usage: Usage) -> str:
            if over_tokens or price is None:
                return f"{usage.tokens:,} tokens"
            return f"{usage.cost(price):.4f} {price.currency}"

        limit = f"tokens = {budget.tokens:,}" if over_tokens else f"money = {budget.money:g}"
        answers = f"{spent.answers:,} answers"
        if spent.estimated:
            answers += f", {spent.estimated:,} of them estimated, because the server did not report their tokens"
        return (
            f"{self._key}.{limit} does not cover another answer, which may take {shown(expected)}: {shown(spent)} are "
            f"used in {answers}. All of them are in the call log. Raise {self._key} in the profile and run the same "
            "command again to go on from there."
        )

    def table(self, model: str) -> pl.DataFrame:
        """One row: model, answers, tokens, and the cost where a price is known."""
        spent, price = self.spent, self._price
        row = {
            "model": model,
            **spent._asdict(),
            "cost": spent.cost(price) if price else None,
            "currency": price.currency if price else None,
            "price_date": price.date if price else None,
        }
        return pl.DataFrame([row], schema_overrides={"cost": pl.Float64, "currency": pl.String, "price_date": pl.Date})
