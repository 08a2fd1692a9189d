"""One HTTP client of one OpenAI-compatible server; imported at the first call only."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import httpx2
import openai

from dual_data.errors import Transient
from dual_data.sources.chat.openai.errors import of_answer, redact, translate
from dual_data.sources.chat.openai.server import Endpoint


class Connection:
    """Posts JSON and returns complete JSON; safe to use from several threads."""

    def __init__(self, endpoint: Endpoint, environ: Mapping[str, str]) -> None:
        self._endpoint = endpoint
        self._key = endpoint.key(environ)
        http = openai.DefaultHttpxClient(timeout=endpoint.timeout, event_hooks={"response": [self._limit]})
        self._client = openai.OpenAI(
            base_url=endpoint.base_url,
            # The client insists on a key; servers that want none ignore this one.
            api_key=self._key or "none",
            max_retries=0,
            timeout=endpoint.timeout,
            http_client=http,
        )

    def post(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The JSON object that the server answers to a chat. Raises ServiceError in all its kinds."""
        try:
            content = self._client.post("/chat/completions", body=dict(body), cast_to=httpx2.Response).content
        except openai.OpenAIError as error:
            raise translate(error, self._endpoint, self._key) from None
        try:
            data = json.loads(content)
        except (ValueError, RecursionError):
            # Redacted before it is cut: a part of the key would not be recognised.
            start = redact(content.decode("utf-8", "replace"), self._key)[:80]
            raise Transient(f"{self._endpoint.label}: the answer is not complete JSON; it starts: {start!r}") from None
        if not isinstance(data, dict):
            raise Transient(f"{self._endpoint.label}: the answer is not a JSON object: {redact(str(data), self._key)}")
        if fault := of_answer(data, self._endpoint, self._key):
            raise fault
        return data

    def _limit(self, response: httpx2.Response) -> None:
        """Fail a body that is incomplete after the timeout: the client's own limits each read only."""
        response.stream = _Timed(response, self._endpoint.timeout)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class _Timed(httpx2.SyncByteStream):
    """A response's body that must be complete in time."""

    def __init__(self, response: httpx2.Response, seconds: float) -> None:
        self._stream, self._request = response.stream, response.request
        self._end = time.monotonic() + seconds

    def __iter__(self) -> Iterator[bytes]:
        assert isinstance(self._stream, httpx2.SyncByteStream)
        for chunk in self._stream:
            if time.monotonic() > self._end:
                raise httpx2.ReadTimeout("the body came too slowly", request=self._request)
            yield chunk

    def close(self) -> None:
        assert isinstance(self._stream, httpx2.SyncByteStream)
        self._stream.close()
