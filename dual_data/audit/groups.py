"""Groups of splits that are compared with each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dual_data.audit.read import Split
from dual_data.split_names import parse

MOST = 30
"""Most splits of which every pair is measured."""


class Groups(NamedTuple):
    """The group of every split, and messages on pairs that are not compared because there are too many splits."""

    by_split: dict[str, str]
    skipped: list[str]


def grouped(splits: Sequence[Split]) -> Groups:
    """Group splits by configuration, or by topic if the configuration has several.

    Otherwise a release of 26 topics would need 40,000 comparisons. Topics are parsed from split names such as
    city_forget_rare_5, only if all names of a configuration have one. Single files and configurations of one split
    form one group.
    """
    configs: dict[str, list[Split]] = {}
    for split in splits:
        configs.setdefault(split.config, []).append(split)
    sets = {config: members for config, members in configs.items() if config and len(members) > 1}
    sets[""] = [split for split in splits if split.config not in sets]
    groups = Groups({}, [])
    for config, members in sets.items():
        topics = {split.name: _topic(split.name) for split in members}
        has_topics = bool(config) and None not in topics.values()
        if not has_topics and len(members) <= MOST:
            groups.by_split.update(dict.fromkeys(topics, config))
            continue
        groups.by_split.update({name: f"{config}/{name if topic is None else topic}" for name, topic in topics.items()})
        if not has_topics:
            groups.skipped.append(
                f"{config or 'single tables'}: {len(members)} splits are too many to compare each with each; only "
                "those of the same topic are compared, such as city_forget_rare_5 and city_forget_popular_5. Choose "
                "others with --split."
            )
    return groups


def _topic(name: str) -> str | None:
    """FOLDER/TOPIC of a split's name; None for a name of another form."""
    folder, _, last = name.rpartition("/")
    split_name = parse(last)
    return None if split_name is None else f"{folder}/{split_name.topic}"
