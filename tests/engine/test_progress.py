"""Progress on a terminal."""

from __future__ import annotations

import contextlib
import io

from dual_data.engine.progress import TerminalProgress


class Terminal(io.StringIO):
    """A terminal that records its output."""

    def isatty(self) -> bool:
        return True


def test_a_label_is_no_markup() -> None:
    with contextlib.redirect_stderr(Terminal()) as terminal, TerminalProgress().task("model m[/b]", total=3) as advance:
        advance(1)
    assert "model m[/b] " in terminal.getvalue()
    assert "1/3" in terminal.getvalue()
