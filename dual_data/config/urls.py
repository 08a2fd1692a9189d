"""URLs of services, restricted to those that every HTTP client here can handle.

On any other URL each client fails differently, one of them as if the network were down for a while.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator

_SECRET = re.compile(r"(?i)(key|token|secret|password|passwd|auth|signature)$")
_HOST = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?")


def url_fault(url: str) -> str:
    """What is wrong with a URL; empty for a valid one."""
    if not (url.isascii() and url.isprintable()) or " " in url:
        return "it has white space or letters beyond ASCII; write those of the host as xn--..., all others as %.."
    try:
        parts = urlsplit(url)
        _ = parts.port
        if "[" in parts.netloc:
            IPv6Address(parts.hostname or "")
    except ValueError as error:
        return str(error)
    if parts.scheme not in ("http", "https"):
        return "it begins with neither http:// nor https://"
    if "[" not in parts.netloc and not _HOST.fullmatch(parts.hostname or ""):
        return "it names no host: parts of 1 to 63 letters, digits and hyphens, with dots between"
    return ""


def check_url(url: str) -> str:
    """Validator that returns the URL. Raises ValueError for an invalid one, and for one with a password or key."""
    if fault := url_fault(url):
        raise ValueError(f"{url!r} is not a URL such as https://example.org/api: {fault}")
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ValueError("must hold no user or password, since it is written to the call log and to manifests")
    if any(_SECRET.search(name) for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        raise ValueError("must hold no key in its query, since it is written to the call log and to manifests")
    return url


Url = Annotated[str, AfterValidator(check_url)]
