"""Profiles, such as pipeline/dual.toml: the parameters of every stage."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dual_data.config.files import Model, Strict, parse, read_toml
from dual_data.config.services import Services
from dual_data.errors import ConfigError


class Profile(Strict):
    """One build of the dataset: a TOML file with the parameters of every stage."""

    path: Path
    name: str
    """Folder below artifacts/ that it writes to."""
    services: Services
    stages: Mapping[str, Mapping[str, Any]]
    """Raw parameters by stage name; `params` turns them into a stage's model."""

    def params(self, stage: str, model: type[Model]) -> Model:
        """The parameters of a stage. Raises ConfigError with file and key."""
        return parse(model, dict(self.stages.get(stage, {})), self.path, prefix=stage)


def load_profile(path: Path) -> Profile:
    """Read a profile such as pipeline/dual.toml."""
    data = read_toml(path)
    project = data.pop("project", {})
    services = parse(Services, data.pop("services", {}), path, prefix="services")
    for key, table in data.items():
        if not isinstance(table, dict):
            raise ConfigError("belongs in a table: [project], [services] or the table of a stage", file=path, key=key)
    name = project.pop("name", path.stem) if isinstance(project, dict) else ""
    if not isinstance(name, str) or not name or not name.replace("-", "").replace("_", "").isalnum():
        raise ConfigError("must be a plain folder name (letters, digits, - and _)", file=path, key="project.name")
    if project:
        raise ConfigError("unknown key; known here: name", file=path, key=f"project.{next(iter(project))}")
    return Profile(path=path, name=name, services=services, stages=data)
