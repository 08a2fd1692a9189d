"""Chat models behind an OpenAI-compatible server: OpenAI, vLLM, llama.cpp and their like.

One client per server; its own retries are off, because pacing and retrying live in the call log. Nothing that a server
claims is trusted: bodies are checked in `completions`, what it supports in `features`, and constraints on an answer by
the code that asked for them.
"""

from __future__ import annotations

import functools
import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from dual_data.calls.fetching import Calls, Forecast
from dual_data.config import LONGEST_TIMEOUT, Strict, Url
from dual_data.errors import Refused, TooLarge, UsageError
from dual_data.sources.chat.openai.completions import Answer, cut_off, reduce
from dual_data.sources.chat.usage import Ledger, Price, Usage, estimate, usage_of

if TYPE_CHECKING:
    from dual_data.sources.chat.openai.connection import Connection

Body = Mapping[str, Any]

_OWN_FIELDS = (
    *("model", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "seed", "n", "stream"),
    *("logprobs", "top_logprobs", "return_tokens_as_token_ids", "response_format"),
    *("prompt_logprobs", "add_generation_prompt", "continue_final_message"),
)
"""Fields of a request that this package sets, or that would change the form of an answer."""


class Rejected(Refused):
    """The server understood the request and does not accept its form: a parameter that it does not know."""


class Declined(Refused):
    """The server will not answer this one conversation: a content filter."""


class CutOff(Rejected):
    """The limit was spent on reasoning: others answer that with status 200, without a text."""


class Endpoint(Strict):
    """An OpenAI-compatible server and one of its models."""

    base_url: Url
    """Root of its API, such as https://api.openai.com/v1 or http://127.0.0.1:8000/v1."""
    model: str = Field(min_length=1)
    """Its name at the server."""
    api_key_env: str = Field(default="", exclude=True)
    """Environment variable that holds the key; empty where the server wants none. The key itself is never stored."""
    timeout: float = Field(default=60.0, gt=0, le=LONGEST_TIMEOUT, exclude=True)
    """Seconds for one whole answer."""
    reasoning_tokens: int = Field(default=2048, ge=0)
    """Most tokens of reasoning, granted beside those of the answer to a model that reasons first."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Further fields of every request, such as { reasoning_effort = "none" } of OpenAI or, of vLLM,
    { chat_template_kwargs = { enable_thinking = false } }. They are logged and released, so no key belongs here."""
    price: Price | None = None
    """Price list of the model: with it, plans and `show` tell the money too, and a budget can limit it."""

    @field_validator("extra_body")
    @classmethod
    def _can_be_sent(cls, fields: dict[str, Any]) -> dict[str, Any]:
        for name in fields:
            if name in _OWN_FIELDS:
                raise ValueError(f"{name} is set by this package; name only what it does not set")
        try:
            json.dumps(fields, allow_nan=False)
        except (TypeError, ValueError):
            raise ValueError("is sent as JSON, which has texts, finite numbers, true and false alone") from None
        return fields

    @field_validator("base_url", mode="before")
    @classmethod
    def _plain_url(cls, url: object) -> object:
        if not isinstance(url, str):
            return url
        if "?" in url or "#" in url:
            raise ValueError("must hold no query, since it is written to the call log; name the key in api_key_env")
        return url.rstrip("/")

    @property
    def label(self) -> str:
        """Server and model, for messages."""
        return f"{self.base_url} ({self.model})"

    def key(self, environ: Mapping[str, str] = os.environ) -> str:
        """The key; empty where the server wants none. Raises UsageError where it is not set, or can be no key."""
        name = self.api_key_env
        if not name:
            return ""
        key = environ.get(name, "").strip()
        if not key:
            raise UsageError(
                f"the environment variable {name} (api_key_env of {self.base_url}) is not set; "
                "export it with the key of that server"
            )
        if not key.isascii() or not key.isprintable():
            raise UsageError(
                f"the environment variable {name} holds no valid key: it has characters that no key can have"
            )
        return key


def expected_usage(body: Body) -> Usage:
    """Usage of one answer to `body` before it is asked, at the longest that its limit grants, reasoning included."""
    return estimate(body["messages"], int(body.get("max_tokens") or body.get("max_completion_tokens") or 0))


class ChatServer(AbstractContextManager["ChatServer"]):
    """One endpoint, asked through the call log as `source`, counted in `ledger`."""

    def __init__(
        self, endpoint: Endpoint, calls: Calls, source: str, ledger: Ledger, environ: Mapping[str, str] = os.environ
    ) -> None:
        self.endpoint, self.calls, self.source, self.ledger = endpoint, calls, source, ledger
        self._environ = environ
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._counted: set[str] = set()

    def request(self, body: Body, sample: int = 0) -> dict[str, Any]:
        """The request under which an answer stands in the log; no key in it.

        `sample` tells equal bodies apart, for servers that take no seed.
        """
        request = self._request(body=dict(body))
        return {**request, "sample": sample} if sample else request

    def ask(
        self, requests: Sequence[Mapping[str, Any]], advance: Callable[[int], None] = lambda _: None
    ) -> list[Answer]:
        """Answers of requests made by `request`, in their order. Raises BudgetSpent, Refused, ServiceError."""
        self._count_logged(requests)
        ended = threading.Event()
        answers: list[Answer] = self.calls.fetch_all(
            self.source, requests, functools.partial(self._do, ended), advance, ended
        )
        return answers

    def foresee(self, requests: Sequence[Mapping[str, Any]], note: str) -> Forecast:
        """For a plan: the calls of `ask(requests)`; what they cost is added to the note."""
        self._count_logged(requests)
        missing = self.calls.missing(self.source, requests)
        usage = functools.reduce(Usage.plus, (expected_usage(request["body"]) for request in missing), Usage())
        notes = "; ".join([note, *self.ledger.foresee(usage)])
        return Forecast(self.source, len(requests), len(requests) - len(missing), usage.tokens, notes)

    def probe(self, name: str, do: Callable[[], Answer]) -> Answer:
        """What `do` finds out about the server by `attempt`: kept in the log with the usage of its requests."""
        known = self.recall_probe(name)
        if known is None:
            before = self.ledger.spent
            known = do()
            known["usage"] = self.ledger.spent.minus(before).to_log()
            self.calls.note(self.source, self._request(probe=name), known)
        return known

    def attempt(self, body: Body, check: Callable[[Answer], None] = lambda _: None) -> Answer:
        """The answer to one request of a probe, a call in the log as any other. Raises what `send` and `check` raise;
        then nothing is logged, since a server that refuses may be set up otherwise by the next run."""
        request = self.request(body)
        self._count_logged([request])

        def do() -> Answer:
            answer = self.send(body)
            check(answer)
            return answer

        answer: Answer = self.calls.fetch(self.source, request, do)
        return answer

    def recall_probe(self, name: str) -> Answer | None:
        """The logged answer of a probe, or None; asks nobody. Its usage counts, in a plan too."""
        request = self._request(probe=name)
        self._count_logged([request])
        return self.calls.recall(self.source, request)

    def send(self, body: Body, ended: threading.Event | None = None) -> Answer:
        """Ask the server now, past the log, within the budget. Raises ServiceError in all its kinds, and BudgetSpent,
        also where `ended` is set before the budget is free."""
        expected = expected_usage(body)
        with self.ledger.spending(expected, ended) as count:
            try:
                answer = reduce(self._post({"model": self.endpoint.model, **self.endpoint.extra_body, **body}))
            except CutOff:
                answer = cut_off()
            if not any(answer["usage"].values()):
                # Unreported is not free: without an estimate a budget would stop nothing.
                counts = {"prompt": expected.prompt_tokens, "cached": 0, "completion": expected.completion_tokens}
                answer["usage"] = counts | {"estimated": 1}
            count(usage_of(answer))
        return answer

    def _request(self, **what: Any) -> dict[str, Any]:
        extra = {"extra_body": self.endpoint.extra_body} if self.endpoint.extra_body else {}
        return {"server": self.endpoint.base_url, "model": self.endpoint.model, **extra, **what}

    def _do(self, ended: threading.Event, request: Mapping[str, Any]) -> Answer:
        # A final refusal counts as an answer: the build goes on, and does not ask again.
        try:
            return self.send(request["body"], ended)
        except TooLarge:
            return {"declined": "prompt_too_large"}
        except Declined:
            return {"declined": "content_filter"}

    def _count_logged(self, requests: Sequence[Mapping[str, Any]]) -> None:
        for request in requests:
            key = json.dumps(request, sort_keys=True)
            if key not in self._counted:
                self._counted.add(key)
                if (answer := self.calls.recall(self.source, request)) is not None:
                    self.ledger.count(usage_of(answer))

    def _post(self, body: Mapping[str, Any]) -> dict[str, Any]:
        # The client's package takes a second to import; a replay needs neither it nor a key.
        from dual_data.sources.chat.openai.connection import Connection

        with self._lock:
            if self._connection is None:
                self._connection = Connection(self.endpoint, self._environ)
        return self._connection.post(body)

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def __exit__(self, *_: object) -> None:
        self.close()
