"""Whether the model servers that the stages ask would answer: their keys, and a first question."""

from __future__ import annotations

from collections.abc import Iterator

from dual_data.calls.fetching import tell
from dual_data.config import Strict
from dual_data.engine.stage import Lack
from dual_data.errors import Offline, Refused, ServiceError, UsageError
from dual_data.sources.chat.openai import features
from dual_data.sources.chat.openai.server import ChatServer


def lacks(server: ChatServer, params: Strict) -> Iterator[Lack]:
    """A key that is missing or can be none; `params` are those of a stage that asks this server alone."""
    try:
        server.endpoint.key()
    except UsageError as error:
        # What a server supports is asked first.
        yield Lack(str(error), params, calls_expected=features.recall(server) is None)


def greet(server: ChatServer) -> None:
    """Ask what a server supports, where the log does not tell. Raises Refused for a wrong key, model or address.

    A server that does not answer may be started later: that is told, and its stage asks again. One whose key is not set
    is not asked, since `lacks` tells where that is needed.
    """
    try:
        server.endpoint.key()
    except UsageError:
        return
    with server, server.calls.impatient():
        try:
            features.capabilities(server)
        except (Refused, Offline):
            raise
        except ServiceError as error:
            tell(f"{server.endpoint.label}: does not answer yet; its stage will ask again ({error.__cause__ or error})")
