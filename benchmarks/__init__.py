"""Benchmarks: each package measures one part of the project and prints its tables."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""Folder of the repository."""


def reference(name: str) -> Path:
    """Folder of published data, such as wikidata_triplets, in the one that DUAL_DATA_REFERENCE names."""
    return Path(os.environ.get("DUAL_DATA_REFERENCE", ROOT.parent / "shared" / "data")) / name
