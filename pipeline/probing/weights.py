"""Local models of the stages that ask them: whether a name is one, and the weights, which are inputs of the stages."""

from __future__ import annotations

from collections.abc import Iterable

from dual_data.errors import ConfigError
from dual_data.evaluation.models.cache import weights_seen
from dual_data.evaluation.models.names import name_fault


def name_of(spec: str) -> str:
    """The name of a model's weights in a manifest."""
    return f"weights of {spec}"


def expect_model(spec: str | None, key: str) -> None:
    """Raise ConfigError where `spec`, the value of `key`, can be no model."""
    if spec is not None and (fault := name_fault(spec)):
        raise ConfigError(fault, key=key)


def sources(specs: Iterable[str | None]) -> dict[str, str | None]:
    """The identities of the weights by name; a spec of None is left out."""
    return {name_of(spec): weights_seen(spec) for spec in specs if spec is not None}
