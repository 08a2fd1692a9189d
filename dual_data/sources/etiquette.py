"""Manners towards public services: who asks, and how long to wait when told to.

Wikimedia's User-Agent policy wants the contact of whoever operates the client, not of whoever wrote it.
"""

from __future__ import annotations

import ipaddress
import math
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from dual_data import __version__
from dual_data.errors import UsageError

DEFAULT_WAIT = 60.0
"""Seconds to wait after a 429 that does not say how long: what Wikimedia asks for, and bans clients for ignoring."""


def is_loopback(url: str) -> bool:
    """Whether a URL points to this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def user_agent(
    contact: str, url: str, client: str = "", *, setting: str = "contact under [services] in the profile"
) -> str:
    """The User-Agent of a request to `url`: `dual-data/<version> (<contact>) <client>`.

    `setting` says where a contact is set other than in the environment. Raises UsageError, which names it, where the
    contact is missing and `url` is not on this machine, or where no header can carry it.
    """
    contact = " ".join(contact.split())
    if not contact and not is_loopback(url):
        raise UsageError(
            f"no contact is set, and {urlsplit(url).netloc} asks every client for one. Set DUAL_DATA_CONTACT, or "
            f"{setting}, to your own e-mail address or URL. Nothing was asked yet."
        )
    # Each HTTP client fails in its own way, at other characters.
    if not (contact.isascii() and contact.isprintable()):
        raise UsageError(
            f"the contact {contact!r} has characters that a User-Agent cannot carry. Set DUAL_DATA_CONTACT, or "
            f"{setting}, to your own e-mail address or URL in plain ASCII: letters without accents, digits and "
            "punctuation."
        )
    return " ".join(word for word in (f"dual-data/{__version__}", f"({contact})" if contact else "", client) if word)


def contact_fault(contact: str, url: str) -> str:
    """What is wrong with the contact for requests to `url`, as `user_agent` says it; empty where nothing is."""
    try:
        user_agent(contact, url)
    except UsageError as error:
        return str(error)
    return ""


def wait_asked(status: int, header: str | None, now: float) -> float | None:
    """Seconds that a service asks to wait with an error: its Retry-After header, else `DEFAULT_WAIT` for a 429."""
    wait = retry_after(header, now)
    return DEFAULT_WAIT if wait is None and status == 429 else wait


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds that a Retry-After header asks for: a number, or an HTTP date read against `now` (epoch seconds).

    None where there is no header, or none that can be read. Some servers send fractions, which the standard does not
    allow. No wait, or a date that is past, says nothing either: a service that answers 429 cannot mean "at once", and
    by a clock that is ahead every date is past.
    """
    text = (value or "").strip()
    with suppress(ValueError):
        return seconds if math.isfinite(seconds := float(text)) and seconds > 0 else None
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    wait = (moment - datetime.fromtimestamp(now, UTC)).total_seconds()
    return wait if wait > 0 else None
