"""How many tokens a model takes: longer rows are refused, since its output for them would be meaningless."""

from __future__ import annotations

from dual_data.errors import InputError
from dual_data.evaluation.models.loading import Loaded
from dual_data.evaluation.rows.workload import Workload


def check_tokens(loaded: Loaded, tokens: int, what: str) -> None:
    """Raise InputError where `what` has more tokens than the model takes."""
    limit = getattr(loaded.model.config.get_text_config(), "max_position_embeddings", None)
    if limit is not None and 0 < limit < tokens:  # -1 for an architecture without a limit
        raise InputError(
            f"{what} has {tokens} tokens, but {loaded.info.spec} takes {limit}: shorten the row or remove it"
        )


def check_workload(loaded: Loaded, workload: Workload, max_new_tokens: int) -> None:
    """Raise InputError for an item, or question of the panel, too long with its answers or its longest generation."""
    sizes = [request.tokens(max_new_tokens) for request in workload.requests]
    for name, places in workload.sets.items():
        for place in places:
            attacks = [attacked.request for attacked in place.attacks]
            most = max(sizes[index] for index in (place.canonical, *place.paraphrases, *attacks))
            check_tokens(loaded, most, f"{name}: item {place.item.id}, with its answers and what may be generated,")
    if workload.panel is not None:
        panel, requests = workload.panel
        texts = [*(choice.question for choice in panel.choices), *panel.texts]
        for text, request in zip(texts, requests, strict=True):
            what = f"the utility panel {panel.name}: {text[:40]!r}, with its options,"
            check_tokens(loaded, request.tokens(max_new_tokens), what)
