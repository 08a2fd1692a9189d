"""Bodies of chat completions: the text that is the answer, and bodies that are none."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from dual_data.calls.fetching import Calls
from dual_data.errors import Transient
from dual_data.sources.chat.openai import features
from dual_data.sources.chat.openai.completions import final_text, reduce
from dual_data.sources.chat.usage import Usage, usage_of
from tests.services.stand_in import completion, stand_in
from tests.sources.chat.openai.asking import france, server


def test_a_reasoning_block_is_not_the_answer() -> None:
    assert final_text({"text": "<think>2 or 3?</think>\n7"}).strip() == "7"
    assert final_text({"text": "<think>2 or 3?"}) == ""
    assert final_text({"text": "Okay, 2 or 3?\n</think>\n\n7"}).strip() == "7"
    assert final_text({"text": "<think>It ends with </think>, so:</think>7"}) == "7"
    assert final_text({"text": "7"}) == "7"
    assert final_text({"declined": "content_filter"}) == ""


def test_of_an_answer_in_parts_the_text_alone_is_kept() -> None:
    """Mistral's reasoning models answer so."""
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "Berlin? No."}]}
    parts = [thought, {"type": "text", "text": "Ly"}, {"type": "output_text", "text": "on"}]
    for content, text, reasoning in ((parts, "Lyon", True), (parts[1:], "Lyon", False), ([thought], "", True)):
        answer = reduce({"choices": [{"message": {"content": content}}]})
        assert (answer["text"], answer["reasoning"]) == (text, reasoning)


@pytest.mark.parametrize(
    "data",
    [
        {},
        *(
            {"choices": [{"message": {"content": content}}]}
            for content in ({"text": "x"}, 5, ["x"], [{"text": "x"}], [{"type": "image_url"}], [{"type": "text"}])
        ),
        {"choices": [{"message": {"content": ""}, "finish_reason": "error"}]},
        {"choices": []},
        {"choices": None},
        {"choices": [{"message": None}]},
        {"choices": [{"message": {"content": "x"}, "logprobs": {"content": [{"logprob": 1}]}}]},
        {"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": "many"}},
        {"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": math.inf}},
        {"choices": [{"message": {"content": "x"}}], "usage": {"completion_tokens": 1e30}},
        {"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": -5}},
        *(
            {"choices": [{"message": {"content": "7"}, "logprobs": {"content": [token]}}]}
            for token in (
                {"token": None, "logprob": -0.1, "top_logprobs": [{"token": "7", "logprob": -0.1}]},
                {"token": 7, "logprob": -0.1},
                {"token": "7", "logprob": -0.1, "top_logprobs": [{"token": None, "logprob": -0.1}]},
                {"token": "7", "logprob": 10**400},
            )
        ),
        *(
            {"choices": [{"message": {"content": "x"}}], "prompt_logprobs": entries}
            for entries in (5, [None, {"5": -1.0}], [{"5": {"logprob": -1.0}}])
        ),
        {"choices": [{"message": {"content": "x"}}], "prompt_logprobs": [{"5": {"logprob": 0, "decoded_token": None}}]},
    ],
)
def test_a_body_that_is_no_completion_may_pass(data: dict[str, Any]) -> None:
    with pytest.raises(Transient, match="not a chat completion"):
        reduce(data)


@pytest.mark.parametrize("entries", [None, [{"5": {"logprob": -1.0}}]], ids=["tokens", "prompt_logprobs"])
def test_log_probabilities_that_are_none_are_asked_for_again_and_never_logged(calls: Calls, entries: Any) -> None:
    """Whatever is logged is read by every later run."""
    status, wrong = completion("7", [("7", {"7": 0.8, "8": 0.1})])
    if entries:
        wrong["prompt_logprobs"] = entries
    else:
        wrong["choices"][0]["logprobs"]["content"][0]["token"] = None
    replies = iter([(status, wrong), completion("7", [("7", {"7": 0.8, "8": 0.1})])])
    with stand_in(lambda _: next(replies)) as fake, server(fake.base_url, calls) as judge:
        (answer,) = judge.ask([france(judge)])
        assert [token for token, _, _ in answer["tokens"]] == ["7"]
        assert judge.ask([france(judge)]) == [answer]
        assert len(fake.bodies) == 2


def test_tokens_that_the_server_had_in_its_cache_are_counted_as_such() -> None:
    counts = {"prompt_tokens": 30, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 20}}
    assert usage_of(reduce(completion("Paris", usage=counts)[1])) == Usage(1, 30, 20, 2)


def test_rows_of_a_log_that_lack_numbers_and_tokens_are_read() -> None:
    assert usage_of({"usage": {"prompt": None, "completion": 3}}) == Usage(1, 0, 0, 3)
    assert features.tail({"prompt_tokens": [["Par", -1.0], [None, -1.0]]}, "Paris") is None


@pytest.mark.parametrize(
    "tokens",
    [
        ["New", " York", " City"],
        ["\u2581New", "\u2581York", "\u2581City"],
        ["New", "\u0120York", "\u0120City"],
        ["New", "York", "City"],
        ["\u010a", "\u2581", "New", "", "York", "City"],
    ],
    ids=["decoded", "SentencePiece", "byte level", "lost", "apart"],
)
def test_an_answer_is_found_however_the_server_writes_a_space(tokens: list[str]) -> None:
    answer = {"prompt_tokens": [["", None], *([token, -2.0] for token in ["New", "<|assistant|>"])]}
    answer["prompt_tokens"] += [[token, -1.0] for token in tokens]
    scores = features.tail(answer, "New York City")
    assert scores == [-1.0] * len(tokens[tokens.index("New") :] if "New" in tokens else tokens)
    assert features.tail(answer, "New York Town") is None


def test_numbers_that_are_none_are_none() -> None:
    text = '{"choices":[{"message":{"content":"7"},"logprobs":{"content":[{"token":"7","logprob":NaN,'
    text += '"top_logprobs":[{"token":"7","logprob":-Infinity},{"token":"8","logprob":null}]}]}}]}'
    assert reduce(json.loads(text))["tokens"] == [["7", None, [["7", None], ["8", None]]]]
