"""Tokens that end turns, and tokens that a model lacks."""

from __future__ import annotations

from typing import Any

import pytest

from dual_data.errors import InputError
from dual_data.evaluation.measuring.engine import Engine
from dual_data.evaluation.measuring.fast import FastEngine
from dual_data.evaluation.measuring.plain import PlainEngine
from dual_data.evaluation.models.loading import finish
from dual_data.evaluation.models.tiny import tiny, tiny_tokenizer
from dual_data.evaluation.rows.request import Request


def test_the_end_of_turns_is_a_token_that_the_model_has() -> None:
    tokenizer: Any = tiny_tokenizer()
    model: Any = tiny().model
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


@pytest.mark.parametrize("engine", [FastEngine, PlainEngine])
def test_a_tokenizer_without_a_token_to_pad_with_serves(engine: type[Engine]) -> None:
    tokenizer: Any = tiny_tokenizer()
    loaded = finish(tiny().model, tokenizer, "x")
    requests = [Request(tuple(tokenizer.encode(text)), ()) for text in ("Is it so?", "Who wrote all of these books?")]
    expected = engine(loaded, rows=2, max_new_tokens=4).run(requests)[0]
    tokenizer.pad_token = None
    assert engine(finish(tiny().model, tokenizer, "x"), rows=2, max_new_tokens=4).run(requests)[0] == expected
