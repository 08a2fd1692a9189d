"""A chat server as the tests ask it."""

from __future__ import annotations

from typing import Any

from dual_data.calls.fetching import Calls
from dual_data.sources.chat.openai.completions import messages
from dual_data.sources.chat.openai.server import ChatServer, Endpoint
from dual_data.sources.chat.usage import Ledger
from tests.services.llama import KEY, MODEL

ENVIRONMENT = {"JUDGE_KEY": KEY}
FRANCE = messages("Answer with one word.", "What is the capital of France?")


def server(url: str, calls: Calls, *, ledger: Ledger | None = None, timeout: float = 30.0, **more: Any) -> ChatServer:
    endpoint = Endpoint(base_url=url, model=MODEL, api_key_env="JUDGE_KEY", timeout=timeout, **more)
    return ChatServer(endpoint, calls, "judge", ledger or Ledger("salience.budget"), ENVIRONMENT)


def france(judge: ChatServer, new_tokens: int = 8) -> dict[str, Any]:
    return judge.request({"messages": FRANCE, "max_tokens": new_tokens, "temperature": 0})
