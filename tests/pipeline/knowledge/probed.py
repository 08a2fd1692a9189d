"""Models that tell capitals, and what the probe makes of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from dual_data.engine.stage import Tools
from dual_data.schema import Knowledge
from pipeline.knowledge import KnowledgeParams, run
from tests.pipeline import capitals
from tests.services.fake_model import FakeModel

ALL = tuple(capitals.CAPITALS.items())


def letters(texts: Sequence[str]) -> Any:
    """A stand-in for a sentence embedding: counts of letters, as unit vectors."""
    counts = np.array([[text.lower().count(chr(97 + i)) for i in range(26)] for text in texts], dtype=float) + 1e-9
    return counts / np.linalg.norm(counts, axis=1, keepdims=True)


def country_of(user: str) -> str:
    return next(name for name in capitals.CAPITALS if re.search(rf"\b{name}\b", user))


def knows(user: str, sample: int = 0) -> str:
    return f"{capitals.CAPITALS[country_of(user)]} is the city.\nThe end"


def probe(
    tools: Tools,
    model: FakeModel,
    pairs: Sequence[tuple[str, str]] = ALL,
    rules: Sequence[str] = ("matched",),
    **more: Any,
) -> dict[str, dict[str, Any]]:
    """The rows by subject (and by rule, where there are two)."""
    data = {"models": [{"name": "m", "local": model.name, "rules": rules}], **more}
    return capitals.by_subject(probed(replace(tools, open_model=lambda _: model), data, pairs), pairs)


def probed(tools: Tools, data: dict[str, Any], pairs: Sequence[tuple[str, str]] = ALL) -> pl.DataFrame:
    facts, questions = capitals.frames(pairs)
    rows = run(KnowledgeParams.model_validate(data), tools, facts=facts, questions=questions).rows
    Knowledge.validate(rows)
    return rows
