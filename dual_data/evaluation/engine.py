"""Which engine serves a model: the fast one where it gives the model's own logits, else the plain one."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import torch
from transformers import PreTrainedModel

from dual_data.evaluation.lora import Adapters
from dual_data.evaluation.models import Loaded
from dual_data.evaluation.plain import PlainEngine
from dual_data.evaluation.request import Answer, Request
from dual_data.evaluation.smaller import is_out_of_memory
from dual_data.evaluation.stream import Engine

_CHECKED: WeakKeyDictionary[PreTrainedModel, str] = WeakKeyDictionary()
"""What `why_not_fast` said: a matter of the architecture, so each model is tried once."""


def open_engine(
    loaded: Loaded,
    adapters: Adapters | None = None,
    *,
    rows: int = 64,
    max_new_tokens: int = 64,
    graphs: bool | None = None,
    hidden: bool = True,
) -> Engine | PlainEngine:
    """The engine for a model, chosen by trying; `notes` of a plain one says why it was needed.

    `graphs` is whether decoding steps are replayed as CUDA graphs; None for whenever the model is on a GPU.
    """
    if loaded.model not in _CHECKED:
        _CHECKED[loaded.model] = why_not_fast(loaded)
    reason = _CHECKED[loaded.model]
    if reason:
        plain = PlainEngine(loaded, adapters, rows=rows, max_new_tokens=max_new_tokens, hidden=hidden)
        plain.notes.append(f"slow evaluation: {reason}")
        return plain
    return Engine(loaded, adapters, rows=rows, max_new_tokens=max_new_tokens, graphs=graphs, hidden=hidden)


def why_not_fast(loaded: Loaded) -> str:
    """Why the static cache does not serve this model; empty where it does.

    Two prompts of different lengths with a common start, an answer of two tokens each: the fast engine's
    log-probabilities must be the plain one's.
    """
    last = int(loaded.model.config.get_text_config().vocab_size) - 1
    ids = [token % last for token in range(3, 15)]
    answers = (Answer((ids[0], ids[1], ids[2]), 2),)
    requests = [
        Request(tuple(ids[:5]), answers, generate=False),
        Request(tuple(ids[:4] + ids[6:]), answers, generate=False),
    ]
    plain = PlainEngine(loaded, rows=2, hidden=False).run(requests)[0]
    try:
        fast = Engine(loaded, rows=2, graphs=False, hidden=False).run(requests)[0]
    except (TypeError, AttributeError, ValueError, RuntimeError, KeyError, IndexError) as error:
        if is_out_of_memory(error):  # says nothing about the architecture
            raise
        return f"{type(loaded.model).__name__} does not take a static cache ({type(error).__name__}: {error})"
    tolerance = 1e-3 if next(loaded.model.parameters()).dtype == torch.float32 else 0.25
    worst = max(
        abs(one - two)
        for a, b in zip(plain, fast, strict=True)
        for one, two in zip(a.scores[0].log_p, b.scores[0].log_p, strict=True)
    )
    if not worst <= tolerance:
        return f"{type(loaded.model).__name__} gives other log-probabilities with a static cache (by {worst:.2g})"
    return ""
