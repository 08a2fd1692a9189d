"""Which engine serves a model: the fast one where it gives the model's own logits, else the plain one."""

from __future__ import annotations

from contextlib import nullcontext
from statistics import fmean

import torch

from dual_data.evaluation.device.memory import is_out_of_memory
from dual_data.evaluation.device.sharding import can_record, refuse_if_shared
from dual_data.evaluation.measuring.engine import Engine
from dual_data.evaluation.measuring.fast import FastEngine
from dual_data.evaluation.measuring.plain import PlainEngine
from dual_data.evaluation.models.loading import Loaded
from dual_data.evaluation.models.trial_text import plain_text, trial_key
from dual_data.evaluation.rows.request import Answer, Request
from dual_data.evaluation.training.lora import Adapters

_NO_CACHE: dict[str, str] = {}
_NO_GRAPHS: dict[str, str] = {}
"""Why the fast engine does not serve a kind of model, and why its decoding steps are not replayed; empty where it does
and they are."""


def open_engine(
    loaded: Loaded,
    adapters: Adapters | None = None,
    *,
    rows: int = 64,
    max_new_tokens: int = 64,
    graphs: bool | None = None,
) -> Engine:
    """The engine for a model, chosen by trying; `notes` of a plain one says why it was needed.

    `graphs` is whether decoding steps are replayed as CUDA graphs; None for whenever the model is on a GPU and whole
    there.
    """
    kind = trial_key(loaded.model)
    wanted = can_record(loaded.device) if graphs is None else graphs
    # Many adapters take no batch of two rows, and what is tried is the model, not what an adapter made of it.
    with adapters.disabled() if adapters is not None else nullcontext():
        if kind not in _NO_CACHE:
            _NO_CACHE[kind] = why_not_fast(loaded)
        if wanted and not _NO_CACHE[kind] and kind not in _NO_GRAPHS:
            _NO_GRAPHS[kind] = why_no_graphs(loaded)
    if no_cache := _NO_CACHE[kind]:
        refuse_if_shared(loaded.model, no_cache)
        plain = PlainEngine(loaded, adapters, rows=rows, max_new_tokens=max_new_tokens)
        plain.notes.append(f"slow evaluation: {no_cache}")
        return plain
    no_graphs = _NO_GRAPHS[kind] if wanted else ""
    engine = FastEngine(loaded, adapters, rows=rows, max_new_tokens=max_new_tokens, graphs=wanted and not no_graphs)
    if no_graphs:
        engine.notes.append(f"decoding without CUDA graphs: {no_graphs}")
    return engine


def why_not_fast(loaded: Loaded) -> str:
    """Why the static cache does not serve this model; empty where it does.

    Two prompts of different lengths with a common start: the fast engine's log-probabilities of their answers must be
    the plain one's, to rounding.
    """
    requests = [request._replace(generate=False) for request in _short(loaded)]
    plain = PlainEngine(loaded, rows=2).run(requests)[0]
    try:
        fast = FastEngine(loaded, rows=2, graphs=False).run(requests)[0]
    except _UNABLE as error:
        return f"{type(loaded.model).__name__} does not take a static cache ({_told(error)})"
    tolerance = 1e-3 if loaded.model.dtype == torch.float32 else 0.25
    apart = fmean(
        abs(one - two)
        for a, b in zip(plain, fast, strict=True)
        for one, two in zip(a.scores[0].log_p, b.scores[0].log_p, strict=True)
    )
    if not apart <= tolerance:
        return f"{type(loaded.model).__name__} gives other log-probabilities with a static cache (by {apart:.2g})"
    return ""


def why_no_graphs(loaded: Loaded) -> str:
    """Why a decoding step of this model cannot be recorded as a CUDA graph; empty where it can."""
    endless = loaded._replace(info=loaded.info._replace(stop_ids=()))
    try:  # the first step is eager, the second recorded, the third replayed
        FastEngine(endless, rows=2, max_new_tokens=4, graphs=True).run(_short(loaded))
    except _UNABLE as error:
        return f"a step of {type(loaded.model).__name__} is not recorded ({_told(error)})"
    return ""


_UNABLE = (TypeError, AttributeError, ValueError, RuntimeError, KeyError, IndexError)


def _told(error: Exception) -> str:
    if is_out_of_memory(error):  # says nothing about the architecture
        raise error
    return f"{type(error).__name__}: {error}"


def _short(loaded: Loaded) -> list[Request]:
    """Two prompts of different lengths with a common start, each with an answer of twelve tokens."""
    ids = plain_text(loaded, 26)
    return [Request(ids[:size], (Answer(ids[size : size + 12], 12),)) for size in (10, 14)]
