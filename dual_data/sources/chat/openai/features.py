"""What a server can do with a model, found out by trying.

Servers accept parameters that they ignore (llama-cpp-python: max_completion_tokens, n; transformers serve:
response_format), refuse some with 400 and some with 500, and return log-probabilities that are none. So each feature is
asked for once and its effect is checked. What was found out is logged for each server, model and feature.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from dual_data.errors import Refused, TooLarge, Transient
from dual_data.sources.chat.label_scores import HIGHEST_MASS, SPACE_MARKS, label_of_text, label_schema
from dual_data.sources.chat.openai.completions import Answer, final_text, messages
from dual_data.sources.chat.openai.server import ChatServer, Declined, Rejected

PROBE = messages("", "Write one long sentence about an animal of your choice.")
BRIEF = messages("", "Write one short sentence about an animal.")
"""For probes that have to see the end of an answer."""
PROBE_TOKENS = 4
LEAST_TOKENS = 16
"""The smallest limit that OpenAI's newer interface takes, to which OpenRouter and others translate a chat."""
STRUCTURED_TOKENS = 48
"""Room for {"label": "7"} with the spaces that some grammars allow."""
TOLERANCE = 0.5
"""Nats by which a prompt token's log-probability may differ from when it was generated: batching changes rounding,
while a server that is off by one token is off by many nats."""

AT_MOST = "; at most: all of reasoning_tokens for each answer"
"""What plans say of the tokens of a model that reasons."""

_TOO_FEW = re.compile(r"below minimum|below_min|(?:>=|at least|minimum (?:of|is)) *16\b", re.I)

_UNLIKELY = ("3", "7")
"""Labels of the probe of structured output; the prompt does not ask for them, so only a constraint brings them."""


class Ignored(Rejected):
    """The server took a limit and did not keep it."""


class Capabilities(NamedTuple):
    """How a server wants to be asked for this model."""

    limit_key: str
    """max_tokens or max_completion_tokens."""
    temperature: bool
    """Whether temperature and top_p may be set."""
    seed: bool
    top_logprobs: int
    """How many alternatives a token comes with; 0 where log-probabilities are absent or no probabilities."""
    reasoning: bool
    """Whether it writes or bills a reasoning block before the answer."""
    least_tokens: int = 1
    """The smallest limit that it takes."""

    def limit(self, new_tokens: int, reasoning_tokens: int) -> dict[str, Any]:
        """The parameter that limits an answer's length."""
        return {self.limit_key: max(self.least_tokens, new_tokens + (reasoning_tokens if self.reasoning else 0))}

    def sampling(self, temperature: float, top_p: float = 1.0) -> dict[str, Any]:
        """Temperature and, where it says something, top_p; nothing where the model allows neither."""
        if not self.temperature:
            return {}
        return {"temperature": temperature} | ({"top_p": top_p} if top_p < 1.0 else {})


TYPICAL = Capabilities("max_tokens", temperature=True, seed=True, top_logprobs=20, reasoning=False)
"""What plans assume of a server that was never asked."""

_FORMS = (
    ("max_tokens", True, 20),
    ("max_tokens", True, 5),
    ("max_tokens", True, 0),
    ("max_completion_tokens", True, 20),
    ("max_completion_tokens", True, 5),
    ("max_completion_tokens", True, 0),
    ("max_completion_tokens", False, 0),
    ("max_tokens", False, 0),
)
"""Limit key, temperature, alternatives: from the most informative to the least demanding form. The first that the
server accepts and obeys is used."""


def capabilities(server: ChatServer) -> Capabilities:
    """Probe the basics, or recall them. Raises Refused where the server accepts no form of request."""
    return _read(server.probe("capabilities", lambda: _basics(server)))


def recall(server: ChatServer) -> Capabilities | None:
    """The basics as the log knows them, or None; asks nobody."""
    known = server.recall_probe("capabilities")
    return None if known is None else _read(known)


def _read(answer: Mapping[str, Any]) -> Capabilities:
    # A log from before `least_tokens` does not name it.
    return Capabilities(**{field: answer[field] for field in Capabilities._fields if field in answer})


def structured(server: ChatServer, can: Capabilities) -> str:
    """The response_format that really constrains the answer: json_schema, json_object, or "" for none."""
    name: str = server.probe("structured", lambda: _structured(server, can))["format"]
    return name


def response_format(name: str, labels: Sequence[str]) -> dict[str, Any]:
    """The parameter that asks for one of the labels; nothing for the name ""."""
    schema = label_schema(labels)
    if name == "json_schema":
        return {"response_format": {"type": name, "json_schema": {"name": "label", "strict": True, "schema": schema}}}
    return {"response_format": {"type": name, "schema": schema}} if name else {}


def _basics(server: ChatServer) -> Answer:
    reasons: dict[str, None] = {}
    ignored: set[str] = set()
    least = 1
    forms = list(_FORMS)
    while forms:
        limit_key, temperature, top = forms.pop(0)
        if limit_key in ignored:
            continue
        tokens = max(least, PROBE_TOKENS + (0 if temperature else server.endpoint.reasoning_tokens))
        body: dict[str, Any] = {"messages": PROBE, limit_key: tokens}
        body |= {"temperature": 0} if temperature else {}
        body |= {"logprobs": True, "top_logprobs": top} if top else {}
        try:
            answer = server.attempt(body, partial(_expect_obeyed, server, limit_key, tokens))
        except Rejected as error:
            reasons[str(error)] = None
            ignored |= {limit_key} if isinstance(error, Ignored) else set()
            if tokens < LEAST_TOKENS and _TOO_FEW.search(str(error)):
                least = LEAST_TOKENS
                forms.insert(0, (limit_key, temperature, top))
            continue
        reasoning = _reasons(answer) or (temperature and _reasons_unannounced(server, limit_key, least))
        alternatives = 0 if reasoning or not top else _top(answer["tokens"])
        seed = _try(server, {**body, "seed": 1}) is not None
        can = Capabilities(limit_key, temperature, seed, alternatives, reasoning, least)
        return can._asdict() | {"model": answer["model"]}
    tried = "".join(f"\n  {reason}" for reason in reasons)
    raise Refused(
        f"{server.endpoint.label}: no form of chat request works. Check that this is the OpenAI-compatible server of a "
        f"chat model. It said:{tried}"
    )


def _structured(server: ChatServer, can: Capabilities) -> Answer:
    for name in ("json_schema", "json_object"):
        limit = can.limit(STRUCTURED_TOKENS, server.endpoint.reasoning_tokens)
        body = {"messages": PROBE, **limit, **can.sampling(0.0), **response_format(name, _UNLIKELY)}
        text = final_text(_try(server, body) or {}).strip()
        if text.startswith("{") and label_of_text(text, _UNLIKELY) is not None:
            return {"format": name}
    return {"format": ""}


def _reasons(answer: Answer) -> bool:
    """Whether there is a reasoning block: shown, billed, or all that the few tokens were spent on."""
    text = answer["text"].strip()
    shown = text.startswith("<think>") or "</think>" in text
    return answer["reasoning"] or shown or (not text and answer["finish"] == "length")


def _reasons_unannounced(server: ChatServer, limit_key: str, least: int) -> bool:
    """Whether there is a reasoning block that the chat template opened: only its end shows, and that needs room."""
    room = server.endpoint.reasoning_tokens
    if not room:
        return False
    answer = _try(server, {"messages": BRIEF, limit_key: max(least, PROBE_TOKENS + room), "temperature": 0})
    return answer is not None and _reasons(answer)


def _try(server: ChatServer, body: Mapping[str, Any]) -> Answer | None:
    """The answer to a body; None where the server does not take it, or declines."""
    try:
        return server.attempt(body)
    except (Rejected, TooLarge, Declined):
        return None


def _top(tokens: Sequence[Sequence[Any]] | None) -> int:
    """How many alternatives each token came with, if these are probabilities of several tokens; else 0."""
    if not tokens:
        return 0
    tops = [{str(text): p for text, p in top if p is not None} for _, _, top in tokens]
    if min(len(top) for top in tops) < 2:
        return 0
    probabilities = [[math.exp(min(p, 1.0)) for p in top.values()] for top in tops]
    if any(not 0.0 < math.fsum(group) <= HIGHEST_MASS for group in probabilities):
        return 0
    # All the weight on the chosen token at every position: probabilities after greedy sampling, which say nothing.
    if all(max(group) >= 1.0 and sorted(group)[-2] == 0.0 for group in probabilities):
        return 0
    return min(len(top) for top in tops)


def _expect_obeyed(server: ChatServer, limit_key: str, tokens: int, answer: Answer) -> None:
    if not answer["text"].strip() and not _reasons(answer):
        # Not logged: a server in trouble would answer everything so, and these answers would be final.
        raise Transient(f"{server.endpoint.label}: the answer to a simple request is empty")
    if _length(answer) > tokens:
        raise Ignored(f"{limit_key} = {tokens} was accepted and ignored")


def _length(answer: Answer) -> int:
    """Tokens of an answer; where the server does not report them, its words, a lower bound."""
    usage = answer["usage"]
    return (not usage.get("estimated") and usage["completion"]) or len(answer["text"].split())


def prompt_probabilities(server: ChatServer, can: Capabilities) -> bool:
    """Whether the server gives the log-probabilities of an answer that it is given (vLLM's prompt_logprobs).

    Checked on an answer of its own: the numbers must be those it gave when it generated that answer. The completions
    of llama-cpp-python, for example, echo log-probabilities that are shifted by one token.
    """
    if not can.top_logprobs:
        return False
    return bool(server.probe("prompt_logprobs", lambda: _prompt_probabilities(server, can))["verified"])


def _prompt_probabilities(server: ChatServer, can: Capabilities) -> Answer:
    limit = can.limit(PROBE_TOKENS, 0)
    written = server.attempt({"messages": PROBE, **limit, **can.sampling(0.0), "logprobs": True, "top_logprobs": 2})
    text = written["text"]
    echoed_scores = tail(_try(server, echo(PROBE, text, can)) or {}, text)
    own_scores = [p for _, p, _ in written["tokens"] or []]
    verified = (
        echoed_scores is not None
        and len(echoed_scores) == len(own_scores)
        and all(b is not None and abs(a - b) <= TOLERANCE for a, b in zip(echoed_scores, own_scores, strict=True))
    )
    return {"verified": verified}


def echo(chat: Sequence[Mapping[str, str]], answer: str, can: Capabilities) -> dict[str, Any]:
    """Body that gives the model its answer and asks for the log-probabilities of the prompt that includes it."""
    turns = [*chat, {"role": "assistant", "content": answer}]
    extras = {"add_generation_prompt": False, "continue_final_message": True, "prompt_logprobs": 0}
    return {"messages": turns, **can.limit(1, 0), **can.sampling(0.0), **extras}


def tail(answer: Answer, text: str) -> list[float] | None:
    """Log-probabilities of the prompt's last tokens, which spell `text`; None where they do not, or are absent.

    Space does not count: releases of vLLM differ in whether a token's space is decoded, left as a mark, or lost.
    """
    scores: list[float] = []
    wanted, suffix = _spaceless(text), ""
    for token, p in reversed(answer.get("prompt_tokens") or []):
        if p is None or not isinstance(token, str):
            return None
        scores.insert(0, p)
        suffix = _spaceless(token) + suffix
        if suffix == wanted:
            return scores
        if len(suffix) > len(wanted):
            return None
    return None


def _spaceless(text: str) -> str:
    return "".join(text.translate(SPACE_MARKS).split())
