"""What a chat server can do, found by its effect: a real llama.cpp server, and a stand-in for what others do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dual_data.calls.fetching import Calls
from dual_data.config import Pace
from dual_data.errors import Refused, ServiceError
from dual_data.sources.chat.openai import features
from dual_data.sources.chat.openai.closed_book import ServerAnswers
from dual_data.sources.chat.protocol import Chat, Sampling
from tests.clock import FakeClock
from tests.faults.proxy import CUT, RESET, error_500, proxy, too_many
from tests.services.llama import MODEL, Llama
from tests.services.stand_in import Body, completion, error, stand_in
from tests.sources.chat.openai.asking import server

EVEN = {"A": 0.5, "The": 0.3, "Once": 0.1}
STORY = [("A", EVEN), (" cat", {" cat": 0.4, " dog": 0.4}), (" sat", {" sat": 0.2, " ran": 0.2})]


def reasoning(body: Body) -> tuple[int, Body]:
    """Like OpenAI's reasoning models: max_completion_tokens only, no temperature, no log-probabilities."""
    if "max_tokens" in body:
        return error(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
    if "temperature" in body or "logprobs" in body:
        return error(400, "Unsupported value: 'temperature'")
    return completion("A cat.", usage={"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 7}})


def told_not_to_reason(body: Body) -> tuple[int, Body]:
    """Like later models of OpenAI: temperature and log-probabilities only with a field that turns reasoning off."""
    if body.get("reasoning_effort") == "none" and "max_tokens" not in body:
        return completion("A cat sat", STORY)
    return reasoning(body)


def told_not_to_reason_and_strict(body: Body) -> tuple[int, Body]:
    """The same behind a service that gives few alternatives, such as Azure."""
    return strict(body) if body.get("top_logprobs", 0) > 5 else told_not_to_reason(body)


CUT_OFF = (
    "Could not finish the message because max_tokens or model output limit was reached. Please try again with higher "
    "max_tokens."
)


def reasoning_behind_a_gateway(body: Body) -> tuple[int, Body]:
    """Like a gateway that drops what a reasoning model of OpenAI does not take: the short limit is an error then."""
    return completion("A cat.") if body["max_tokens"] > 100 else error(400, CUT_OFF)


def translating(body: Body) -> tuple[int, Body]:
    """Like OpenRouter with a model of OpenAI, which it asks by an interface that takes no limit below 16."""
    if (limit := body["max_tokens"]) < 16:
        raw = f"Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got {limit}."
        return 400, {"error": {"code": 400, "message": "Provider returned error", "metadata": {"raw": raw}}}
    return completion("A cat sat", STORY)


def strict(body: Body) -> tuple[int, Body]:
    """Like servers that validate: few alternatives, no seed."""
    if body.get("top_logprobs", 0) > 5:
        return error(400, "Requested sample logprobs of 20, which is greater than max allowed: 5")
    if "seed" in body:
        return error(422, "extra_forbidden: seed")
    return completion("A cat sat", STORY)


def deaf(body: Body) -> tuple[int, Body]:
    """Like llama-cpp-python with the newer parameter: the limit is ignored."""
    if "max_tokens" in body:
        return error(400, "unknown field max_tokens")
    return completion("on and on", usage={"completion_tokens": 78})


def silent(_: Body) -> tuple[int, Body]:
    """Like transformers serve: everything is accepted, nothing is done."""
    return completion("A cat sat")


def after_sampling(_: Body) -> tuple[int, Body]:
    """Log-probabilities of the distribution after greedy sampling: 1 for the chosen token."""
    return completion("A cat", [("A", {"A": 1.0, "The": 0.0}), (" cat", {" cat": 1.0, " dog": 0.0})])


def sure(_: Body) -> tuple[int, Body]:
    """A model whose greedy choice is certain, once rounded, but which names what else it might have said."""
    return completion("A cat", [("A", {"A": 1.0, "The": 1e-9}), (" cat", {" cat": 1.0, " dog": 1e-9})])


def alone(_: Body) -> tuple[int, Body]:
    """Log-probabilities of the chosen tokens, without alternatives."""
    return completion("A cat", [("A", {"A": 0.5}), (" cat", {" cat": 0.4})])


def nonsense(_: Body) -> tuple[int, Body]:
    return completion("A cat", [("A", {"A": 1.0, "The": 1.0})])


def thinking(_: Body) -> tuple[int, Body]:
    return completion("<think>\nWell", STORY)


def thinking_unopened(body: Body) -> tuple[int, Body]:
    """Like vLLM without a reasoning parser: the chat template ends with <think>, and the text begins within."""
    if body["max_tokens"] < 100:
        return completion("Okay, the user", STORY)
    return completion("Okay, the user wants a cat.\n</think>\n\nA cat.", STORY)


def short_of_room(body: Body) -> tuple[int, Body]:
    """Like vLLM, which refuses a limit that prompt and context do not leave room for."""
    if body["max_tokens"] > 100:
        return error(400, "This model's maximum context length is 100 tokens. However, you requested 2070 tokens")
    return completion("A cat sat", STORY)


def thinking_apart(_: Body) -> tuple[int, Body]:
    return completion(None, STORY, reasoning_content="Well, a")


def thinking_unsaid(_: Body) -> tuple[int, Body]:
    """Like Gemini: the limit is spent on thoughts that are neither shown nor counted."""
    status, data = completion(None, usage={"completion_tokens": 0})
    data["choices"][0]["finish_reason"] = "length"
    return status, data


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (thinking_unsaid, features.Capabilities("max_tokens", True, True, 0, True)),
        (reasoning, features.Capabilities("max_completion_tokens", False, True, 0, True)),
        (reasoning_behind_a_gateway, features.Capabilities("max_tokens", True, True, 0, True)),
        (translating, features.Capabilities("max_tokens", True, True, 2, False, 16)),
        (strict, features.Capabilities("max_tokens", True, False, 2, False)),
        (silent, features.Capabilities("max_tokens", True, True, 0, False)),
        (after_sampling, features.Capabilities("max_tokens", True, True, 0, False)),
        (sure, features.Capabilities("max_tokens", True, True, 2, False)),
        (nonsense, features.Capabilities("max_tokens", True, True, 0, False)),
        (alone, features.Capabilities("max_tokens", True, True, 0, False)),
        (thinking, features.Capabilities("max_tokens", True, True, 0, True)),
        (thinking_unopened, features.Capabilities("max_tokens", True, True, 0, True)),
        (short_of_room, features.Capabilities("max_tokens", True, True, 2, False)),
        (thinking_apart, features.Capabilities("max_tokens", True, True, 0, True)),
    ],
)
def test_features_are_found_by_their_effect(
    calls: Calls, reply: Callable[[Body], tuple[int, Body]], expected: features.Capabilities
) -> None:
    with stand_in(reply) as fake, server(fake.base_url, calls) as judge:
        assert features.capabilities(judge) == expected
        assert features.recall(judge) == expected
        assert features.structured(judge, expected) == ""


@pytest.mark.parametrize("service", [told_not_to_reason, told_not_to_reason_and_strict])
def test_a_field_that_turns_reasoning_off_is_sent_with_every_request_and_tells_the_answers_apart(
    calls: Calls, service: Callable[[Body], tuple[int, Body]]
) -> None:
    quiet = {"reasoning_effort": "none"}
    with stand_in(service) as fake:
        with server(fake.base_url, calls) as judge:
            assert features.capabilities(judge).reasoning
            known = judge.request({})
        requests = len(fake.bodies)
        with server(fake.base_url, calls, extra_body=quiet) as judge:
            can = features.capabilities(judge)
            assert (can.reasoning, can.top_logprobs) == (False, 2)
            assert judge.request({}) == {**known, "extra_body": quiet}
        assert all(body["reasoning_effort"] == "none" for body in fake.bodies[requests:])


def test_a_model_without_room_to_reason_is_read_by_its_log_probabilities(calls: Calls) -> None:
    with stand_in(strict) as fake, server(fake.base_url, calls, reasoning_tokens=0) as judge:
        assert features.capabilities(judge) == features.Capabilities("max_tokens", True, False, 2, False)


@pytest.mark.parametrize("room", [0, 2048])
def test_a_server_with_a_least_limit_is_asked_for_no_less(calls: Calls, room: int) -> None:
    with stand_in(translating) as fake, server(fake.base_url, calls, reasoning_tokens=room) as judge:
        can = features.capabilities(judge)
        asked = len(fake.bodies)
        assert can.limit(1, 0) == {"max_tokens": 16}
        assert can.limit(24, 0) == {"max_tokens": 24}
        assert ServerAnswers(judge).generate([Chat("", "q")], Sampling(3)) == [["A cat sat"]]
        assert [(body["max_tokens"], body["temperature"]) for body in fake.bodies[asked:]] == [(16, 0)]


def test_what_was_found_out_before_least_limits_were_is_still_known(calls: Calls) -> None:
    with server("http://127.0.0.1:9/v1", calls) as judge:
        known = {"limit_key": "max_tokens", "temperature": True, "seed": True, "top_logprobs": 5, "reasoning": False}
        calls.note("judge", {"server": judge.endpoint.base_url, "model": MODEL, "probe": "capabilities"}, known)
        assert features.capabilities(judge) == features.Capabilities("max_tokens", True, True, 5, False)


def test_a_limit_that_is_ignored_is_no_limit(calls: Calls) -> None:
    with stand_in(deaf) as fake, server(fake.base_url, calls) as judge:
        for times in (1, 2):  # by the second the server may be set up otherwise
            with pytest.raises(Refused, match="accepted and ignored"):
                features.capabilities(judge)
            assert sum("max_completion_tokens" in body for body in fake.bodies) == times
        assert features.recall(judge) is None


def test_a_probe_that_failed_for_a_while_is_not_remembered(real: Llama, calls: Calls) -> None:
    with proxy(real.root, error_500(), too_many(1), CUT, RESET) as front, server(f"{front.url}/v1", calls) as judge:
        assert features.capabilities(judge).top_logprobs == 20


def test_a_probe_that_failed_halfway_counts_as_a_replay_counts_it(real: Llama, calls: Calls) -> None:
    with proxy(real.root, None, RESET) as front:
        with server(f"{front.url}/v1", calls) as judge:
            features.capabilities(judge)
            assert front.faults_made == ["", "reset", "", ""]
        with server(f"{front.url}/v1", calls) as again:
            features.capabilities(again)
        assert front.count == 4
    assert judge.ledger.spent == again.ledger.spent
    assert judge.ledger.spent.answers == 3


def test_a_probe_that_was_stopped_goes_on_after_the_last_answer(calls: Calls) -> None:
    def reply(body: Body) -> tuple[int, Body]:
        return error(401, "bad key") if len(fake.bodies) == 3 else silent(body)

    with stand_in(reply) as fake:
        with server(fake.base_url, calls) as judge, pytest.raises(Refused, match="refuses the key"):
            features.capabilities(judge)
        with server(fake.base_url, calls) as again:
            features.capabilities(again)
        assert len(fake.bodies) == 4
        assert fake.bodies[3] == fake.bodies[2]
        with server(fake.base_url, calls) as replayed:
            features.capabilities(replayed)
        assert len(fake.bodies) == 4
    assert replayed.ledger.spent == again.ledger.spent
    assert again.ledger.spent.answers == 3


def test_the_requests_of_a_probe_keep_the_pace(tmp_path: Path) -> None:
    clock = FakeClock()
    with (
        stand_in(strict) as fake,
        Calls(tmp_path / "c.sqlite", {"judge": Pace(per_minute=1)}, clock=clock) as calls,
        server(fake.base_url, calls) as judge,
    ):
        features.capabilities(judge)
    assert clock.slept == [60] * (len(fake.bodies) - 1)
    assert len(fake.bodies) == 4


def test_json_schema_is_tried_first(calls: Calls) -> None:
    def constrained(body: Body) -> tuple[int, Body]:
        form = body.get("response_format", {})
        if form.get("type") != "json_schema":
            return completion("A cat")
        assert form["json_schema"]["strict"] is True
        return completion(json.dumps({"label": form["json_schema"]["schema"]["properties"]["label"]["enum"][0]}))

    with stand_in(constrained) as fake, server(fake.base_url, calls) as judge:
        assert features.structured(judge, features.capabilities(judge)) == "json_schema"


def vllm(shift: int) -> Callable[[Body], tuple[int, Body]]:
    """Like vLLM: prompt_logprobs for a conversation that ends with the assistant; `shift` puts them off by tokens."""
    numbers = {"A": -0.7, " cat": -0.9, " sat": -1.6, "Par": -2.0, "is": -0.1, "<|end|>": -0.01}

    def reply(body: Body) -> tuple[int, Body]:
        if "prompt_logprobs" not in body:
            return completion("A cat sat", STORY)
        text = body["messages"][-1]["content"]
        assert body["continue_final_message"] is True
        assert body["add_generation_prompt"] is False
        tail = ["Par", "is"] if text == "Paris" else ["A", " cat", " sat"]
        tokens = ["<|user|>", "hello", "<|assistant|>", *tail]
        values = [-5.0, -5.0, -5.0, *(numbers[t] for t in tail), -9.0]
        entries: list[Any] = [None]
        for index, token in enumerate(tokens):
            entries.append({str(index): {"logprob": values[index + shift], "rank": 1, "decoded_token": token}})
        status, data = completion(".")
        return status, data | {"prompt_logprobs": entries}

    return reply


def test_an_answers_probability_is_the_sum_of_its_tokens(calls: Calls) -> None:
    with stand_in(vllm(0)) as fake, server(fake.base_url, calls) as judge:
        answers = ServerAnswers(judge)
        sums = answers.log_probabilities([Chat("", "q"), Chat("", "r")], ["Paris", "Rome"])
        assert sums[0] == pytest.approx(-2.1)
        assert sums[1] is None  # its tokens do not spell that answer
        planned = answers.plan([], Sampling(8), [Chat("", "q"), Chat("", "s")], ["Paris", "Lyon"])
        assert (planned.calls, planned.in_log) == (2, 1), "they are asked for, as the server gives them"


def test_probabilities_that_are_off_by_one_token_are_not_believed(calls: Calls) -> None:
    with stand_in(vllm(1)) as fake, server(fake.base_url, calls) as judge:
        assert ServerAnswers(judge).log_probabilities([Chat("", "q")], ["Paris"]) == [None]


def test_a_server_that_ignores_the_wish_for_an_answers_probability_cannot_tell_it(calls: Calls) -> None:
    with stand_in(strict) as fake, server(fake.base_url, calls) as judge:
        assert ServerAnswers(judge).log_probabilities([Chat("", "q")], ["Paris"]) == [None]


def test_a_server_that_takes_no_seed_is_asked_for_each_sample(calls: Calls) -> None:
    with stand_in(strict) as fake, server(fake.base_url, calls) as judge:
        texts = ServerAnswers(judge).generate([Chat("", "q")], Sampling(8, temperature=1.5, samples=3))
    assert texts == [["A cat sat"] * 3]
    assert sum(body.get("temperature") == 1.5 for body in fake.bodies) == 3


def test_a_question_that_takes_too_much_reasoning_has_an_empty_answer_and_stops_nothing(calls: Calls) -> None:
    def reply(body: Body) -> tuple[int, Body]:
        return error(400, CUT_OFF) if body["messages"][-1]["content"] == "Which?" else reasoning(body)

    with stand_in(reply) as fake, server(fake.base_url, calls) as judge:
        answers = ServerAnswers(judge)
        assert answers.generate([Chat("", "Which?"), Chat("", "Who?")], Sampling(8)) == [[""], ["A cat."]]
        asked = len(fake.bodies)
        assert answers.generate([Chat("", "Which?")], Sampling(8)) == [[""]]
        assert len(fake.bodies) == asked
        assert judge.ledger.spent.estimated == 1, "it was billed, for how many tokens is not told"
        assert judge.ledger.spent.completion_tokens > 2048


def test_a_server_that_answers_nothing_is_refused_before_anything_is_logged(calls: Calls) -> None:
    with (
        stand_in(lambda _: completion("")) as fake,
        server(fake.base_url, calls) as judge,
        pytest.raises(ServiceError, match=r"127\.0\.0\.1:\d+/v1 \(.+\): the answer to a simple request is empty"),
    ):
        ServerAnswers(judge).generate([Chat("", "q")], Sampling(8))
    assert not calls.answered("judge")


def test_a_server_that_declines_a_seed_is_asked_without_one(calls: Calls) -> None:
    def reply(body: Body) -> tuple[int, Body]:
        if "seed" in body:
            return 400, {"error": {"message": "refused", "code": "content_filter"}}
        return strict(body)

    with stand_in(reply) as fake, server(fake.base_url, calls) as judge:
        assert ServerAnswers(judge).generate([Chat("", "q")], Sampling(8)) == [["A cat sat"]]


def test_a_block_that_the_template_opens_is_seen_by_a_server_with_a_least_limit(calls: Calls) -> None:
    def reply(body: Body) -> tuple[int, Body]:
        if "logprobs" in body or body["max_tokens"] < 16:
            return error(400, "Unsupported: logprobs" if "logprobs" in body else "Expected a value >= 16")
        return completion("A cat?\n</think>\n\nA cat." if body["messages"] == features.BRIEF else "Okay, a")

    with stand_in(reply) as fake, server(fake.base_url, calls, reasoning_tokens=8) as judge:
        assert features.capabilities(judge).reasoning


def test_a_block_that_the_template_opens_gets_room_and_is_no_answer(calls: Calls) -> None:
    def reply(body: Body) -> tuple[int, Body]:
        long = body["max_tokens"] > 500
        return completion("Okay, Lyon or Paris?\n</think>\n\nParis" if long else "Okay, Lyon")

    with stand_in(reply) as fake, server(fake.base_url, calls) as judge:
        answers = ServerAnswers(judge)
        chats = [Chat("", "What is the capital of France?")]
        assert [text.strip() for (text,) in answers.generate(chats, Sampling(24))] == ["Paris"]
        planned = answers.plan([Chat("", "Of Peru?")], Sampling(24), [], [])
        assert 24 + 2048 < planned.tokens < 24 + 2048 + 20
        assert "reasoning_tokens" in planned.note
