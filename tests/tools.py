"""Tools of stages that open no model."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from dual_data.calls.fetching import Calls
from dual_data.config import Services
from dual_data.engine.stage import Tools
from dual_data.errors import MissingExtra


def no_model(spec: str) -> NoReturn:
    """Opens none."""
    raise MissingExtra("torch", "eval")


def no_embedding() -> NoReturn:
    """Opens none."""
    raise MissingExtra("torch", "eval")


def without_models(project: Path, services: Services, calls: Calls, limit: int | None = None) -> Tools:
    """Tools with which a stage that opens a model fails."""
    return Tools(project, services, calls, no_model, no_embedding, limit)
