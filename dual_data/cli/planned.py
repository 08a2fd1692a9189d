"""The text of a plan: stages, reasons, calls to make and calls in the log, tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

from dual_data.cli.outdated import edited_code
from dual_data.cli.text import table
from dual_data.config import Pace
from dual_data.engine.plan import Step, expect_sound, plan
from dual_data.engine.run import lacking, read_rows
from dual_data.engine.stage import Forecast, Tools, needed
from dual_data.errors import DualDataError
from dual_data.project.loading import Project
from dual_data.text.display import count

_GRANTED = {
    "wikidata": "the service grants 60 s of processing a minute, so a query may take 2 s on average",
    "wikipedia": "the service grants 200 a minute to a client that names a contact",
}
"""Limits of the public services."""


def planned(project: Project, wanted: Sequence[str], limit: int | None, *, offline: bool, rerun: bool) -> str:
    """What a build would do; writes no file and calls no service."""
    tools = project.tools(limit=limit, read_only=True)
    with tools.calls, project.profile.named_in_errors():
        steps = plan(needed(project.stages, wanted), project.root, project.profile, limit, rerun=rerun)
        expect_sound(steps, project.root, project.profile, offline=offline)
        lacks = [] if offline else lacking(steps, tools, project.profile)
        forecasts = [(step, forecast) for step in steps if step.reason for forecast in _forecast(step, project, tools)]
    states = [(step.stage.name, "run" if step.reason else "current", step.reason) for step in steps]
    parts = [table(("stage", "state", "why"), states), *edited_code(steps)]
    if forecasts:
        pace = tools.calls.pace
        lines = [
            (step.stage.name, f.source, f.to_make, f.in_log, f.tokens or None, _shown(_minutes(f, pace)), f.note)
            for step, f in forecasts
        ]
        parts.append(table(("stage", "source", "calls to make", "in log", "tokens", "at least", "note"), lines))
        if limits := _limits([forecast for _, forecast in forecasts], pace):
            parts.append("\n".join(limits))
    elif any(step.reason for step in steps):
        parts.append("No stage foresees a call.")
    else:
        parts.append("Nothing to do.")
    if offline and (to_make := sum(forecast.to_make for _, forecast in forecasts)):
        parts.append(
            f"A build will stop: {count(to_make, 'call')} {'is' if to_make == 1 else 'are'} not in the call log."
        )
    if lacks:
        parts.append("\n  ".join(["A build will refuse to start:", *lacks]))
    return "\n\n".join(parts)


def _forecast(step: Step, project: Project, tools: Tools) -> list[Forecast]:
    """The stage's own forecast, from the inputs on disk; an estimate or a note if one is missing."""
    stage = step.stage
    if stage.forecast is None:
        return []
    params = project.profile.params(stage.name, stage.params)
    inputs: dict[str, pl.DataFrame] = {}
    for name in stage.inputs:
        try:
            inputs[name] = read_rows(project.root, project.profile, name)
        except DualDataError:
            if stage.outlook is not None and (estimate := stage.outlook(params, tools, project.profile)) is not None:
                return estimate
            return [Forecast("-", 0, 0, note=f"known once {name} is built")]
    forecasts = stage.forecast(params, tools, **inputs)
    if step.basis is None:
        return [f._replace(note="; ".join(filter(None, (f.note, "from the present inputs")))) for f in forecasts]
    return forecasts


def _minutes(forecast: Forecast, pace: Callable[[str], Pace]) -> float | None:
    """The least time in minutes by the pace of the source; None if it sets no limit."""
    per_minute = pace(forecast.source).per_minute
    return None if per_minute is None else forecast.to_make / per_minute


def _limits(forecasts: Sequence[Forecast], pace: Callable[[str], Pace]) -> list[str]:
    """Lines with the sum of the least times, and the limits behind them."""
    minutes: dict[str, float] = {}
    for forecast in forecasts:
        if forecast.to_make and (least := _minutes(forecast, pace)) is not None:
            minutes[forecast.source] = minutes.get(forecast.source, 0.0) + least
    if not minutes:
        return []
    total = _shown(sum(minutes.values()))
    lines = [
        f"At least {total} by these limits, one stage after the other; slow answers, pauses and retries come on top:"
    ]
    for source in minutes:
        per_minute, concurrency = pace(source).per_minute, pace(source).concurrency
        line = f"  {source}: {per_minute} requests in any minute, {concurrency} at a time (services.pace)"
        lines.append(f"{line}; {_GRANTED[source]}" if source in _GRANTED else line)
    if unlimited := sorted({forecast.source for forecast in forecasts if forecast.to_make} - set(minutes)):
        lines.append(f"  {', '.join(unlimited)}: no limit of requests is set, so the time is unknown")
    return lines


def _shown(minutes: float | None) -> str:
    if minutes is None:
        return ""
    return f"{minutes / 60:.1f} h" if minutes >= 60 else f"{minutes:.0f} min"
