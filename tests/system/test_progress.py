"""Progress on a terminal."""

from __future__ import annotations

import contextlib
import io

import pytest

from dual_data.system import progress
from dual_data.system.progress import TerminalProgress, duration


class Terminal(io.StringIO):
    """A terminal that records its output."""

    def isatty(self) -> bool:
        return True


def test_a_label_is_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("TTY_COMPATIBLE", raising=False)
    with contextlib.redirect_stderr(Terminal()) as terminal, TerminalProgress().task("model m[/b]", total=3) as advance:
        advance(1)
    assert "model m[/b] " in terminal.getvalue()
    assert "1/3" in terminal.getvalue()


def test_a_terminal_that_draws_no_bar_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(progress, "LINE_EVERY", 0)
    with contextlib.redirect_stderr(Terminal()) as terminal, TerminalProgress().task("facts", total=3) as advance:
        advance(1)
    assert terminal.getvalue() == "facts: 1/3 after 0 s\n"


def test_a_time_is_said_in_the_unit_that_suits_it() -> None:
    assert [duration(seconds) for seconds in (59, 61, 7199, 7201)] == [
        "less than a minute", "about 1 min", "about 120 min", "about 2.0 h",
    ]  # fmt: skip
