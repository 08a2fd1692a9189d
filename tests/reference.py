"""What others have published and some tests compare with: data next to the repository, or as variables say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REFERENCE = Path(os.environ.get("DUAL_DATA_REFERENCE", Path(__file__).resolve().parents[2] / "shared" / "data"))
"""Folder with wikidata_triplets/, duet/ and eval_logs/."""

needs_reference = pytest.mark.skipif(
    not REFERENCE.is_dir(),
    reason=f"the published data is not at {REFERENCE}; set DUAL_DATA_REFERENCE to a folder that holds it",
)

OPEN_UNLEARNING = os.environ.get("DUAL_DATA_OPEN_UNLEARNING", "")
"""A checkout of github.com/locuslab/open-unlearning."""

needs_open_unlearning = pytest.mark.skipif(
    not OPEN_UNLEARNING, reason="DUAL_DATA_OPEN_UNLEARNING names no checkout of open-unlearning"
)
