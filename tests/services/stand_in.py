"""A stand-in for OpenAI-compatible servers: only for behaviour that llama-cpp-python does not have.

It shows that the client copes with what OpenAI, vLLM and transformers answer; it proves nothing about them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from tests.services.loopback import Handler, serving

Body = dict[str, Any]
Reply = Callable[[Body], "tuple[int, Body]"]


class StandIn(NamedTuple):
    """Address and record of a running stand-in."""

    base_url: str
    bodies: list[Body]
    """Every request, in order of arrival."""
    headers: list[Mapping[str, str]]
    """Their headers, names in lower case."""


def completion(
    text: str | None,
    tokens: list[tuple[str, dict[str, float]]] | None = None,
    *,
    usage: Mapping[str, Any] | None = None,
    **message: Any,
) -> tuple[int, Body]:
    """A chat completion; `tokens` are (token, {alternative: probability}) pairs."""
    logprobs = None
    if tokens is not None:
        logprobs = {"content": [_token(token, top) for token, top in tokens]}
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "logprobs": logprobs}
    counts = usage or {"prompt_tokens": 100, "completion_tokens": 2}
    return 200, {"id": "x", "model": "stand-in-1", "choices": [choice | {"finish_reason": "stop"}], "usage": counts}


def _token(token: str, top: Mapping[str, float]) -> Body:
    listed = [{"token": text, "logprob": math.log(p) if p > 0 else -9999.0} for text, p in top.items()]
    return {
        "token": token,
        "logprob": math.log(top[token]) if top.get(token, 0) > 0 else -9999.0,
        "top_logprobs": listed,
    }


def error(status: int, message: str, code: str | None = None) -> tuple[int, Body]:
    """An error in OpenAI's form."""
    return status, {"error": {"message": message, "type": "invalid_request_error", "code": code}}


@contextmanager
def stand_in(reply: Reply) -> Iterator[StandIn]:
    """Serve `reply` on a free loopback port."""
    bodies: list[Body] = []
    headers: list[Mapping[str, str]] = []

    class Replying(Handler):
        def serve(self) -> None:
            body = json.loads(self.body())
            bodies.append(body)
            headers.append({name.lower(): value for name, value in self.headers.items()})
            status, data = reply(body)
            self.answer(status, [("Content-Type", "application/json")], json.dumps(data).encode())

    with serving(Replying) as url:
        yield StandIn(f"{url}/v1", bodies, headers)
