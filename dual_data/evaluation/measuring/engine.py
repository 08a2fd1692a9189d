"""What the fast and the plain engine share: how they are opened, asked, and made smaller when memory runs out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch

from dual_data.evaluation.device.memory import CRAMPED, OutOfMemory, release
from dual_data.evaluation.device.sharding import stay_in_step
from dual_data.evaluation.measuring.score import Comparison, Reference
from dual_data.evaluation.models.loading import Loaded
from dual_data.evaluation.rows.request import Outcome, Request
from dual_data.evaluation.training.lora import Adapters


class Engine(ABC):
    """Runs requests through one model, alone or with adapters.

    `rows` is the batch of one adapter; out of memory halves it and goes on, which `notes` says.
    """

    def __init__(
        self, loaded: Loaded, adapters: Adapters | None = None, *, rows: int, max_new_tokens: int = 64
    ) -> None:
        self.loaded, self.adapters = loaded, adapters
        self.rows, self.max_new_tokens = rows, max_new_tokens
        self.notes: list[str] = []

    @property
    def cells(self) -> int:
        """How many adapters are served; one for the base alone."""
        return self.adapters.active if self.adapters is not None and self.adapters.enabled else 1

    @torch.no_grad()
    def run(
        self,
        requests: Sequence[Request],
        *,
        reference: Reference | None = None,
        keep: Reference | None = None,
        advance: Callable[[int], None] = lambda _: None,
    ) -> list[list[Outcome]]:
        """Outcomes [cells][requests], in the order asked.

        With `reference`, the first answer of each request is compared with what it holds; `keep` is filled for later
        runs (of the first cell). Raises OutOfMemory where even one row does not fit.
        """
        return self._run(requests, Comparison(reference, keep), advance)

    @abstractmethod
    def _run(
        self, requests: Sequence[Request], compared: Comparison, advance: Callable[[int], None]
    ) -> list[list[Outcome]]:
        """The same, where no gradient is kept."""

    def halve(self) -> None:
        """Take half as many rows at once from here on."""
        stay_in_step()
        if self.rows == 1:
            raise OutOfMemory(CRAMPED)
        self.rows //= 2
        release()
        self.notes.append(f"out of memory: evaluation batch halved to {self.rows}")
