"""The weights of local models, as inputs of the stages that ask them: new weights make such a stage stale."""

from __future__ import annotations

from collections.abc import Iterable


def name_of(spec: str) -> str:
    """The name of a model's weights in a manifest."""
    return f"weights of {spec}"


def seen(spec: str) -> str | None:
    """The identity of a model's weights, if files on this machine tell it; the model is not opened."""
    from dual_data.evaluation.models.cache import weights_seen

    return weights_seen(spec)


def sources(specs: Iterable[str | None]) -> dict[str, str | None]:
    """The identities of the weights by name; a spec of None is left out."""
    return {name_of(spec): seen(spec) for spec in specs if spec is not None}
