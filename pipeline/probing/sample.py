"""The facts that models are asked about: all that can be asked, or a sample by hash."""

from __future__ import annotations

import polars as pl

from dual_data.sampling import with_rank

SALT = "sample"
"""One salt for the probe and the judge, so that a sampled fact is probed and judged."""


def sampled(questions: pl.DataFrame, sample: int | None, limit: int | None) -> pl.DataFrame:
    """The first `sample` questions (at most `limit`) by hash rank; a larger sample contains a smaller one."""
    most = min((size for size in (sample, limit) if size is not None), default=questions.height)
    return with_rank(questions, "fact_id", SALT).sort("rank", "fact_id").head(most).drop("rank")
