"""What a model is tried on before the fast paths are trusted with it, and for which models a trial holds.

Plain text and not any tokens: on tokens that make no sense together, rounding alone moves the figures of a model in
bfloat16 as far as a wrong mask would (0.3 nats a token; on text 0.04, and a wrong mask 0.5: measured on SmolLM2).
"""

from __future__ import annotations

from transformers import PreTrainedModel

from dual_data.evaluation.models.loading import Loaded

_TEXT = (
    "The sun rises in the east and sets in the west. Water freezes at zero degrees Celsius and boils at one hundred. "
    "A week has seven days, and a year has twelve months: the first of them is January, and the last is December."
)


def plain_text(loaded: Loaded, count: int) -> tuple[int, ...]:
    """So many tokens of plain English, all of which the model has."""
    ids = loaded.tokenizer(_TEXT)["input_ids"]  # with the token that a text starts with, where there is one
    size = int(loaded.model.config.get_text_config().vocab_size)
    return tuple(token % size for token in (ids * -(-count // len(ids)))[:count])


def trial_key(model: PreTrainedModel) -> str:
    """What a trial holds for, whatever the weights: a process that loads a checkpoint again does not repeat it."""
    kind = type(model)  # two models that bring their own code may call their classes the same
    config = model.config.to_json_string(use_diff=False)
    return f"{kind.__module__}.{kind.__qualname__} {model.dtype} {model.device} {config}"
