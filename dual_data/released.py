"""A released dataset, in a folder or on the Hub: what its manifest says, and its tables.

matched/city_forget_rare_5.parquet   one file for each configuration and split
README.md, croissant.json            the card, for people and for machines
manifest.json                        every hash, and what the dataset was built from
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import polars as pl
from pydantic import BaseModel, Field, ValidationError

from dual_data.config import EMBEDDED, POOLED, SNAPSHOT, About, Strict
from dual_data.engine.manifest import Manifest
from dual_data.engine.places import RELEASE, command_for
from dual_data.errors import InputError
from dual_data.hub_reading import downloaded, expect_no_folder, is_repository, written
from dual_data.sealed import Sealed
from dual_data.split_names import parse
from dual_data.system.files import expect_utf_8, file_hash
from dual_data.text.display import count

FORMAT = 1
"""Version of the manifest's layout."""
MANIFEST = "manifest.json"
WHOLE = "train"
"""Name of the split of a configuration with only one, as `datasets` calls it by default."""
RECOMMENDED = "matched"
"""The recipe that a dataset opens with."""
VIEWER_SPLITS = 30
"""Most splits of a configuration that the Hub's dataset viewer shows; of one with more it shows an error alone."""
SOURCE = "DUAL_DATA_DATASET"
"""Environment variable with the release that `load` reads by default."""
IN_DEGREE = "in_degree"
"""Method of the stage links that counts no pages: it follows statements."""

_SIGNALS = {
    "inbound_links": "inbound links",
    IN_DEGREE: "in-degree (subjects of the embedded snapshot that state something about the entity)",
    "sitelinks": "sitelinks (Wikimedia pages about the entity)",
    "mentions": "mentions (triplets of the whole input that name the entity)",
    "salience": "the salience that the judge gave the fact",
}
_SIDES = {"subject": "of the subject", "object": "of the object", "sum": "of subject and object together"}

Name = Annotated[str, Field(pattern="^[A-Za-z0-9_]+$")]
"""Of a configuration or split, after which files are named: the manifest may be a stranger's."""


class File(Strict):
    """One table of a release."""

    path: Annotated[str, Field(pattern="^[A-Za-z0-9_]+/[A-Za-z0-9_]+[.]parquet$")]
    """Below the release folder, with forward slashes."""
    rows: int
    content: str
    """Content hash of the rows: see `dual_data.engine.tables.content_hash`."""
    sha256: str
    """Of the file's bytes."""
    bytes: int


class State(Strict):
    """What decides whether a build may be published."""

    limit: int | None
    """The `--limit` of the build; None for a build without one."""
    commit: str | None
    """Git commit of the project at the last stage; None where git named none."""
    dirty: bool
    """Whether the project had uncommitted changes, or its stages were built from different commits, so that no commit
    reproduces the build."""
    unresolved: int
    """Facts whose ids were minted from labels."""
    snapshot: bool
    """Whether facts or link counts are from the snapshot in the package: sources other than Wikidata, under several
    licences."""

    @classmethod
    def of(cls, stages: Iterable[Manifest], facts: pl.DataFrame | None) -> State:
        """The state of a build, from the manifests of its stages in order and its facts if there are any."""
        manifests = list(stages)
        states = [manifest.build.get("git") or {} for manifest in manifests]
        return cls(
            limit=min((limit for manifest in manifests if (limit := manifest.basis.limit) is not None), default=None),
            commit=states[-1].get("commit") if states else None,
            dirty=any(state.get("dirty") for state in states) or len({state.get("commit") for state in states}) > 1,
            unresolved=0 if facts is None else facts.filter(~pl.col("resolved")).height,
            snapshot=any(
                # A stage of a project's own may ask the snapshot without naming it among its sources.
                SNAPSHOT in manifest.basis.sources or EMBEDDED in manifest.calls
                for manifest in manifests
            ),
        )

    def doubts(self) -> dict[str, str]:
        """Reasons not to publish or cite the build, each a sentence, by field; empty for a clean build."""
        found = {}
        if self.unresolved:
            found["unresolved"] = (
                f"The ids of {count(self.unresolved, 'fact')} were minted from labels, so that two things of one name "
                "are one: not to be published."
            )
        if self.limit is not None:
            found["limit"] = f"It is limited to {count(self.limit, 'fact')} a stage: a try, not the benchmark."
        if self.snapshot:
            found["snapshot"] = (
                "It was made with the snapshot inside dual-data, which is for trying things out: its sources are not "
                "Wikidata's statements."
            )
        if self.dirty:
            found["dirty"] = "It was built from uncommitted changes, or its stages from different commits."
        elif self.commit is None:
            found["commit"] = "The commit of the project that built it is not known."
        return found


def popularity_of(recipe: str, stages: Mapping[str, Manifest]) -> str:
    """What a recipe ranks facts by, in words; empty where the manifests of the stages do not say."""
    params = _params(stages, "splits").get("paper" if recipe == "paper" else "matched") or {}
    signal = str(params.get("signal", ""))
    if signal == "inbound_links" and _params(stages, "links").get("method") == IN_DEGREE:
        signal = IN_DEGREE
    if signal == "given":
        return f"the popularity that the project's table {params.get('given')} gives"
    if signal == "salience" or signal not in _SIGNALS:
        return _SIGNALS.get(signal, "")
    return f"{_SIGNALS[signal]} {_SIDES.get('sum' if recipe == 'paper' else params.get('side', ''), '')}".strip()


def _params(stages: Mapping[str, Manifest], stage: str) -> Mapping[str, Any]:
    return stages[stage].basis.params if stage in stages else {}


class _Format(BaseModel):
    """The field that the manifest of a release has in every format version."""

    format: int


class Release(Sealed):
    """Contents of a release's manifest.json."""

    format: int
    name: str
    """The profile that it was built with."""
    about: About = About()
    """The profile's description of the dataset."""
    repository: str | None
    """`owner/name` on the Hub; None before the push."""
    version: str | None
    """The tag without its v; None before the push."""
    content: str
    """Hash over the content of all tables: equal for two releases with the same rows."""
    state: State
    configs: Mapping[Name, Mapping[Name, File]]
    """By configuration and split."""
    absent: Mapping[str, str]
    """Configurations that could not be made, with the reason."""
    files: Mapping[str, str]
    """SHA-256 of every file other than the tables and this manifest."""
    stages: Mapping[str, Manifest]
    """The manifest of every stage, as the build wrote it."""

    @property
    def title(self) -> str:
        """What the dataset is called."""
        return self.about.title or self.name

    def recipes(self) -> list[str]:
        """Configurations of question-answer splits, without the tables of one split."""
        return [config for config, splits in self.configs.items() if set(splits) != {WHOLE}]

    def declared(self) -> dict[str, Mapping[str, File]]:
        """Configurations as the card declares them: those of `configs`, and for each with more splits than the Hub's
        viewer shows one of its splits of all topics together, `matched_all`, which are few."""
        found: dict[str, Mapping[str, File]] = {}
        for config, splits in self.configs.items():
            pooled = {name: file for name, file in splits.items() if (parts := parse(name)) and parts.topic == POOLED}
            if len(splits) > VIEWER_SPLITS >= len(pooled) > 0:
                found[f"{config}_{POOLED}"] = pooled
            found[config] = splits
        return found

    def default(self) -> str:
        """The configuration that is loaded where none is named and that the Hub shows first; empty if there is none."""
        declared = self.declared()
        wanted = (f"{RECOMMENDED}_{POOLED}", RECOMMENDED, *declared)
        return next((config for config in wanted if config in declared), "")

    def told_apart(self) -> str:
        """By what the recipes tell rare from popular, a sentence; empty where the build does not say."""
        recipes_by_signal: dict[str, list[str]] = {}
        for recipe in self.recipes():
            if signal := popularity_of(recipe, self.stages):
                recipes_by_signal.setdefault(signal, []).append(recipe)
        phrases = [f"{signal} ({', '.join(recipes)})" for signal, recipes in recipes_by_signal.items()]
        return f"Rare and popular are told apart by {'; by '.join(phrases)}." if phrases else ""

    def tables(self) -> list[File]:
        """The files of all splits."""
        return [file for splits in self.configs.values() for file in splits.values()]

    def whole(self, config: str) -> File | None:
        """The file of a configuration that has only one; None where the release lacks it."""
        return self.configs.get(config, {}).get(WHOLE)

    def file(self, config: str, split: str) -> File:
        """The file of a split. Raises InputError, which lists the alternatives, where there is none."""
        declared = self.declared()
        if config not in declared:
            reason = f" ({self.absent[config]})" if config in self.absent else ""
            raise InputError(f"{config}: no such configuration{reason}; there are: {', '.join(declared)}")
        splits = declared[config]
        if split not in splits:
            raise InputError(f"{split}: no such split of {config}; there are: {', '.join(splits)}")
        return splits[split]


class Place(NamedTuple):
    """The location of a release: a folder, or a dataset of the Hub at a revision."""

    folder: Path | None = None
    repository: str = ""
    revision: str | None = None
    endpoint: str | None = None

    def __str__(self) -> str:
        if self.folder is not None:
            return str(self.folder)
        return written(self.repository, self.revision)

    def file(self, path: str) -> Path:
        """A local path of the release's file; from the Hub it is downloaded to the Hub client's cache."""
        if self.folder is not None:
            return self.folder / path
        return downloaded(self.repository, self.revision, path, endpoint=self.endpoint)


def locate(target: str | Path, revision: str | None = None, *, endpoint: str | None = None) -> Place:
    """The place that `target` names: a folder, `owner/name` or `owner/name@revision`.

    Raises InputError where it is neither.
    """
    if target == "":
        raise InputError("an empty text names no release folder and no Hub dataset")
    path = Path(target)
    expect_utf_8(path)
    if path.is_dir():
        if revision:
            raise InputError(f"{target}: is a folder, which has no revisions; leave revision out")
        return Place(folder=path)
    if path.exists():
        raise InputError(f"{target}: is a file; name the folder of the release")
    name, _, target_revision = str(target).partition("@")
    if isinstance(target, Path) or not is_repository(name):
        raise InputError(f"{target}: no such release folder, and not the name of a Hub dataset (owner/name[@revision])")
    if not target_revision and not revision:
        expect_no_folder(name)
    if target_revision and revision and target_revision != revision:
        raise InputError(f"{target}: names the revision {target_revision}, but {revision} is asked for")
    return Place(repository=name, revision=revision or target_revision or None, endpoint=endpoint)


def read_release(place: Place) -> Release:
    """The manifest of the release. Raises InputError where there is none that can be read."""
    path = place.file(MANIFEST)
    try:
        text = path.read_bytes()
        if (version := _Format.model_validate_json(text).format) != FORMAT:
            raise InputError(f"{place}: {MANIFEST} has format {version}; this version reads {FORMAT}")
        release = Release.model_validate_json(text)
    except (FileNotFoundError, NotADirectoryError):
        is_absent = place.folder is not None and not place.folder.exists()
        fault = "no such folder" if is_absent else f"holds no {MANIFEST}"
        raise InputError(f"{place}: {fault}; {_advice(place)}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(
            f"{place}: {MANIFEST} is not that of a release ({count(error.error_count(), 'fault')}; first: "
            f"{where and f'{where}: '}{first['msg']}); {_advice(place)}"
        ) from None
    return release


def _advice(place: Place) -> str:
    """What to do about a place that is no release: perhaps it is the folder of the build that holds one."""
    if place.folder is not None and (place.folder / RELEASE / MANIFEST).is_file():
        return f"the release is {place.folder / RELEASE}"
    own = "" if place.folder is None else command_for(place.folder, "release")
    return f"make a release with: {own or 'dual-data release'}"


def read_table(place: Place, file: File) -> pl.DataFrame:
    """A table of the release. Raises InputError where its bytes are not what was released."""
    return pl.read_parquet(checked(place, file), glob=False)


def checked(place: Place, file: File) -> Path:
    """The file of a table on this machine. Raises InputError where its bytes are not what was released."""
    path = place.file(file.path)
    if not path.is_file():
        raise InputError(f"{place}: {file.path} is missing")
    if file_hash(path) != file.sha256:
        raise InputError(f"{place}: {file.path} is not what was released; {how_to_get_again(place, path)}")
    return path


def expect_unchanged(place: Place, release: Release) -> None:
    """Raise InputError where a table of a release in a folder is not what was released.

    A version on the Hub does not change, and checking it would download all files.
    """
    if place.folder is not None:
        for file in release.tables():
            checked(place, file)


def how_to_get_again(place: Place, path: Path) -> str:
    """What to do about a file that is not what was released; the Hub's client never downloads again what it has."""
    if place.folder is not None:
        return "get or build it again"
    return f"if its download was damaged, delete {path.resolve()} and try again"


def load(
    config: str,
    split: str,
    *,
    revision: str | None = None,
    source: str | Path | None = None,
    endpoint: str | None = None,
) -> pl.DataFrame:
    """A split of a released dataset as a polars frame.

    `source` is a release folder or a Hub dataset (`owner/name` or `owner/name@revision`); by default what the
    environment variable DUAL_DATA_DATASET names. `revision` is a tag, branch or commit of the Hub dataset; results
    should name a tag. `endpoint` is the Hub's address, by default that of huggingface_hub.

    Raises InputError for an unknown source, configuration or split, ServiceError where the Hub does not answer.

    >>> load("matched", "city_forget_rare_5", source="owner/dual", revision="v1.0.0")  # doctest: +SKIP
    """
    source = source or os.environ.get(SOURCE)
    if not source:
        raise InputError(f"no dataset is named: give source=, or set {SOURCE} to a folder or to owner/name[@revision]")
    place = locate(source, revision, endpoint=endpoint)
    return read_table(place, read_release(place).file(config, split))
