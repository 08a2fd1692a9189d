"""What a split's name says: its topic, and what it is for, as published and as this package names splits.

city_forget_rare_5    city_fast_retain_500    city_retain_eval    all_neighbor_relation    city_full    world_facts
"""

from __future__ import annotations

import re
from typing import NamedTuple

_OURS = re.compile(
    r"(?P<topic>.+)_(?P<kind>forget_(?P<side>rare|popular)_(?P<percent>\d+)|retain_train|retain_eval|neighbor_subject"
    r"|neighbor_relation|world_facts|fast_retain_\d+|full)"
)
"""The kinds that this package makes, behind any topic: full_time_job_forget_rare_5."""
_NAME = re.compile(
    r"(?:(?P<topic>.*?)_)??"
    r"(?P<kind>forget_(?P<side>rare|popular)(?:_(?P<percent>\d+)|_.*)?|(?:fast_retain|retain|neighbor|full)(?:_.*)?|world_facts)"
)


class SplitName(NamedTuple):
    """The parts of a name."""

    topic: str
    """Empty where the name has none."""
    kind: str
    """What follows the topic, such as retain_eval."""
    side: str = ""
    """Of a forget split: rare or popular."""
    percent: int | None = None
    """Of a forget split: its size. None also where a forget split's name ends in another way."""


def parse(name: str) -> SplitName | None:
    """The parts of a split's name; None for a name of another form.

    >>> parse("city_forget_rare_5")
    SplitName(topic='city', kind='forget_rare_5', side='rare', percent=5)
    >>> parse("city_retain_eval")
    SplitName(topic='city', kind='retain_eval', side='', percent=None)
    """
    found = _OURS.fullmatch(name) or _NAME.fullmatch(name)
    if found is None:
        return None
    percent = found["percent"]
    return SplitName(found["topic"] or "", found["kind"], found["side"] or "", int(percent) if percent else None)
