"""Provenance of the build: fingerprints, hashes, versions, calls, parameters."""

from __future__ import annotations

from collections.abc import Mapping

from dual_data.engine.manifest import Manifest, git_text
from dual_data.report.read import Built
from dual_data.report.tables import Section, code, folded, paragraph, table
from dual_data.text.markup import Html, element, joined


def section(built: Built) -> Section:
    """The contents of the manifests."""
    manifests = built.manifests
    stages, tables, calls = [], [], []
    for name, manifest in manifests.items():
        basis, build = manifest.basis, manifest.build
        commit = git_text(build.get("git")) or None
        stages.append((name, basis.version, basis.limit, build.get("built_at"), build.get("seconds"), commit))
        for entry, outcome in manifest.outcome.items():
            tables.append((f"{name}/{entry}", outcome.rows, _hash(outcome.content)))
        for source, counts in manifest.calls.items():
            calls.append((name, source, counts.made, counts.replayed, counts.failed))
    parts = [
        paragraph(
            "The content hash of a table depends on its rows alone: the same call log gives the same hash on any "
            "machine. Hashes are SHA-256; the first 16 digits are shown."
        ),
        table("Stages", ("stage", "version", "limit", "built (UTC)", "seconds", "commit"), stages),
        table("Tables and their content hashes", ("table", "rows", "content"), tables),
    ]
    if calls:
        parts.append(
            table("Calls of the last run of each stage", ("stage", "source", "made", "replayed", "failed"), calls)
        )
    else:
        parts.append(paragraph("No stage made or replayed a call to a service or a model."))
    parts.append(_software(manifests))
    bases = (_basis(name, manifest) for name, manifest in manifests.items())
    parts.append(folded("Parameters, services and inputs of every stage", *bases))
    return Section("provenance", "Provenance", tuple(parts))


def _hash(text: str) -> Html:
    return element("code", text[:16], title=text)


def _software(manifests: Mapping[str, Manifest]) -> Html:
    """Versions by package; several if stages were built with different ones."""
    versions_by_package: dict[str, set[str]] = {}
    for manifest in manifests.values():
        build = manifest.build
        own = {"dual-data": build.get("dual_data"), "Python": build.get("python"), "platform": build.get("platform")}
        for name, version in {**own, **build.get("packages", {})}.items():
            if version:
                versions_by_package.setdefault(name, set()).add(str(version))
    rows = [(name, ", ".join(sorted(versions))) for name, versions in versions_by_package.items()]
    return table("Software", ("package", "version"), rows)


def _basis(name: str, manifest: Manifest) -> Html:
    basis = manifest.basis.model_dump(mode="json")
    fields = {key: basis[key] for key in ("params", "services", "sources", "inputs") if basis[key]}
    return joined(
        element("h3", name),
        paragraph("Fingerprint ", _hash(manifest.fingerprint)),
        code(fields, f"Basis of {name}") if fields else None,
        folded(f"{len(basis['files'])} files", code(basis["files"], f"Files of {name}")) if basis["files"] else None,
    )
