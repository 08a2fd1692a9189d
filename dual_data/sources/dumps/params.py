"""What a profile says about reading dumps."""

from __future__ import annotations

from typing import Annotated, Literal

from dual_data.config import Strict, matching

_MASTER = matching(r"local(\[.+\])?|yarn|(spark|k8s)://.+", "a master of Spark such as local[*] or spark://HOST:7077")


class EngineParams(Strict):
    """What reads the tables of imported dumps; the rows are the same either way."""

    engine: Literal["polars", "spark"] = "polars"
    """polars: this machine, streaming from disk; spark: PySpark (extra `spark`)."""
    master: Annotated[str, _MASTER] = "local[*]"
    """spark: URL of the cluster's master. Every worker must see the folder of the dumps under the same path."""
