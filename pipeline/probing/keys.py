"""Whether the keys of the servers that the stages ask are set."""

from __future__ import annotations

from collections.abc import Iterator

from dual_data.config import Strict
from dual_data.engine.stage import Lack
from dual_data.errors import UsageError
from dual_data.sources.chat.openai import features
from dual_data.sources.chat.openai.server import ChatServer


def lacks(server: ChatServer, params: Strict) -> Iterator[Lack]:
    """A key that is missing or can be none; `params` are those of a stage that asks this server alone."""
    try:
        server.endpoint.key()
    except UsageError as error:
        # What a server supports is asked first.
        yield Lack(str(error), params, needed=features.recall(server) is None)
