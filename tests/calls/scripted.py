"""Services that answer as a test says."""

from __future__ import annotations

from typing import Any

import pytest


def never() -> Any:
    pytest.fail("an answered call was made again")


class Flaky:
    """Fails as scripted, then answers."""

    def __init__(self, *failures: Exception) -> None:
        self.failures, self.tries = list(failures), 0

    def __call__(self) -> str:
        self.tries += 1
        if self.failures:
            raise self.failures.pop(0)
        return "answer"
