"""What an OpenAI-compatible server's failures mean: another try, a smaller request, or the end.

The server's text goes into the message shortened and without the key; for a refused key it is left out, because
servers like to repeat the key.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import openai

from dual_data.errors import Refused, ServiceError, TooLarge, Transient
from dual_data.sources.chat.openai.server import CutOff, Declined, Endpoint, Rejected
from dual_data.sources.etiquette import retry_after, wait_asked

# OpenAI and llama.cpp; vLLM ("the model's context length is only", in many releases "longer than the maximum model
# length"), SGLang and Together ("is longer than the model's context length"), LM Studio ("does not fit in context
# length", "n_keep >= n_ctx"); Anthropic; Bedrock; Gemini; xAI; TGI.
_TOO_LONG = re.compile(
    r"context_length_exceeded|exceed(?:s|ed)?\s.*context|context (?:length|size|window)|\bn_ctx\b|prompt is too long|"
    r"maximum model length|input is too long for|input token count|maximum prompt length|`?inputs`? tokens \+",
    re.I,
)
# "Failed to load model: ... context length 131072": of LM Studio, where memory is short.
_NOT_LOADED = re.compile(r"failed to load", re.I)
# "You exceeded your current quota, please check your plan and billing details" stands for limits per minute too.
_QUOTA = re.compile(r"insufficient_quota|credit balance", re.I)
_DECLINED = re.compile(r"content_filter|content_policy|ResponsibleAI|moderation", re.I)
# With 403, "moderation" alone may mean a model that the key gives no access to.
_FLAGGED = re.compile(r"content_filter|content_policy|ResponsibleAI|flagged", re.I)
# OpenAI's reasoning models, where reasoning took all of the limit; not in every case.
_CUT_OFF = re.compile(r"could not finish the message because max_tokens", re.I)
# llama-cpp-python answers a response_format that it does not know with 500, not 400.
_UNSUPPORTED = re.compile(r"validation error|literal_error|not supported|unsupported|not implemented", re.I)
# LM Studio says so with status 200.
_NO_ENDPOINT = re.compile(r"unexpected endpoint or method", re.I)
_FORM_STATUSES = (400, 405, 409, 415, 422, 501)
_MESSAGE_LENGTH = 300


def redact(text: str, key: str) -> str:
    """The text on one line, shortened, without the key."""
    line = " ".join((text.replace(key, "***") if key else text).split())
    return line if len(line) <= _MESSAGE_LENGTH else line[:_MESSAGE_LENGTH] + " ..."


def translate(error: openai.OpenAIError, endpoint: Endpoint, key: str) -> ServiceError:
    """Our error for one of the client's: it says what to do."""
    server = endpoint.label
    if isinstance(error, openai.APITimeoutError):
        return Transient(f"{server}: no answer in time")
    if isinstance(error, openai.APIConnectionError):
        return Transient(f"{server}: {redact(str(error.__cause__ or error), key)}")
    if not isinstance(error, openai.APIStatusError):
        return Refused(f"{server}: {redact(str(error), key)}")
    headers = error.response.headers
    status = error.status_code
    failure = _Failure(_text(error), str(error.type), "json" in headers.get("content-type", ""), _wait(status, headers))
    return _of_status(status, failure, f"{server}: HTTP {status}", endpoint, key)


def of_answer(data: Mapping[str, Any], endpoint: Endpoint, key: str) -> ServiceError | None:
    """The error in an answer with status 200, its own or (OpenRouter) that of its choice; None where there is none.

    Its code, where it is a number, is read as a status.
    """
    choices = data.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    error = data.get("error") or (choice.get("error") if isinstance(choice, dict) else None)
    if not error:
        return None
    code, kind = (error.get("code"), error.get("type")) if isinstance(error, dict) else (None, None)
    status = code if isinstance(code, int) else 200
    failure = _Failure(_text_of({"error": error}), str(kind), True, _wait(status, {}))
    return _of_status(status, failure, f"{endpoint.label}: an error with status 200", endpoint, key)


class _Failure(NamedTuple):
    """What a failure says beside its status."""

    text: str
    kind: str
    """OpenAI's `type` of an error."""
    json: bool
    wait: float | None
    """Seconds that the server asks for."""


def _of_status(status: int, failure: _Failure, where: str, endpoint: Endpoint, key: str) -> ServiceError:
    text = redact(failure.text, key)
    message = f"{where}: {text}"
    final: ServiceError | None = None
    too_long = _TOO_LONG.search(text) and not _NOT_LOADED.search(text)
    if status == 413 or (status in (200, 400, 422, 500) and too_long):
        final = TooLarge(message)
    elif (status == 400 and _DECLINED.search(text)) or (status == 403 and _FLAGGED.search(text)):
        final = Declined(message)
    elif status == 400 and _CUT_OFF.search(text):
        final = CutOff(message)
    elif status in (401, 403):
        name = endpoint.api_key_env
        who = f"the key in the environment variable {name}" if name else "a request without a key"
        final = Refused(f"{where}: the server refuses {who}; set api_key_env to a variable with a valid key")
    elif status == 402 or (status == 429 and _QUOTA.search(f"{failure.kind} {text}")):
        final = Refused(f"{message}. The quota of this key is used up; what was answered is kept.")
    elif status == 404 or _NO_ENDPOINT.search(text):
        final = Refused(f"{message}. Check base_url (it usually ends in /v1) and model.")
    elif failure.json and (status in _FORM_STATUSES or (status == 500 and _UNSUPPORTED.search(text))):
        final = Rejected(message)
    # All else may be temporary: 408, 429, 5xx, and a gateway's HTML page under any status.
    return final or Transient(message, retry_after=failure.wait)


def _wait(status: int, headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait: by `retry-after-ms`, which is OpenAI's own, or as any other service."""
    now = time.time()
    milliseconds = retry_after(headers.get("retry-after-ms"), now)
    return wait_asked(status, headers.get("retry-after"), now) if milliseconds is None else milliseconds / 1000.0


def _text(error: openai.APIStatusError) -> str:
    body: Any = error.body
    if isinstance(body, dict):
        return _text_of(body)
    return body if isinstance(body, str) else error.response.text or error.message


def _text_of(body: Mapping[str, Any]) -> str:
    """Code and message of an error body, in any of the shapes in use, and what it quotes (OpenRouter) of the provider
    behind the server: the message says no more of that than that it failed."""
    inner = body.get("error", body)
    if not isinstance(inner, dict):
        return str(inner)
    metadata = inner.get("metadata")
    quoted = metadata.get("raw") if isinstance(metadata, dict) else None
    fields = [inner.get("code"), inner.get("message") or inner.get("detail") or inner, quoted]
    return " ".join(str(field) for field in fields if field is not None)
