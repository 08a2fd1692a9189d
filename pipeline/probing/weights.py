"""Local models of the stages that ask them: whether a name is one, what loading takes, and which weights it has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated

from pydantic import Field, PlainSerializer

from dual_data.calls.fetching import Calls
from dual_data.config import Strict
from dual_data.engine.stage import Lack
from dual_data.errors import ConfigError
from dual_data.evaluation.models.cache import missing_packages, weights_seen
from dual_data.evaluation.models.names import name_fault, public_name
from dual_data.sources.chat.local import LocalChat, recall_local

LocalSpec = Annotated[str, Field(min_length=1), PlainSerializer(public_name)]
"""A name or folder, as the evaluation opens models. A manifest keeps no path of this machine, and a stage does not run
again where the folder was moved: its weights are among the stage's sources."""


def name_of(spec: str) -> str:
    """The name of a model's weights in a manifest."""
    return f"weights of {public_name(spec)}"


def source_of(spec: str) -> str:
    """The source of a model's answers in the call log, as `LocalChat` has it; a plan names it before that is opened."""
    return f"local:{public_name(spec)}"


def recalled(spec: str, calls: Calls) -> LocalChat:
    """The model for a plan, which loads none."""
    return recall_local(spec, public_name(spec), calls, weights_seen(spec))


def expect_model(spec: str | None, key: str) -> None:
    """Raise ConfigError where `spec`, the value of `key`, can be no model."""
    if spec is not None and (fault := name_fault(spec)):
        raise ConfigError(fault, key=key)


def lacks(spec: str | None, params: Strict) -> Iterator[Lack]:
    """The packages that loading a model takes; `params` are those of a stage that asks this model alone."""
    if spec is not None:
        yield from (Lack(fault, params) for fault in missing_packages(spec=spec))


def embedding_lacks(params: Strict) -> Iterator[Lack]:
    """The packages that the sentence embedding takes, which a stage that needs it opens before it asks a model."""
    yield from (Lack(fault, params, always=True) for fault in missing_packages(embedding=True))


def sources(specs: Iterable[str | None]) -> dict[str, str | None]:
    """The identities of the weights by name; a spec of None is left out."""
    return {name_of(spec): weights_seen(spec) for spec in specs if spec is not None}
