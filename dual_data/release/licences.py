"""The licences of a release and their notices."""

from __future__ import annotations

from importlib.resources import files

from dual_data.released import Release

WIKIDATA = "cc0-1.0"
_SNAPSHOT = "dual_data.sources.embedded"


def licences(release: Release) -> list[str]:
    """Identifiers in the Hub's spelling: that of the profile, and those of the snapshot's sources if it was read."""
    if not release.state.snapshot:
        return [release.about.licence]
    from dual_data.sources.embedded import EmbeddedGraph

    sources = {str(source["licence"]).lower() for source in EmbeddedGraph().sources["sources"].values()}
    return sorted({release.about.licence, *sources})


def notices(release: Release) -> dict[str, str]:
    """Texts that must accompany the rows, by path: the snapshot's sources and their licences."""
    if not release.state.snapshot:
        return {}
    folder = files(_SNAPSHOT)
    texts = sorted(folder.joinpath("licenses").iterdir(), key=lambda text: text.name)
    return {
        "sources/SOURCES.md": folder.joinpath("SOURCES.md").read_text(encoding="utf-8"),
        **{f"sources/{text.name}": text.read_text(encoding="utf-8") for text in texts},
    }
