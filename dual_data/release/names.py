"""Plain names for configurations, splits and files, whatever the names of topics and labels."""

from __future__ import annotations

import re
from collections.abc import Iterable

from dual_data.ids import digest

_OTHER = re.compile(r"[^A-Za-z0-9_]+")
_LONGEST = 100


def plain_names(names: Iterable[str]) -> dict[str, str]:
    """A plain name for each name: letters, digits and underscores, which the Hub, `datasets` and file systems accept.

    A plain name stays as it is. In any other, special characters are replaced and a hash of the whole name is added,
    so that two names never become equal, not even on file systems that ignore case.

    >>> plain_names(["city_full", "a/b"])
    {'city_full': 'city_full', 'a/b': 'a_b_c14cddc0'}
    """
    used: set[str] = set()
    result = {}
    for name in dict.fromkeys(names):
        plain = "" if _OTHER.search(name) or len(name) > _LONGEST else name
        digits = 8
        while not plain or plain.lower() in used:
            plain = f"{_OTHER.sub('_', name)[:_LONGEST].strip('_')}_{digest(name, digits)}".lstrip("_")
            digits += 1  # longer where another name is that already
        used.add(plain.lower())
        result[name] = plain
    return result
