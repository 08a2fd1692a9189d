"""The tokens at which generation stops, and whether a model has all tokens of text."""

from __future__ import annotations

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dual_data.errors import InputError
from dual_data.evaluation.rows.encoding import turn_end


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, size: int, spec: str) -> int:
    """The token that ends a turn. Raises InputError where the model, with `size` tokens, lacks it, or one of texts.

    Of the tokens that were added to the vocabulary no other counts: published tokenizers have some that nothing gives.
    """
    added = tokenizer.get_added_vocab()
    texts = {int(token): text for text, token in tokenizer.get_vocab().items() if text not in added}
    end, largest = turn_end(tokenizer), max(texts, default=0)
    for token, what in ((end, "a turn ends with"), (largest, "its tokenizer has")):
        if token >= size:
            raise InputError(
                f"{spec}: {what} {tokenizer.convert_ids_to_tokens(token)!r}, token {token}, but the model has only "
                f"{size} tokens: load it with the tokenizer that it was trained with"
            )
    return end


def stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, end: int) -> tuple[int, ...]:
    """Every token at which generation stops: the end of a turn, and those that tokenizer and model name."""
    named = getattr(model.generation_config, "eos_token_id", None)
    end_ids = named if isinstance(named, list) else [named]
    return tuple(sorted({int(token) for token in (end, tokenizer.eos_token_id, *end_ids) if token is not None}))
