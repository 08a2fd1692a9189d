"""The answers of OpenAI-compatible servers, reduced to what is worth keeping.

    {"text", "finish", "tokens": [[token, log-probability, [[token, log-probability], ...]], ...] or null,
     "usage": {"prompt", "cached", "completion"}, "model", "fingerprint", "reasoning",
     "prompt_tokens": tokens of the prompt, only where the server gives their log-probabilities}

or {"declined": rule} where the server will never answer that conversation. Where the server reports no tokens, usage
holds an estimate, and "estimated": 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dual_data.errors import Transient

Answer = dict[str, Any]

MOST_TOKENS = 1 << 40
"""Of one answer: no model reads or writes as many, and sums of larger numbers would not fit into a table."""

_TEXTS = {"text", "output_text"}
_THOUGHTS = {"thinking", "reasoning"}
"""Types of the parts that a message may come in."""


def reduce(data: Mapping[str, Any]) -> Answer:
    """What is worth keeping of a chat completion. Raises Transient where it is not one."""
    try:
        choice = data["choices"][0]
        message = choice["message"]
        if choice.get("finish_reason") == "error":
            raise ValueError("finish_reason is error")
        text, thought = _text_and_thought(message.get("content"))
        usage = data.get("usage") or {}
        reasoning = message.get("reasoning_content") or message.get("reasoning") or ""
        details = usage.get("completion_tokens_details") or {}
        answer = {
            "text": text,
            "finish": choice.get("finish_reason"),
            "tokens": _tokens(choice.get("logprobs")),
            "usage": {
                "prompt": _count(usage.get("prompt_tokens")),
                "cached": _count((usage.get("prompt_tokens_details") or {}).get("cached_tokens")),
                "completion": _count(usage.get("completion_tokens")),
            },
            "model": data.get("model"),
            "fingerprint": data.get("system_fingerprint"),
            "reasoning": thought or bool(reasoning) or bool(details.get("reasoning_tokens")),
        }
        if data.get("prompt_logprobs") is not None:
            answer["prompt_tokens"] = _prompt_tokens(data["prompt_logprobs"])
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise Transient(f"the answer is not a chat completion ({type(error).__name__}: {error})") from None
    return answer


def cut_off() -> Answer:
    """The answer of a model that was still reasoning when its limit was reached, where the server gives none."""
    data = {"choices": [{"message": {"content": None}, "finish_reason": "length"}]}
    return {**reduce(data), "reasoning": True}


def _text_and_thought(content: Any) -> tuple[str, bool]:
    """The text of a message, whole or (Mistral's reasoning models) in parts, and whether a part is a thought."""
    if content is None or isinstance(content, str):
        return content or "", False
    kinds = {part["type"] for part in content}
    if unknown := kinds - _TEXTS - _THOUGHTS:
        raise TypeError(f"a part of its text is {unknown}")
    return "".join(part["text"] for part in content if part["type"] in _TEXTS), bool(kinds & _THOUGHTS)


def _tokens(logprobs: Any) -> list[list[Any]] | None:
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list) or not content:
        return None
    return [
        [
            _token(item["token"]),
            _finite(item.get("logprob")),
            [[_token(t["token"]), _finite(t.get("logprob"))] for t in item.get("top_logprobs") or []],
        ]
        for item in content
    ]


def _prompt_tokens(entries: Any) -> list[list[Any]] | None:
    """vLLM's `prompt_logprobs`: [token, log-probability] of each prompt token, or None where there is more than one."""
    tokens: list[list[Any]] = []
    for entry in entries:
        if not isinstance(entry, dict):
            tokens.append(["", None])
            continue
        if len(entry) != 1:
            return None
        (token,) = entry.values()
        tokens.append([_token(token["decoded_token"]), _finite(token["logprob"])])
    return tokens


def _token(value: Any) -> str:
    """A token's text. Raises TypeError for anything else: logged, it would fail every later run that reads it."""
    if not isinstance(value, str):
        raise TypeError(f"a token is {type(value).__name__}, not str")
    return value


def _count(value: Any) -> int:
    """A number of tokens, 0 for none. Raises ValueError or OverflowError for what cannot be one."""
    count = int(value or 0)
    if not 0 <= count <= MOST_TOKENS:
        raise ValueError(f"{count:.3g} is no number of tokens")
    return count


def _finite(value: Any) -> float | None:
    """A log-probability; None for NaN, infinite or absent."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def final_text(answer: Answer) -> str:
    """The answer without a reasoning block in front; empty where that block was cut off.

    The block may lack its first line: many chat templates write <think> themselves. A block of that kind that was cut
    off cannot be told from an answer.
    """
    text: str = answer.get("text", "")
    _, closed, rest = text.rpartition("</think>")
    return "" if not closed and text.lstrip().startswith("<think>") else rest


def messages(system: str, user: str) -> list[dict[str, str]]:
    """A conversation up to the model's turn."""
    turns = [{"role": "system", "content": system}] if system else []
    return [*turns, {"role": "user", "content": user}]
