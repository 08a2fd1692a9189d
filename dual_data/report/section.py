"""The sections of the page."""

from __future__ import annotations

from typing import NamedTuple

from dual_data.report.figures import Figure
from dual_data.text.markup import Html


class Section(NamedTuple):
    """A part of the page with its own heading."""

    identifier: str
    title: str
    parts: tuple[Html | Figure, ...]
