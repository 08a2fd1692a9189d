"""Croissant 1.0 metadata of a release, with the fields of its extension for responsible AI.

Formats: https://docs.mlcommons.org/croissant/docs/croissant-spec.html and .../croissant-rai-spec.html. Every Parquet
file is listed with its hash; every configuration is a record set over its file or files.

In a folder all paths are relative to it. A pushed release is read from the Hub: single files from their address at the
tag, sets of files from the git repository, which is the only container of file sets that mlcroissant reads tables from
and is also used by the Hub's own Croissant.
"""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Any

import polars as pl

from dual_data.release.columns import describe
from dual_data.release.licences import WIKIDATA, licences
from dual_data.released import Place, Release

FILE = "croissant.json"
BASE = "croissant_base.json"
"""The parts that every release has in common: context, keywords, and the fields for responsible AI."""
MANIPULATION = "rai:dataManipulationProtocol"
PARQUET = "application/x-parquet"
CREATIVE_COMMONS = "https://creativecommons.org"
HUB = "https://huggingface.co/datasets"
GIT = "repository"

_KINDS = {pl.Boolean: "sc:Boolean", pl.Date: "sc:Date", pl.Float64: "sc:Float", pl.Float32: "sc:Float"}


def croissant(release: Release, place: Place) -> str:
    """croissant.json of the release, one JSON-LD document."""
    dates = [stage.day for stage in release.stages.values()]
    base = json.loads(files("dual_data.release").joinpath(BASE).read_text(encoding="utf-8"))
    about = release.about
    optional = {
        "citeAs": " ".join(about.citation.split()),
        "creator": {"@type": "Organization", "name": about.creator} if about.creator else "",
        "url": f"{HUB}/{release.repository}" if release.repository else about.url,
    }
    document: dict[str, Any] = {
        **base,
        "name": release.title,
        "description": " ".join([*about.description.split(), base["description"]]),
        # Ids that were minted from labels are not Wikidata's.
        "keywords": [word for word in base["keywords"] if word != "Wikidata" or not release.state.unresolved],
        MANIPULATION: f"{base[MANIPULATION]} {release.told_apart()}".strip(),
        "inLanguage": about.language,
        **{key: value for key, value in optional.items() if value},
        "license": [_licence(name) for name in licences(release)],
        "datePublished": max(dates, default=""),
        "version": release.version or "0.0.0",
        "distribution": [*_git(release), *_files(release), *_sets(release)],
        "recordSet": [_record_set(config, release, place) for config in release.configs],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _licence(name: str) -> str:
    """Address of a licence's text; for one that neither place has under this name, the name."""
    if name == WIKIDATA:
        return f"{CREATIVE_COMMONS}/publicdomain/zero/1.0/"
    if match := re.fullmatch(r"cc-(by[a-z-]*)-(\d\.\d)", name):
        return f"{CREATIVE_COMMONS}/licenses/{match[1]}/{match[2]}/"
    return f"https://spdx.org/licenses/{name.upper()}.html" if name in ("isc", "mit") else name


def _node(kind: str, identity: str, **properties: Any) -> dict[str, Any]:
    """A part of the document, whose name is its id."""
    return {"@type": kind, "@id": identity, "name": identity, **properties}


def _git(release: Release) -> list[dict[str, Any]]:
    if not release.repository:
        return []
    return [
        _node(
            "cr:FileObject",
            GIT,
            description="The git repository, at its branch main: the newest version of this dataset.",
            contentUrl=f"{HUB}/{release.repository}",
            encodingFormat="git+https",
            # A repository has no hash; the Hub and others write this address instead.
            sha256="https://github.com/mlcommons/croissant/issues/80",
        )
    ]


def _files(release: Release) -> list[dict[str, Any]]:
    base = f"{HUB}/{release.repository}/resolve/v{release.version}/" if release.repository else ""
    return [
        _node(
            "cr:FileObject",
            file.path,
            contentUrl=f"{base}{file.path}",
            contentSize=f"{file.bytes} B",
            encodingFormat=PARQUET,
            sha256=file.sha256,
        )
        for file in release.tables()
    ]


def _sets(release: Release) -> list[dict[str, Any]]:
    container = {"containedIn": {"@id": GIT}} if release.repository else {}
    return [
        _node("cr:FileSet", f"{config}-files", **container, encodingFormat=PARQUET, includes=f"{config}/*.parquet")
        for config in release.recipes()
    ]


def _record_set(config: str, release: Release, place: Place) -> dict[str, Any]:
    splits = release.configs[config]
    first = next(iter(splits.values())).path
    schema = pl.scan_parquet(place.file(first), glob=False).collect_schema()
    several = config in release.recipes()
    container = {"fileSet": {"@id": f"{config}-files"}} if several else {"fileObject": {"@id": first}}
    split = _node(
        "cr:Field",
        f"{config}/split_of_file",
        description="Name of the split.",
        dataType="sc:Text",
        source={
            **container,
            "extract": {"fileProperty": "fullpath"},
            "transform": {"regex": f"{re.escape(config)}/([^/]+)\\.parquet$"},
        },
    )
    fields = [_field(config, name, kind, container) for name, kind in schema.items()]
    return _node(
        "cr:RecordSet",
        config,
        description=f"{len(splits)} splits, {sum(file.rows for file in splits.values())} rows.",
        field=[split, *fields] if several else fields,
    )


def _field(config: str, column: str, kind: pl.DataType, container: dict[str, Any]) -> dict[str, Any]:
    identity = f"{config}/{column}"
    inner = kind.inner if isinstance(kind, pl.List) else kind
    field = _node("cr:Field", identity, description=describe(column, config) or column.replace("_", " "))
    if isinstance(kind, pl.List):
        field["repeated"] = True
    if isinstance(inner, pl.Struct):
        # The fields of a struct are extracted from the column as JSON.
        field["subField"] = [
            _node(
                "cr:Field",
                f"{identity}/{member.name}",
                dataType=_kind(member.dtype),
                source={**container, "extract": {"column": column}, "transform": {"jsonPath": member.name}},
            )
            for member in inner.fields
        ]
    else:
        field |= {"dataType": _kind(inner), "source": {**container, "extract": {"column": column}}}
    return field


def _kind(kind: Any) -> str:
    return _KINDS.get(kind.base_type(), "sc:Integer" if kind.is_integer() else "sc:Text")
