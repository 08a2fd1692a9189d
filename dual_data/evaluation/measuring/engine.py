"""What the fast and the plain engine share: construction, running, and smaller batches when memory runs out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch

from dual_data.evaluation.device.memory import half_of
from dual_data.evaluation.measuring.score import Comparison, Reference
from dual_data.evaluation.models.loading import Loaded
from dual_data.evaluation.rows.request import Outcome, Request
from dual_data.evaluation.training.lora import Adapters


class Engine(ABC):
    """Runs requests through one model, alone or with adapters.

    `rows` is the batch size of one adapter; running out of memory halves it, with an entry in `notes`.
    """

    def __init__(
        self, loaded: Loaded, adapters: Adapters | None = None, *, rows: int, max_new_tokens: int = 64
    ) -> None:
        self.loaded, self.adapters = loaded, adapters
        self.rows, self.max_new_tokens = rows, max_new_tokens
        self.notes: list[str] = []

    @property
    def adapted(self) -> Adapters | None:
        """The adapters that are run; None for the base alone."""
        return self.adapters if self.adapters is not None and self.adapters.enabled else None

    @property
    def cells(self) -> int:
        """Number of adapters that are run; 1 for the base alone."""
        return self.adapted.active if self.adapted is not None else 1

    @torch.no_grad()
    def run(
        self,
        requests: Sequence[Request],
        *,
        reference: Reference | None = None,
        keep: Reference | None = None,
        advance: Callable[[int], None] = lambda _: None,
    ) -> list[list[Outcome]]:
        """Outcomes [cells][requests], in the order of the requests.

        The first answer of each request is compared with `reference` where given; `keep` is filled with the outputs of
        the first cell, as the reference of later runs. Raises OutOfMemory where even one row does not fit.
        """
        return self._run(requests, Comparison(reference, keep), advance)

    @abstractmethod
    def _run(
        self, requests: Sequence[Request], comparison: Comparison, advance: Callable[[int], None]
    ) -> list[list[Outcome]]:
        """`run` without gradients."""

    def halve(self) -> None:
        """Halve the batch size from now on."""
        self.rows = half_of(self.rows)
        self.notes.append(f"out of memory: evaluation batch halved to {self.rows}")
