"""Names of configurations, splits and files: plain words, whatever the topics and labels are called."""

from __future__ import annotations

import re
from collections.abc import Iterable

from dual_data.ids import digest

_OTHER = re.compile(r"[^A-Za-z0-9_]+")
_LONGEST = 100


def plain_names(names: Iterable[str]) -> dict[str, str]:
    """A plain name for each name: letters, digits and underscores, as the Hub, `datasets` and file systems all want.

    A plain name stays as it is. Any other has its odd characters replaced and a hash of the whole added, so that two
    names never become one, not even where case does not count.

    >>> plain_names(["city_full", "a/b"])
    {'city_full': 'city_full', 'a/b': 'a_b_c14cddc0'}
    """
    taken: set[str] = set()
    found = {}
    for name in dict.fromkeys(names):
        plain = name
        if _OTHER.search(name) or not name or len(name) > _LONGEST or name.lower() in taken:
            plain = f"{_OTHER.sub('_', name)[:_LONGEST].strip('_')}_{digest(name, 8)}".lstrip("_")
        taken.add(plain.lower())
        found[name] = plain
    return found
