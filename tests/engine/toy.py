"""A minimal pipeline of two stages with one fake service."""

from __future__ import annotations

from pathlib import Path

import dataframely as dy
import polars as pl
from pydantic import Field

from dual_data.calls.fetching import Calls
from dual_data.config import Profile, Services, Strict
from dual_data.engine.stage import Forecast, Result, Stage, Tools
from tests.tools import without_models


class Numbers(dy.Schema):
    """Rows of `numbers`."""

    n = dy.Int64(primary_key=True)
    square = dy.Int64(max=50)


class Totals(dy.Schema):
    """Rows of `totals`."""

    parity = dy.Int64(primary_key=True)
    total = dy.Int64()


class NumbersParams(Strict):
    """How many numbers, and which one is rejected."""

    count: int = 10
    drop: int = 4
    folder: str = Field(default="", exclude=True)


class TotalsParams(Strict):
    """No parameters."""


def numbers(params: NumbersParams, tools: Tools) -> pl.DataFrame:
    """Asks a service for squares; one number is rejected by the stage, those above 50 by the schema."""
    requests = [{"n": n} for n in range(tools.limit or params.count)]
    squares = tools.calls.fetch_all("squares", requests, lambda request: request["n"] ** 2)
    reason = [None if request["n"] != params.drop else "unlucky" for request in requests]
    return pl.DataFrame({"n": [r["n"] for r in requests], "square": squares, "reason": reason})


def forecast(params: NumbersParams, tools: Tools) -> list[Forecast]:
    """One call for each number."""
    requests = [{"n": n} for n in range(tools.limit or params.count)]
    return [Forecast("squares", len(requests), len(requests) - len(tools.calls.missing("squares", requests)))]


def totals(params: TotalsParams, tools: Tools, *, numbers: pl.DataFrame) -> Result:
    """Sums by parity, and a further table."""
    frame = numbers.group_by(parity=pl.col("n") % 2).agg(total=pl.len().cast(pl.Int64))
    return Result(frame, {"extra/list": numbers.select("n")})


NUMBERS = Stage(
    "numbers",
    1,
    numbers,
    Numbers,
    NumbersParams,
    files=("pipeline/words/*.txt",),
    services=("sparql",),
    forecast=forecast,
)
TOTALS = Stage("totals", 1, totals, Totals, TotalsParams, inputs=("numbers",))
PIPELINE = (NUMBERS, TOTALS)


def project(root: Path) -> Path:
    """A folder with the files that the toy stages read."""
    (root / "pipeline" / "words").mkdir(parents=True)
    (root / "pipeline" / "words" / "a.txt").write_text("a")
    return root


def profile(**stages: dict[str, object]) -> Profile:
    """A profile with these stage tables."""
    return Profile(path=Path("pipeline/toy.toml"), name="toy", services=Services(), stages=stages)


def tools(root: Path, limit: int | None = None, *, offline: bool = False) -> Tools:
    """Tools with a call log of their own."""
    return without_models(root, Services(), Calls(root / "artifacts" / "toy" / "calls.sqlite", offline=offline), limit)
