"""Manifests that tell whether they were edited since they were written."""

from __future__ import annotations

import json
from typing import Self

from dual_data.config import Strict
from dual_data.ids import canonical, digest


class Sealed(Strict):
    """Base of the manifests."""

    seal: str = ""
    """Hash of all other fields; empty before `sealed`."""

    def sealed(self) -> Self:
        """The manifest with its seal."""
        return self.model_copy(update={"seal": self._expected_seal()})

    def text(self) -> str:
        """The sealed manifest as JSON, as it is written."""
        return json.dumps(self.sealed().model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"

    def is_edited(self) -> bool:
        """Whether the fields are not those that were sealed."""
        return self.seal != self._expected_seal()

    def _expected_seal(self) -> str:
        return digest(canonical(self.model_dump(mode="json", exclude={"seal"})), 64)
