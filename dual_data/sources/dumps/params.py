"""What a profile says about reading dumps."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dual_data.config import Strict


class EngineParams(Strict):
    """What runs the relational part over imported dumps; the rows are the same either way."""

    engine: Literal["polars", "spark"] = "polars"
    """polars: this machine, streaming from disk; spark: PySpark (extra `spark`)."""
    master: str = Field(default="local[*]", pattern=r"^(local(\[.+\])?|yarn|(spark|k8s)://.+)$")
    """spark: URL of the cluster's master. Every worker must see the folder of the dumps under the same path."""
