"""Chooses the engine for a model: the fast one where it gives the model's own logits, else the plain one."""

from __future__ import annotations

from contextlib import nullcontext
from statistics import fmean

import torch

from dual_data.evaluation.device.memory import is_out_of_memory
from dual_data.evaluation.device.sharding import can_record, refuse_if_shared
from dual_data.evaluation.measuring.engine import Engine
from dual_data.evaluation.measuring.fast import FastEngine
from dual_data.evaluation.measuring.plain import PlainEngine
from dual_data.evaluation.models.decoder import masks_by_column
from dual_data.evaluation.models.loading import Loaded
from dual_data.evaluation.models.trial_text import plain_text, trial_key
from dual_data.evaluation.rows.request import Answer, Request
from dual_data.evaluation.training.lora import Adapters

_NO_CACHE: dict[str, str] = {}
"""By trial key of a model, why the fast engine cannot be used; empty where it can."""


def open_engine(
    loaded: Loaded,
    adapters: Adapters | None = None,
    *,
    rows: int = 64,
    max_new_tokens: int = 64,
    graphs: bool | None = None,
) -> Engine:
    """The engine for a model, chosen by a trial; the `notes` of a plain engine say why it is needed.

    `graphs` is whether decoding steps are replayed as CUDA graphs; None for yes where the whole model is on a GPU.
    """
    key = trial_key(loaded.model)
    # Several adapters cannot run a batch of two rows, and the trial is of the model, not of an adapter.
    with adapters.disabled() if adapters is not None else nullcontext():
        if key not in _NO_CACHE:
            _NO_CACHE[key] = why_not_fast(loaded)
    if no_cache := _NO_CACHE[key]:
        refuse_if_shared(loaded.model, no_cache)
        plain = PlainEngine(loaded, adapters, rows=rows, max_new_tokens=max_new_tokens)
        plain.notes.append(f"slow evaluation: {no_cache}")
        return plain
    graphs = can_record(loaded.device) if graphs is None else graphs
    return FastEngine(loaded, adapters, rows=rows, max_new_tokens=max_new_tokens, graphs=graphs)


def why_not_fast(loaded: Loaded) -> str:
    """Why the static cache cannot be used for this model; empty where it can.

    For two prompts of different lengths with a common prefix and two answers each, the fast engine's log-probabilities
    of the answers must equal the plain engine's up to rounding.
    """
    if masks_by_column(loaded.model):  # the trial may be shorter than the window
        return f"{type(loaded.model).__name__} masks tokens by their columns in the cache"
    ids = plain_text(loaded, 38)
    requests = [
        Request(ids[:size], (Answer(ids[size : size + 12], 12), Answer(ids[size + 12 : size + 24], 12)), generate=False)
        for size in (10, 14)
    ]
    plain = PlainEngine(loaded, rows=2).run(requests)[0]
    try:
        fast = FastEngine(loaded, rows=2, graphs=False).run(requests)[0]
    except (TypeError, AttributeError, ValueError, RuntimeError, KeyError, IndexError) as error:
        if is_out_of_memory(error):  # says nothing about the architecture
            raise
        return f"{type(loaded.model).__name__} does not take a static cache ({type(error).__name__}: {error})"
    tolerance = 1e-3 if loaded.model.dtype == torch.float32 else 0.25
    difference = fmean(
        abs(expected - actual)
        for plain_outcome, fast_outcome in zip(plain, fast, strict=True)
        for plain_scores, fast_scores in zip(plain_outcome.scores, fast_outcome.scores, strict=True)
        for expected, actual in zip(plain_scores.log_p, fast_scores.log_p, strict=True)
    )
    if not difference <= tolerance:
        return f"{type(loaded.model).__name__} gives other log-probabilities with a static cache (by {difference:.2g})"
    return ""
