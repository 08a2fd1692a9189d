"""Closed-book answers of a model behind an OpenAI-compatible server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dual_data.calls.fetching import Forecast
from dual_data.sources.chat.openai import features
from dual_data.sources.chat.openai.completions import final_text, messages
from dual_data.sources.chat.openai.server import ChatServer
from dual_data.sources.chat.protocol import Chat, Sampling


class ServerAnswers:
    """Asks one question per request; several samples are several requests, because servers ignore `n`."""

    def __init__(self, server: ChatServer) -> None:
        self._server = server

    def generate(
        self, chats: Sequence[Chat], sampling: Sampling, advance: Callable[[int], None] = lambda _: None
    ) -> list[list[str]]:
        """`sampling.samples` answers per conversation, reasoning removed; empty where the server declines."""
        requests = self._generate(chats, sampling, features.capabilities(self._server))
        texts = [final_text(answer) for answer in self._server.ask(requests, advance)]
        return [texts[start : start + sampling.samples] for start in range(0, len(texts), sampling.samples)]

    def log_probabilities(
        self, chats: Sequence[Chat], answers: Sequence[str], advance: Callable[[int], None] = lambda _: None
    ) -> list[float | None]:
        """Sum of the log-probabilities (nats) of each answer's tokens; None where the server cannot tell."""
        can = features.capabilities(self._server)
        if not features.prompt_probabilities(self._server, can):
            advance(len(chats))
            return [None] * len(chats)
        replies = self._server.ask(self._echo(chats, answers, can), advance)
        tails = [features.tail(answer, text) for answer, text in zip(replies, answers, strict=True)]
        return [None if tail is None else min(0.0, sum(tail)) for tail in tails]

    def plan(
        self, chats: Sequence[Chat], sampling: Sampling, canonical: Sequence[Chat], answers: Sequence[str]
    ) -> Forecast:
        """Calls of `generate(chats, sampling)`, and of `log_probabilities(canonical, answers)` if there are answers."""
        can = features.recall(self._server)
        note = "tokens by characters / 4"
        if can is None:
            note += "; the server was not asked yet what it supports"
        elif can.reasoning:
            note += features.AT_MOST
        requests = self._generate(chats, sampling, can or features.TYPICAL)
        verified = self._server.recall_probe("prompt_logprobs")
        unknown = verified is None and bool((can or features.TYPICAL).top_logprobs)
        if answers and (verified["verified"] if verified else unknown):
            requests += self._echo(canonical, answers, can or features.TYPICAL)
            note += f"; {len(answers)} calls only where it gives log-probabilities of a prompt" if unknown else ""
        return self._server.foresee(requests, note)

    def _generate(self, chats: Sequence[Chat], sampling: Sampling, can: features.Capabilities) -> list[dict[str, Any]]:
        limit = can.limit(sampling.max_new_tokens, self._server.endpoint.reasoning_tokens)
        parameters = limit | can.sampling(sampling.temperature, sampling.top_p)
        requests = []
        for chat in chats:
            body = {"messages": messages(*chat), **parameters}
            for sample in range(sampling.samples):
                if sampling.temperature > 0 and can.seed:
                    requests.append(self._server.request({**body, "seed": sampling.seed + sample + 1}))
                else:
                    requests.append(self._server.request(body, sample))
        return requests

    def _echo(self, chats: Sequence[Chat], answers: Sequence[str], can: features.Capabilities) -> list[dict[str, Any]]:
        pairs = zip(chats, answers, strict=True)
        return [self._server.request(features.echo(messages(*chat), answer, can)) for chat, answer in pairs]
