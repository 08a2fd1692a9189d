"""The text on which the fast paths are tried for a model, and the key of the models for which a trial is valid.

Plain text, not arbitrary tokens: on a meaningless sequence, rounding alone changes log-probabilities in bfloat16 nearly
as much as a wrong mask would (0.3 nats per token; on text 0.04, and a wrong mask 0.5: measured on SmolLM2).
"""

from __future__ import annotations

from transformers import PreTrainedModel

from dual_data.evaluation.models.loading import Loaded

_TEXT = (
    "The sun rises in the east and sets in the west. Water freezes at zero degrees Celsius and boils at one hundred. "
    "A week has seven days, and a year has twelve months: the first of them is January, and the last is December."
)


def plain_text(loaded: Loaded, count: int) -> tuple[int, ...]:
    """The first `count` tokens of plain English, mapped to ids that the model has."""
    ids = loaded.tokenizer(_TEXT)["input_ids"]  # with the start token, where the tokenizer has one
    size = int(loaded.model.config.get_text_config().vocab_size)
    return tuple(token % size for token in (ids * -(-count // len(ids)))[:count])


def trial_key(model: PreTrainedModel) -> str:
    """Key of a trial's outcome; independent of the weights, so that loading a checkpoint again repeats no trial."""
    kind = type(model)  # two models with code of their own may have classes of the same name
    config = model.config.to_json_string(use_diff=False)
    return f"{kind.__module__}.{kind.__qualname__} {model.dtype} {model.device} {config}"
