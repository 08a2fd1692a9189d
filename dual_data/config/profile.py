"""Profiles, such as pipeline/dual.toml: the parameters of every stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from dual_data.config.files import Model, Strict, matching, parse, read_toml
from dual_data.config.places import NO_FOLDER_NAME, is_folder_name
from dual_data.config.services import Services
from dual_data.errors import ConfigError, UsageError

LONGEST_NAME = 60
"""Most characters of a profile's name: file systems allow 255 bytes, and a character has up to four."""


class About(Strict):
    """A profile's description of its dataset, from [project]; a release makes no claims beyond it."""

    title: str = ""
    """Short, such as DUAL; the name of the profile is used if it is empty."""
    description: str = ""
    """First words of the dataset's card, in Markdown."""
    language: Annotated[str, matching(r"[a-z]{2,3}(-[A-Za-z0-9]{1,8})*", "a code such as en or pt-BR")] = "en"
    """Of questions and answers: a code of BCP 47, such as en or pt-BR."""
    licence: Annotated[str, matching(r"[a-z0-9]+([.-][a-z0-9]+)*", "an id of the Hub such as cc-by-4.0")] = "cc0-1.0"
    """Of the facts, in the Hub's spelling, such as cc-by-4.0: that of Wikidata unless they are from elsewhere."""
    creator: str = ""
    """Who made the dataset."""
    citation: str = ""
    """BibTeX of the work to cite."""
    url: Annotated[str, matching(r"(https?://\S+)?", "an address that begins with http:// or https://")] = ""
    """Page of the dataset or of its paper; the Hub links a page at arxiv.org as the paper."""


class ProjectTable(About):
    """The table [project]: the name of the profile, and the description of its dataset."""

    name: Any = Field(default=None, json_schema_extra={"type": "string"})
    """Of the profile, and of the folder below artifacts/; the name of the file is used if it is left out."""


class Profile(Strict):
    """One build of the dataset: a TOML file with the parameters of every stage."""

    path: Path
    name: str
    """Also the folder below artifacts/ that the build writes."""
    services: Services
    about: About = About()
    stages: Mapping[str, Mapping[str, Any]]
    """Raw parameters by stage name; `params` turns them into a stage's model."""

    def params(self, stage: str, model: type[Model]) -> Model:
        """The parameters of a stage. Raises ConfigError with file and key."""
        return parse(model, dict(self.stages.get(stage, {})), self.path, prefix=stage)

    @contextmanager
    def named_in_errors(self) -> Iterator[None]:
        """Name this file in a ConfigError that names only a key, as a stage, which knows no file, does."""
        try:
            yield
        except ConfigError as error:
            if error.file is None and error.key is not None:
                error.file, error.args = self.path, (f"{self.path}: {error}",)
            raise


def load_profile(path: Path) -> Profile:
    """Read a profile such as pipeline/dual.toml."""
    data = read_toml(path)
    for key, table in data.items():
        if not isinstance(table, dict):
            raise ConfigError("belongs in a table: [project], [services] or the table of a stage", file=path, key=key)
    project = data.pop("project", {})
    services = parse(Services, data.pop("services", {}), path, prefix="services")
    written = parse(ProjectTable, project, path, prefix="project")
    name = written.name if "name" in written.model_fields_set else path.stem
    if not isinstance(name, str) or not is_folder_name(name):
        raise ConfigError(NO_FOLDER_NAME, file=path, key="project.name")
    if len(name) > LONGEST_NAME:
        fault = f"has {len(name)} characters, and the name of a folder may have {LONGEST_NAME}"
        raise ConfigError(fault, file=path, key="project.name")
    about = About.model_validate(written.model_dump(exclude={"name"}, exclude_unset=True))
    return Profile(path=path, name=name, services=services, about=about, stages=data)


def profile_files(project: Path) -> list[Path]:
    """The profiles of a project: its files with the table [project], which files of grids and topics do not have."""
    return [path for path in sorted((project / "pipeline").glob("*.toml")) if _is_profile(path)]


def sound_profiles(project: Path) -> list[Profile]:
    """The profiles of a project that can be loaded; `dual-data check` reports the faults of the others."""
    profiles = []
    for path in profile_files(project):
        with suppress(ConfigError):
            profiles.append(load_profile(path))
    return profiles


def _is_profile(path: Path) -> bool:
    try:
        return "project" in read_toml(path)
    except UsageError:
        return False


def same_name(profile: Profile, owner: Profile) -> str:
    """Message on a profile that would overwrite another's artifacts."""
    return (
        f"{profile.path}: project.name: {profile.name!r} is the name of {owner.path.name} too; both would write to "
        f"artifacts/{profile.name}, so give one of them another"
    )
