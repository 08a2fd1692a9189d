"""The weights of local models, as inputs of the stages that ask them: new ones make such a stage stale."""

from __future__ import annotations

from collections.abc import Iterable


def name_of(spec: str) -> str:
    """How a manifest calls the weights of a model."""
    return f"weights of {spec}"


def seen(spec: str) -> str | None:
    """Their identity, where files on this machine tell it; the model is not opened."""
    from dual_data.evaluation.models.cache import weights_seen

    return weights_seen(spec)


def sources(specs: Iterable[str | None]) -> dict[str, str | None]:
    """The identities by name, of the specs that are given."""
    return {name_of(spec): seen(spec) for spec in specs if spec is not None}
