"""The text of a plan: stages, reasons, calls to make and calls in the log, tokens."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from dual_data.cli.text import table
from dual_data.config import Pace
from dual_data.engine.plan import Step, plan
from dual_data.engine.run import read_rows
from dual_data.engine.stage import Forecast, Tools
from dual_data.errors import DualDataError
from dual_data.project import Project

MINUTES = 60


def planned(project: Project, wanted: Sequence[str], limit: int | None) -> str:
    """What a build would do, without touching anything: no file is written and no service asked."""
    tools = project.tools(limit=limit, read_only=True)
    try:
        steps = plan(project.stages, project.root, project.profile, limit)
        needed = _needed(steps, wanted)
        rows = [(step.stage.name, "run" if step.reason else "current", step.reason) for step in needed]
        forecasts = [(step, forecast) for step in needed if step.reason for forecast in _forecast(step, project, tools)]
    finally:
        tools.calls.close()
    parts = [table(("stage", "state", "why"), rows)]
    if forecasts:
        lines = [
            (step.stage.name, f.source, f.calls - f.in_log, f.in_log, f.tokens or None, _duration(f, project), f.note)
            for step, f in forecasts
        ]
        parts.append(table(("stage", "source", "calls to make", "in log", "tokens", "at least", "note"), lines))
        if assumptions := _assumptions([forecast for _, forecast in forecasts], project):
            parts.append("\n".join(assumptions))
    elif any(step.reason for step in needed):
        parts.append("No call is needed.")
    else:
        parts.append("Nothing to do.")
    return "\n\n".join(parts)


def _needed(steps: Sequence[Step], wanted: Sequence[str]) -> list[Step]:
    names = set(wanted)
    for step in reversed(steps):
        if step.stage.name in names:
            names.update(step.stage.inputs)
    return [step for step in steps if step.stage.name in names]


def _forecast(step: Step, project: Project, tools: Tools) -> list[Forecast]:
    """The stage's own forecast, from the inputs that stand on disk; a note where they are not there yet."""
    stage = step.stage
    if stage.forecast is None:
        return []
    params = project.profile.params(stage.name, stage.params)
    inputs: dict[str, pl.DataFrame] = {}
    for name in stage.inputs:
        try:
            inputs[name] = read_rows(project.root, project.profile, name)
        except DualDataError:
            if stage.outlook is not None and (found := stage.outlook(params, tools, project.profile)) is not None:
                return found
            return [Forecast("-", 0, 0, note=f"known once {name} is built")]
    forecasts = stage.forecast(params, tools, **inputs)
    if step.basis is None:
        return [f._replace(note="; ".join(filter(None, (f.note, "from the inputs as they stand")))) for f in forecasts]
    return forecasts


def _duration(forecast: Forecast, project: Project) -> str:
    """The least time that the pace of the source allows."""
    pace = _pace(forecast.source, project)
    if pace is None or pace.per_minute is None:
        return ""
    return _shown(max(0, forecast.calls - forecast.in_log) / pace.per_minute)


def _assumptions(forecasts: Sequence[Forecast], project: Project) -> list[str]:
    """The sum of the least times, and what each rests on."""
    minutes: dict[str, float] = {}
    lines = []
    for forecast in forecasts:
        pace = _pace(forecast.source, project)
        if pace is not None and pace.per_minute is not None:
            made = max(0, forecast.calls - forecast.in_log)
            minutes[forecast.source] = minutes.get(forecast.source, 0.0) + made / pace.per_minute
    for source in minutes:
        pace = _pace(source, project)
        assert pace is not None
        line = f"  {source}: {pace.per_minute} requests in any minute, {pace.concurrency} at a time (services.pace)"
        lines.append(line + "".join(f"; {words}" for words in [_GRANTED.get(source)] if words))
    if not lines:
        return []
    total = _shown(sum(minutes.values()))
    head = f"At least {total} by these limits, one stage after the other; slow answers, pauses and retries come on top:"
    unlimited = sorted({f.source for f in forecasts if f.calls > f.in_log} - set(minutes))
    free = [f"  {', '.join(unlimited)}: no limit of requests is set, so as long as it takes"] if unlimited else []
    return [head, *lines, *free]


_GRANTED = {
    "wikidata": "the service grants 60 s of processing a minute, so a query may take 2 s on average",
    "wikipedia": "the service grants 200 a minute to a client that names a contact",
}
"""What the public services grant; what a profile sets for others is its own affair."""


def _pace(source: str, project: Project) -> Pace | None:
    paces = project.profile.services.pace
    return paces.get(source) or paces.get(source.split(":", maxsplit=1)[0])


def _shown(minutes: float) -> str:
    return f"{minutes / MINUTES:.1f} h" if minutes >= MINUTES else f"{minutes:.0f} min"
