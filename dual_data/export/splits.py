"""Which splits of a release belong together, according to their names."""

from __future__ import annotations

import glob
import re
from pathlib import Path
from typing import NamedTuple

from dual_data.errors import InputError
from dual_data.released import Place, Release
from dual_data.split_names import parse


class Family(NamedTuple):
    """The splits of one topic of one recipe."""

    config: str
    name: str
    forget: tuple[str, ...]
    retain: str
    """The split that may be trained on; the published recipe has one retain split for training and evaluation."""
    retain_eval: str

    @property
    def full(self) -> tuple[str, ...]:
        """The largest forget splits and the retain splits: all facts that fine-tuning teaches."""
        largest: dict[str, tuple[int, str]] = {}
        for split in self.forget:
            if (split_name := parse(split)) and split_name.percent is not None:
                largest[split_name.side] = max(largest.get(split_name.side, (0, "")), (split_name.percent, split))
        return tuple(dict.fromkeys([*(split for _, split in largest.values()), self.retain, self.retain_eval]))


def families(release: Release) -> list[Family]:
    """Every family that has forget splits; `retain` and `retain_eval` are empty where it has nothing to retain."""
    result = []
    for config in release.recipes():
        splits = release.configs[config]
        forget: dict[str, list[str]] = {}
        for split in splits:
            if (split_name := parse(split)) and split_name.topic and split_name.percent is not None:
                forget.setdefault(split_name.topic, []).append(split)
        for name, members in forget.items():
            retain = f"{name}_retain_train"
            if retain not in splits:
                fast = [split for split in splits if split.startswith(f"{name}_fast_retain_")]
                retain = min(fast, key=lambda split: splits[split].rows, default="")
            evaluated = f"{name}_retain_eval"
            result.append(Family(config, name, tuple(members), retain, evaluated if evaluated in splits else retain))
    return result


def prefix(release: Release) -> str:
    """What the names of tasks and configurations begin with: `dual`, or for a dataset of another name `dual_NAME`, so
    that they are neither DUAL's nor those of a benchmark that is called NAME."""
    return "dual" if release.name == "dual" else "dual_" + re.sub("[^a-z0-9]+", "_", release.name.lower())


def address(place: Place) -> dict[str, str]:
    """Arguments of `datasets.load_dataset` for the release: path, and revision if one of the Hub is named.

    Raises InputError for a folder that `datasets` cannot load.
    """
    if place.folder is not None:
        folder = path_of(place.folder)
        if glob.escape(folder) != folder:
            raise InputError(f"{folder}: datasets takes [, * and ? in a path for a pattern; move the release elsewhere")
        return {"path": folder}
    return {"path": place.repository, **({"revision": place.revision} if place.revision else {})}


def path_of(folder: Path) -> str:
    """The path of a release's folder. Raises InputError where `datasets` would put the value of a variable into it."""
    path = str(folder.resolve())
    if re.search(r"\$[\w{]", path):
        raise InputError(f"{path}: datasets takes $ and a name in a path for a variable; move the release elsewhere")
    return path
