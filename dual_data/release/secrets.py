"""Finds and redacts secrets, such as keys and tokens, which must never be published or printed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping

from dual_data.errors import DualDataError

_SHAPES = {
    "a Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{20,}\b"),
    "an API key": re.compile(r"\bsk-[A-Za-z0-9_-]{20,}\b"),
    "a password in a URL": re.compile(r"https?://[^\s/:@\"]*:[^\s/@\"]+@"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
}
_SECRET_NAMES = re.compile(r"(TOKEN|KEY|SECRET|PASSWORD)$")
_SHORTEST = 12
_QUERY = re.compile(r"(https?://[^\s?'\"]+)\?[^\s'\"]+")


def find_secret(text: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """The kind of secret in `text`, or None. Values of environment variables named like secrets count too."""
    for kind, shape in _SHAPES.items():
        if shape.search(text):
            return kind
    for name, value in environ.items():
        if _SECRET_NAMES.search(name.upper()) and len(value) >= _SHORTEST:
            as_json = json.dumps(value, ensure_ascii=False)[1:-1]
            if value in text or as_json in text:
                return f"the value of {name}"
    return None


def expect_no_secret(texts: Mapping[str, str], advice: str) -> None:
    """Raise DualDataError, which ends with `advice`, for the first of `texts`, by path, that holds a secret."""
    for path, text in texts.items():
        if kind := find_secret(text):
            raise DualDataError(f"{path}: would publish what looks like a secret ({kind}). {advice}")


def redacted(text: str, token: str | None = None) -> str:
    """`text` without tokens, and without the query strings of URLs, which hold the signatures of storage services."""
    if token:
        text = text.replace(token, "***")
    for shape in _SHAPES.values():
        text = shape.sub("***", text)
    return _QUERY.sub(r"\1?***", text)
