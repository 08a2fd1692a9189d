"""Which splits are compared with which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dual_data.audit.read import Split
from dual_data.split_names import parse

MOST = 30
"""Among more splits not every pair is measured."""


class Groups(NamedTuple):
    """The group of every split, and what is not compared because there are too many splits, in words."""

    of: dict[str, str]
    skipped: list[str]


def grouped(splits: Sequence[Split]) -> Groups:
    """Splits of one configuration are compared with each other; of several topics, those of one topic.

    A release of 26 topics would else be compared with itself 40,000 times. Topics are read off split names such as
    city_forget_rare_5, and only where all names of a configuration have one. Single files and configurations of one
    split are compared with each other.
    """
    configs: dict[str, list[Split]] = {}
    for split in splits:
        configs.setdefault(split.config, []).append(split)
    sets = {config: members for config, members in configs.items() if config and len(members) > 1}
    sets[""] = [split for split in splits if split.config not in sets]
    groups = Groups({}, [])
    for config, members in sets.items():
        topics = {split.name: _topic(split.name) for split in members}
        named = bool(config) and None not in topics.values()
        if not named and len(members) <= MOST:
            groups.of.update(dict.fromkeys(topics, config))
            continue
        groups.of.update({name: f"{config}/{name if topic is None else topic}" for name, topic in topics.items()})
        if not named:
            groups.skipped.append(
                f"{config or 'single tables'}: {len(members)} splits are too many to compare each with each; compared "
                "are those of one topic, such as city_forget_rare_5 and city_forget_popular_5. Choose others with "
                "--split."
            )
    return groups


def _topic(name: str) -> str | None:
    """The topic with the folder; None for a name of another form."""
    folder, _, last = name.rpartition("/")
    parts = parse(last)
    return None if parts is None else f"{folder}/{parts.topic}"
