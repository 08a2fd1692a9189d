"""Tokens that pad rows and end turns."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from dual_data.errors import InputError
from dual_data.evaluation.models.loading import finish
from dual_data.evaluation.models.special_tokens import pad_id
from dual_data.evaluation.models.tiny import tiny, tiny_tokenizer


def test_padding_is_never_a_token_that_ends_turns() -> None:
    tokenizer: Any = tiny_tokenizer()
    tokenizer.pad_token = tokenizer.eos_token
    loaded = finish(tiny().model, tokenizer, "x")
    assert loaded.info.pad_id not in loaded.info.stop_ids
    assert loaded.tokenizer.pad_token_id == loaded.info.pad_id
    tokenizer.pad_token = None
    assert finish(tiny().model, tokenizer, "x").info.pad_id not in loaded.info.stop_ids


def test_padding_and_the_end_of_turns_are_tokens_that_the_model_has() -> None:
    tokenizer: Any = tiny_tokenizer()
    known = len(tokenizer)
    model: Any = tiny().model
    model.resize_token_embeddings(known)
    tokenizer.add_special_tokens({"pad_token": "<extra>"})
    assert tokenizer.pad_token_id == known  # one more than the model has, as of a tokenizer that was extended alone
    assert finish(model, tokenizer, "x").info.pad_id < known
    model.resize_token_embeddings(tokenizer.convert_tokens_to_ids("<|end|>"))
    with pytest.raises(
        InputError, match=r"x: a turn ends with '<\|end\|>', token \d+, but the model has only \d+ tokens"
    ):
        finish(model, tokenizer, "x")


def test_a_tokenizer_of_more_texts_than_the_model_has_tokens_is_refused() -> None:
    tokenizer: Any = tiny_tokenizer()
    model: Any = tiny().model
    model.resize_token_embeddings(300)
    with pytest.raises(InputError, match=r"x: its tokenizer has '.+', token 399, but the model has only 300 tokens"):
        finish(model, tokenizer, "x")


def test_a_wrong_eos_does_not_stop_the_right_one_from_ending_turns() -> None:
    tokenizer: Any = tiny_tokenizer()
    tokenizer.eos_token = "<|start|>"
    info = finish(tiny().model, tokenizer, "x").info
    assert tokenizer.decode([info.end_id]) == "<|end|>"
    assert info.end_id in info.stop_ids


def test_a_tokenizer_without_any_token_to_pad_with_is_refused() -> None:
    tokenizer: Any = tiny_tokenizer()
    tokenizer.pad_token = None
    vocabulary = {text: token for text, token in tokenizer.get_vocab().items() if text != "<|pad|>"}
    tokenizer.get_vocab = lambda: vocabulary
    with pytest.raises(InputError, match=r"set pad_token in its tokenizer_config\.json"):
        finish(tiny().model, tokenizer, "x")


def test_padding_is_a_reserved_token_and_not_a_word_that_says_so() -> None:
    words = Tokenizer(WordLevel({"reserved": 0, "in": 1, "<|end|>": 2}))
    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<|end|>")  # type: ignore[no-untyped-call]
    with pytest.raises(InputError, match=r"set pad_token in its tokenizer_config\.json"):
        pad_id(tokenizer, (2,), 10)
    for name, token in (("<|reserved_9|>", 3), ("<|reserved_0|>", 3), ("<|vision_pad|>", 5), ("<|fim_pad|>", 6)):
        tokenizer.add_special_tokens({"additional_special_tokens": [name]})
        assert pad_id(tokenizer, (2,), 10) == token
