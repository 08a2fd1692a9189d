"""Which builds are of the snapshot in the package: those that read it, whatever endpoint the profile names."""

from __future__ import annotations

from pathlib import Path

import pytest

from dual_data.engine.manifest import Manifest, read_manifest
from dual_data.released import State
from tests.cli.command import dual_data, project_on_table
from tests.services import require

PROFILE = '[project]\nname = "mine"\n[services]\nsparql = "embedded"\n[facts]\n{facts}\n[links]\nmethod = "{links}"\n'
SPARQL = 'source = "sparql"\ntopics = ["places_country"]'
TABLES = 'source = "tables"\nfolder = "tables"'
TABLE = "subject_qid,subject_label,property_id,object_qid,object_label\nQ1,Orbus,P30,Q2,Selmia\nQ3,Varn,P30,Q2,Selmia\n"


def built(root: Path, facts: str, links: str) -> list[Manifest]:
    """The manifests of facts and links, built in a project with an invented table."""
    with project_on_table(root, PROFILE.format(facts=facts, links=links), TABLE):
        outcome = dual_data("build", "links", "--project", root, "--profile", "mine")
        assert outcome.code == 0, outcome.err
    manifests = [read_manifest(root / "artifacts" / "mine" / stage) for stage in ("facts", "links")]
    return [manifest for manifest in manifests if manifest]


@pytest.mark.parametrize(
    ("facts", "links", "snapshot"),
    [
        (TABLES, "none", False),
        (TABLES, "in_degree", True),
        (SPARQL, "none", True),
    ],
    ids=("a table", "a table, counted in the snapshot", "facts of the snapshot"),
)
def test_a_build_is_of_the_snapshot_if_it_read_it(tmp_path: Path, facts: str, links: str, snapshot: bool) -> None:
    try:
        import pyoxigraph  # noqa: F401
    except ImportError:
        require(False, "pyoxigraph is not installed (pip install 'dual-data[embedded]')")
    manifests = built(tmp_path / "mine", facts, links)
    assert len(manifests) == 2
    assert State.of(manifests, None).snapshot == snapshot
    undeclared = [m.model_copy(update={"basis": m.basis.model_copy(update={"sources": {}})}) for m in manifests]
    assert State.of(undeclared, None).snapshot == (facts == SPARQL), "calls to it are enough"
