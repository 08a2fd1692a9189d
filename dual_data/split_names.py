"""Parses split names, published ones and this package's, into topic and kind.

city_forget_rare_5    city_fast_retain_500    city_retain_eval    all_neighbor_relation    city_full    world_facts
"""

from __future__ import annotations

import re
from typing import NamedTuple

_OURS = re.compile(
    r"(?P<topic>.+)_(?P<kind>forget_(?P<side>rare|popular)_(?P<percent>\d+)|retain_train|retain_eval|neighbor_subject"
    r"|neighbor_relation|world_facts|fast_retain_\d+|full)"
)
"""The kinds that this package makes, after any topic: full_time_job_forget_rare_5."""
_ANY = re.compile(
    r"(?:(?P<topic>.*?)_)??"
    r"(?P<kind>forget_(?P<side>rare|popular)(?:_(?P<percent>\d+)|_.*)?|(?:fast_retain|retain|neighbor|full)(?:_.*)?|world_facts)"
)
"""The same in other datasets: without a topic, or with more after the kind."""


class SplitName(NamedTuple):
    """The parts of a name."""

    topic: str
    """Empty where the name has none."""
    kind: str
    """What follows the topic, such as retain_eval."""
    side: str = ""
    """Of a forget split: rare or popular."""
    percent: int | None = None
    """Of a forget split: its size in percent, if its name ends in it; else None."""


def parse(name: str) -> SplitName | None:
    """The parts of a split's name; None for a name of another form.

    >>> parse("city_forget_rare_5")
    SplitName(topic='city', kind='forget_rare_5', side='rare', percent=5)
    >>> parse("city_retain_eval")
    SplitName(topic='city', kind='retain_eval', side='', percent=None)
    """
    match = _OURS.fullmatch(name) or _ANY.fullmatch(name)
    if match is None:
        return None
    percent = match["percent"]
    return SplitName(match["topic"] or "", match["kind"], match["side"] or "", int(percent) if percent else None)
