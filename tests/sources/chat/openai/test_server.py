"""The OpenAI client: a real llama.cpp server behind faults, and a stand-in for what that server does not do."""

from __future__ import annotations

import json
import logging
import math
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dual_data.calls import Calls
from dual_data.config import Pace
from dual_data.errors import BudgetSpent, ConfigError, DualDataError, Refused, ServiceError, Transient, UsageError
from dual_data.sources.chat.openai import capabilities as features
from dual_data.sources.chat.openai.closed_book import ServerAnswers
from dual_data.sources.chat.openai.completions import final_text, messages, reduce
from dual_data.sources.chat.openai.server import ChatServer, Endpoint
from dual_data.sources.chat.protocol import Chat, Sampling
from dual_data.sources.chat.usage import Budget, Ledger, Price, Usage, usage_of
from tests.clock import FakeClock
from tests.faults.proxy import CUT, DROP, RESET, Fault, error_500, html_200, proxy, slow, too_many, unavailable
from tests.services.llama import CONTEXT, KEY, MODEL, Llama, llama
from tests.services.stand_in import Body, completion, error, stand_in

ROOT = Path(__file__).resolve().parents[4]
ENVIRONMENT = {"JUDGE_KEY": KEY}
FRANCE = messages("Answer with one word.", "What is the capital of France?")


@pytest.fixture
def real() -> Llama:
    return llama()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def calls(tmp_path: Path, clock: FakeClock) -> Iterator[Calls]:
    with Calls(tmp_path / "calls.sqlite", {"judge": Pace(concurrency=2, attempts=6)}, clock=clock) as log:
        yield log


def server(url: str, calls: Calls, *, ledger: Ledger | None = None, timeout: float = 30.0, **more: Any) -> ChatServer:
    endpoint = Endpoint(base_url=url, model=MODEL, api_key_env="JUDGE_KEY", timeout=timeout, **more)
    return ChatServer(endpoint, calls, "judge", ledger or Ledger("salience.budget"), ENVIRONMENT)


def france(judge: ChatServer, new_tokens: int = 8) -> dict[str, Any]:
    return judge.request({"messages": FRANCE, "max_tokens": new_tokens, "temperature": 0})


def test_a_real_server_is_probed_once_and_answers(real: Llama, calls: Calls) -> None:
    with proxy(real.root) as front:
        with server(f"{front.url}/v1", calls) as judge:
            can = features.capabilities(judge)
            assert can == features.Capabilities("max_tokens", True, True, 20, False)
            requests = front.count
            assert features.capabilities(judge) == can
            assert front.count == requests
            (answer,) = judge.ask([france(judge)])
        assert "Paris" in answer["text"]
        assert answer["usage"]["completion"] >= 1
        assert answer["usage"]["prompt"] > 10


def test_structured_output_is_believed_when_it_is_seen(real: Llama, calls: Calls) -> None:
    """This server answers json_schema with 500; json_object with a schema it really keeps."""
    with server(real.base_url, calls) as judge:
        assert features.structured(judge, features.capabilities(judge)) == "json_object"
        form = features.response_format("json_object", ("4", "5"))
        request = judge.request({"messages": FRANCE, "max_tokens": 48, "temperature": 0, **form})
        (answer,) = judge.ask([request])
        assert json.loads(answer["text"])["label"] in ("4", "5")


def test_this_server_cannot_tell_an_answers_probability(real: Llama, calls: Calls) -> None:
    """It ignores prompt_logprobs; its completions echo numbers that are off by one token, so they are not used."""
    with server(real.base_url, calls) as judge:
        assert features.prompt_probabilities(judge, features.capabilities(judge)) is False
        assert ServerAnswers(judge).log_probabilities([Chat("", "x")], ["y"]) == [None]


def test_greedy_and_seeded_answers(real: Llama, calls: Calls) -> None:
    chats = [Chat("Answer with one word.", "What is the capital of France?"), Chat("", "Tell me about rivers.")]
    with server(real.base_url, calls) as judge:
        answers = ServerAnswers(judge)
        first = answers.generate(chats, Sampling(8))
        assert "Paris" in first[0][0]
        sampled = answers.generate(chats, Sampling(6, temperature=1.5, top_p=0.95, samples=4))
        assert [len(texts) for texts in sampled] == [4, 4]
        assert len(set(sampled[1])) > 1
        before = calls.counts()["judge"].made
        assert answers.generate(chats, Sampling(6, temperature=1.5, top_p=0.95, samples=4)) == sampled
        assert calls.counts()["judge"].made == before
        total, known, tokens, _ = answers.plan(chats, Sampling(6, temperature=1.5, top_p=0.95, samples=5), [], [])
        assert (total, known) == (10, 8)
        assert 20 < tokens < 200


@pytest.mark.parametrize(
    ("fault", "waited"),
    [
        (too_many(3), 3.0),
        (too_many(None), 60.0),
        (error_500(), None),
        (unavailable(503, 2), 2.0),
        (Fault("loading", 503, "application/json", b'{"error":{"message":"Loading model"}}'), None),
        (Fault("json 500", 500, "application/json", b'{"error":{"message":"out of memory"}}'), None),
        (html_200(), None),
        (Fault("html 400", 400), None),
        (Fault("error 200", 200, "application/json", b'{"error":{"message":"upstream"}}'), None),
        (Fault("empty", 200, "application/json", b'{"choices":[]}'), None),
        (Fault("deep", 200, "application/json", b"[" * 100_000), None),
        (CUT, None),
        (DROP, None),
        (RESET, None),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
def test_what_may_pass_is_tried_again(
    real: Llama, calls: Calls, clock: FakeClock, fault: Fault, waited: float | None
) -> None:
    with proxy(real.root, fault) as front, server(f"{front.url}/v1", calls) as judge:
        (answer,) = judge.ask([france(judge)])
        assert "Paris" in answer["text"]
        assert front.count == 2
    assert sum(clock.slept) == pytest.approx(waited) if waited else 1 <= sum(clock.slept) <= 2
    assert calls.counts()["judge"] == (1, 0, 1)


def test_a_date_in_retry_after_is_kept(real: Llama, calls: Calls, clock: FakeClock) -> None:
    with proxy(real.root, too_many(30, as_date=True)) as front, server(f"{front.url}/v1", calls) as judge:
        judge.ask([france(judge)])
    assert 25 < sum(clock.slept) <= 31


def test_a_body_in_drips_ends_at_the_timeout(real: Llama, calls: Calls) -> None:
    """Each drip comes well within the client's own timeout, which applies to each read."""
    with proxy(real.root, slow(60.0)) as front, server(f"{front.url}/v1", calls, timeout=4.0) as judge:
        (answer,) = judge.ask([france(judge)])
        assert "Paris" in answer["text"]
        assert front.faults_made == ["slow", ""]


def test_a_server_that_stays_down_ends_with_one_message(calls: Calls, clock: FakeClock) -> None:
    with (
        server("http://127.0.0.1:9/v1", calls) as judge,
        pytest.raises(ServiceError, match="gave up after 6 tries") as e,
    ):
        judge.ask([france(judge)])
    assert not isinstance(e.value, Transient)
    assert 31 <= sum(clock.slept) <= 36, "five pauses that double, and up to a second each by chance"


def test_a_refused_key_stops_at_once_and_is_never_shown(
    real: Llama, calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "sk-a-wrong-key-0123456789"
    endpoint = Endpoint(base_url=real.base_url, model=MODEL, api_key_env="JUDGE_KEY")
    with (
        ChatServer(endpoint, calls, "judge", Ledger("b"), {"JUDGE_KEY": secret}) as judge,
        pytest.raises(Refused, match="JUDGE_KEY") as caught,
    ):
        judge.ask([france(judge)])
    assert secret not in str(caught.value) + caplog.text
    assert calls.counts()["judge"] == (0, 0, 1)


def test_a_key_that_the_server_repeats_is_removed(calls: Calls) -> None:
    with (
        stand_in(lambda _: error(400, f"no parameter {KEY} known")) as fake,
        server(fake.base_url, calls) as judge,
        pytest.raises(Refused, match=r"no parameter \*\*\* known") as caught,
    ):
        judge.ask([france(judge)])
    assert KEY not in str(caught.value)


def test_no_part_of_a_key_is_shown_of_a_page_that_repeats_it(calls: Calls) -> None:
    page = html_200(b"<pre>" + b"." * 70 + KEY.encode() + b"</pre>")
    with (
        stand_in(lambda _: completion("Paris")) as fake,
        proxy(fake.base_url.removesuffix("/v1"), *[page] * 6) as front,
        server(f"{front.url}/v1", calls) as judge,
        pytest.raises(ServiceError, match="not complete JSON; it starts: '<pre>") as caught,
    ):
        judge.ask([france(judge)])
    assert KEY[:4] not in str(caught.value)


def test_a_long_message_of_a_server_is_shortened(calls: Calls) -> None:
    with (
        stand_in(lambda _: error(400, "x" * 3000)) as fake,
        server(fake.base_url, calls) as judge,
        pytest.raises(Refused) as caught,
    ):
        judge.ask([france(judge)])
    assert str(caught.value).endswith("xxx ...")
    assert len(str(caught.value)) < 400


def test_the_key_is_sent_and_stands_nowhere_in_the_log(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    with stand_in(lambda _: completion("Paris")) as fake:
        with Calls(path) as log, server(fake.base_url, log) as judge:
            judge.ask([france(judge)])
        assert fake.headers[0]["authorization"] == f"Bearer {KEY}"
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT request, answer FROM calls").fetchall()
    connection.close()
    assert rows
    assert all(KEY not in request and KEY.encode() not in zlib.decompress(blob) for request, blob in rows)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, "JUDGE_KEY .*is not set"),
        ({"JUDGE_KEY": " "}, "is not set"),
        ({"JUDGE_KEY": "sk\nö"}, "holds no valid key"),
    ],
)
def test_an_unset_key_is_a_clear_message(calls: Calls, environ: dict[str, str], message: str) -> None:
    endpoint = Endpoint(base_url="http://127.0.0.1:9/v1", model="m", api_key_env="JUDGE_KEY")
    with ChatServer(endpoint, calls, "judge", Ledger("b"), environ) as judge, pytest.raises(UsageError, match=message):
        judge.ask([france(judge)])


def test_half_an_emoji_is_an_answer_that_a_table_can_hold(calls: Calls) -> None:
    with stand_in(lambda _: completion("Paris \ud83d")) as fake, server(fake.base_url, calls) as judge:
        for (answer,) in (judge.ask([france(judge)]), judge.ask([france(judge)])):
            assert final_text(answer) == "Paris \N{REPLACEMENT CHARACTER}"


def test_a_replay_needs_neither_key_nor_server(calls: Calls) -> None:
    with stand_in(lambda _: completion("Paris")) as fake, server(fake.base_url, calls) as judge:
        url, first = fake.base_url, judge.ask([france(judge)])
    endpoint = Endpoint(base_url=url, model=MODEL, api_key_env="JUDGE_KEY")
    with ChatServer(endpoint, calls, "judge", Ledger("b"), {}) as again:
        assert again.ask([france(again)]) == first


@pytest.mark.parametrize(
    ("status", "message", "code", "kind"),
    [
        (429, "You exceeded your current quota, please check your plan", "insufficient_quota", Refused),
        (429, "Your credit balance is too low", None, Refused),
        (402, "Insufficient credits", None, Refused),
        (403, "country not supported", None, Refused),
        (403, "Project `x` does not have access to model `omni-moderation-latest`", "model_not_found", Refused),
        (404, "The model `x` does not exist", "model_not_found", Refused),
        (400, "Unrecognized request argument", None, Refused),
    ],
)
def test_what_will_not_pass_stops_at_once(
    calls: Calls, status: int, message: str, code: str | None, kind: type[DualDataError]
) -> None:
    with stand_in(lambda _: error(status, message, code)) as fake, server(fake.base_url, calls) as judge:
        with pytest.raises(kind):
            judge.ask([france(judge, n) for n in range(1, 31)])
        assert len(fake.bodies) <= 6  # some were under way


def test_an_exhausted_account_is_told_by_its_type_too(calls: Calls) -> None:
    """As OpenAI answered before it sent a code with it."""
    body = {"error": {"message": "You exceeded your current quota", "type": "insufficient_quota", "code": None}}
    with stand_in(lambda _: (429, body)) as fake, server(fake.base_url, calls) as judge:
        with pytest.raises(Refused, match="quota of this key is used up"):
            judge.ask([france(judge)])
        assert len(fake.bodies) == 1


@pytest.mark.parametrize("code", ["rate_limit_exceeded", "429", None])
def test_a_limit_a_minute_in_the_words_of_a_spent_quota_waits_for_a_minute(
    calls: Calls, clock: FakeClock, code: str | None
) -> None:
    """Gemini uses the words that OpenAI has for exhausted accounts."""
    text = "You exceeded your current quota, please check your plan and billing details."
    replies = iter([error(429, text, code), completion("Paris")])
    with stand_in(lambda _: next(replies)) as fake, server(fake.base_url, calls) as judge:
        (answer,) = judge.ask([france(judge)])
    assert answer["text"] == "Paris"
    assert sum(clock.slept) == pytest.approx(60.0)


def test_a_prompt_that_is_too_long_is_an_answer_and_not_the_end(real: Llama, calls: Calls) -> None:
    with server(real.base_url, calls) as judge:
        long = judge.request({"messages": messages("", "word " * (CONTEXT + 100)), "max_tokens": 2})
        answers = judge.ask([long, france(judge)])
        assert answers[0] == {"declined": "prompt_too_large"}
        assert "Paris" in answers[1]["text"]
        assert ServerAnswers(judge).generate([Chat("", "word " * (CONTEXT + 100))], Sampling(2)) == [[""]]


def test_a_content_filter_is_an_answer(calls: Calls) -> None:
    refusal = error(400, "The response was filtered", "content_filter")
    with stand_in(lambda _: refusal) as fake, server(fake.base_url, calls) as judge:
        assert judge.ask([france(judge)]) == [{"declined": "content_filter"}]


FLAGGED = {
    "code": 403,
    "message": "Your chosen model requires moderation and your input was flagged",
    "metadata": {"reasons": ["violence"]},
}
TOO_LONG = {"code": 400, "message": "This endpoint's maximum context length is 8192 tokens"}


def of_choice(failed: Any) -> Body:
    """Like OpenRouter, where the model breaks down after the answer has begun."""
    choice = {"message": {"content": ""}, "finish_reason": "error", "error": failed}
    return {"choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 0}}


@pytest.mark.parametrize(
    ("status", "body", "rule"),
    [
        (403, {"error": FLAGGED}, "content_filter"),
        (200, {"error": FLAGGED}, "content_filter"),
        (200, of_choice(FLAGGED), "content_filter"),
        (200, {"error": TOO_LONG}, "prompt_too_large"),
    ],
)
def test_one_question_that_is_refused_wherever_that_is_said_stops_nothing(
    calls: Calls, status: int, body: Body, rule: str
) -> None:
    with stand_in(lambda _: (status, body)) as fake, server(fake.base_url, calls) as judge:
        assert judge.ask([france(judge)]) == [{"declined": rule}]
        assert len(fake.bodies) == 1


@pytest.mark.parametrize(
    ("failed", "message"),
    [
        ({"code": 401, "message": f"wrong key {KEY}"}, "status 200: the server refuses the key in .* JUDGE_KEY"),
        ({"code": 402, "message": "Insufficient credits"}, "quota of this key is used up"),
    ],
)
def test_an_error_in_an_answer_means_what_it_means_as_a_status(
    calls: Calls, failed: dict[str, Any], message: str
) -> None:
    with stand_in(lambda _: (200, {"error": failed})) as fake, server(fake.base_url, calls) as judge:
        with pytest.raises(Refused, match=message) as caught:
            judge.ask([france(judge)])
        assert KEY not in str(caught.value)
        assert len(fake.bodies) == 1


@pytest.mark.parametrize(
    ("body", "waited"),
    [
        (of_choice({"code": 502, "message": "Provider returned error"}), None),
        (of_choice(None), None),
        (of_choice("upstream"), None),
        ({"error": {"code": 429, "message": "slow down"}}, 60.0),
        ({"error": {"code": "1301", "message": "busy"}}, None),
    ],
)
def test_an_answer_that_broke_down_is_asked_for_again_and_never_logged(
    calls: Calls, clock: FakeClock, body: Body, waited: float | None
) -> None:
    replies = iter([(200, body), completion("Paris")])
    with stand_in(lambda _: next(replies)) as fake, server(fake.base_url, calls) as judge:
        (answer,) = judge.ask([france(judge)])
    assert answer["text"] == "Paris"
    assert sum(clock.slept) == pytest.approx(waited) if waited else 1 <= sum(clock.slept) <= 2


def test_a_declined_call_counts_the_same_in_a_replay(tmp_path: Path) -> None:
    def reply(body: Body) -> tuple[int, Body]:
        return error(400, "blocked", "content_filter") if body["max_tokens"] == 1 else completion("Paris")

    log = tmp_path / "c.sqlite"
    with stand_in(reply) as fake, Calls(log) as live, server(fake.base_url, live) as judge:
        judge.ask([france(judge, 1), france(judge, 2)])
    with Calls(log, offline=True) as offline, server(fake.base_url, offline) as again:
        again.ask([france(again, 1), france(again, 2)])
    assert judge.ledger.spent == again.ledger.spent == Usage(1, 100, 0, 2)


# What a server can do ------------------------------------------------------------------------------------------------

EVEN = {"A": 0.5, "The": 0.3, "Once": 0.1}
STORY = [("A", EVEN), (" cat", {" cat": 0.4, " dog": 0.4}), (" sat", {" sat": 0.2, " ran": 0.2})]


def reasoning(body: Body) -> tuple[int, Body]:
    """Like OpenAI's reasoning models: max_completion_tokens only, no temperature, no log-probabilities."""
    if "max_tokens" in body:
        return error(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
    if "temperature" in body or "logprobs" in body:
        return error(400, "Unsupported value: 'temperature'")
    return completion("A cat.", usage={"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 7}})


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
        (strict, features.Capabilities("max_tokens", True, False, 2, False)),
        (silent, features.Capabilities("max_tokens", True, True, 0, False)),
        (after_sampling, features.Capabilities("max_tokens", True, True, 0, False)),
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


def test_a_model_without_room_to_reason_is_read_by_its_log_probabilities(calls: Calls) -> None:
    with stand_in(strict) as fake, server(fake.base_url, calls, reasoning_tokens=0) as judge:
        assert features.capabilities(judge) == features.Capabilities("max_tokens", True, False, 2, False)


def test_a_limit_that_is_ignored_is_no_limit(calls: Calls) -> None:
    with stand_in(deaf) as fake, server(fake.base_url, calls) as judge:
        with pytest.raises(Refused, match="accepted and ignored"):
            features.capabilities(judge)
        assert features.recall(judge) is None


def test_a_probe_that_failed_for_a_while_is_not_remembered(real: Llama, calls: Calls) -> None:
    with proxy(real.root, error_500(), too_many(1), CUT, RESET) as front, server(f"{front.url}/v1", calls) as judge:
        assert features.capabilities(judge).top_logprobs == 20


def test_a_probe_that_failed_halfway_counts_as_a_replay_counts_it(real: Llama, calls: Calls) -> None:
    with proxy(real.root, None, RESET) as front:
        with server(f"{front.url}/v1", calls) as judge:
            features.capabilities(judge)
            assert front.faults_made == ["", "reset", "", "", ""]
        with server(f"{front.url}/v1", calls) as again:
            features.capabilities(again)
        assert front.count == 5
    assert judge.ledger.spent == again.ledger.spent
    assert judge.ledger.spent.answers == 3


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


def test_probabilities_that_are_off_by_one_token_are_not_believed(calls: Calls) -> None:
    with stand_in(vllm(1)) as fake, server(fake.base_url, calls) as judge:
        assert ServerAnswers(judge).log_probabilities([Chat("", "q")], ["Paris"]) == [None]


def test_a_server_that_ignores_the_wish_for_an_answers_probability_cannot_tell_it(calls: Calls) -> None:
    with stand_in(strict) as fake, server(fake.base_url, calls) as judge:
        assert ServerAnswers(judge).log_probabilities([Chat("", "q")], ["Paris"]) == [None]


def test_a_block_that_the_template_opens_gets_room_and_is_no_answer(calls: Calls) -> None:
    def reply(body: Body) -> tuple[int, Body]:
        long = body["max_tokens"] > 500
        return completion("Okay, Lyon or Paris?\n</think>\n\nParis" if long else "Okay, Lyon")

    with stand_in(reply) as fake, server(fake.base_url, calls) as judge:
        answers = ServerAnswers(judge)
        chats = [Chat("", "What is the capital of France?")]
        assert [text.strip() for (text,) in answers.generate(chats, Sampling(24))] == ["Paris"]
        *_, tokens, note = answers.plan([Chat("", "Of Peru?")], Sampling(24), [], [])
        assert 24 + 2048 < tokens < 24 + 2048 + 20
        assert "reasoning_tokens" in note


# Usage and budget ----------------------------------------------------------------------------------------------------


def test_the_budget_stops_in_time_and_counts_the_log(tmp_path: Path) -> None:
    reply = completion("Paris", usage={"prompt_tokens": 30, "completion_tokens": 2})
    price = Price.model_validate({"date": "2026-01-01", "input": 1.0, "output": 10.0})
    with stand_in(lambda _: reply) as fake, Calls(tmp_path / "c.sqlite", {"judge": Pace(concurrency=4)}) as calls:
        spent = Usage()
        for _ in range(2):  # the second run has next to nothing left to spend
            ledger = Ledger("salience.budget", price, Budget(tokens=320))
            with server(fake.base_url, calls, ledger=ledger) as judge:
                requests = [france(judge, n) for n in range(1, 31)]
                with pytest.raises(
                    BudgetSpent, match=r"salience.budget.tokens = 320 is used up: .* Raise salience.budget"
                ):
                    judge.ask(requests)
            assert ledger.spent.tokens <= 320 + 4 * 32
            assert ledger.spent.tokens >= spent.tokens
            spent = ledger.spent
        assert len(fake.bodies) == calls.known("judge", requests)
        full = Ledger("salience.budget", price, Budget(money=1.0))
        with server(fake.base_url, calls, ledger=full) as judge:
            judge.ask(requests)
        assert len(fake.bodies) == 30
        assert full.spent == Usage(30, 900, 0, 60)
        row = full.table("m").to_dicts()[0]
        assert row["cost"] == pytest.approx((900 * 1.0 + 60 * 10.0) / 1e6)
        assert (row["currency"], str(row["price_date"])) == ("USD", "2026-01-01")


def uncounted(text: str) -> tuple[int, Body]:
    """Like proxies that leave `usage` out."""
    status, data = completion(text)
    del data["usage"]
    return status, data


def test_a_server_that_reports_no_tokens_has_a_budget_too(tmp_path: Path) -> None:
    log = tmp_path / "c.sqlite"
    with stand_in(lambda _: uncounted("Paris")) as fake, Calls(log) as live:
        ledger = Ledger("salience.budget", None, Budget(tokens=120))
        with (
            server(fake.base_url, live, ledger=ledger) as judge,
            pytest.raises(BudgetSpent, match=r"in 2 answers, 2 of them estimated, because the server did not report"),
        ):
            judge.ask([france(judge, n) for n in (20, 21, 22)])
        assert len(fake.bodies) == 2
        with server(fake.base_url, live) as probed:
            features.capabilities(probed)
            probed.ask([france(probed, n) for n in (20, 21)])
    with Calls(log, offline=True) as offline, server(fake.base_url, offline) as again:
        again.ask([france(again, n) for n in (20, 21)])
        assert again.ledger.spent == ledger.spent
        assert again.ledger.table("m")["estimated"].to_list() == [2]
        features.capabilities(again)
        assert again.ledger.spent == probed.ledger.spent
        assert again.ledger.spent.estimated == again.ledger.spent.answers == 5


def test_a_limit_that_is_ignored_shows_also_where_no_tokens_are_reported(calls: Calls) -> None:
    with (
        stand_in(lambda _: uncounted("on and on and on and on")) as fake,
        server(fake.base_url, calls) as judge,
        pytest.raises(Refused, match="accepted and ignored"),
    ):
        features.capabilities(judge)


def test_money_is_a_limit_too(calls: Calls) -> None:
    price = Price.model_validate({"date": "2026-01-01", "input": 1000.0, "output": 0, "cached_input": 100.0})
    assert Usage(1, 1000, 400, 7).cost(price) == pytest.approx(0.6 + 0.04)
    ledger = Ledger("salience.budget", price, Budget(money=0.001))
    with stand_in(lambda _: completion("x")) as fake, server(fake.base_url, calls, ledger=ledger) as judge:
        with pytest.raises(BudgetSpent, match=r"salience.budget.money = 0.001 USD is used up"):
            judge.ask([france(judge)])
        assert fake.bodies == []


# Bodies and configuration --------------------------------------------------------------------------------------------


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


def test_rows_of_a_log_that_lack_numbers_and_tokens_are_read() -> None:
    assert usage_of({"usage": {"prompt": None, "completion": 3}}) == Usage(1, 0, 0, 3)
    assert features.tail({"prompt_tokens": [["Par", -1.0], [None, -1.0]]}, "Paris") is None


def test_numbers_that_are_none_are_none() -> None:
    text = '{"choices":[{"message":{"content":"7"},"logprobs":{"content":[{"token":"7","logprob":NaN,'
    text += '"top_logprobs":[{"token":"7","logprob":-Infinity},{"token":"8","logprob":null}]}]}}]}'
    assert reduce(json.loads(text))["tokens"] == [["7", None, [["7", None], ["8", None]]]]


@pytest.mark.parametrize(
    "url",
    [
        "", "localhost:8000", "ftp://x/v1", "https://user:pw@host/v1", "https://host/v1?key=1", "http:///v1",
        "http://127.0.0.1:abc/v1", "http://..com/v1", "http://[bad", "http://127.0.0.1/v\n1",
    ],
)  # fmt: skip
def test_a_bad_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"is not a URL|must hold no (user|query)"):
        Endpoint(base_url=url, model="m")


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf, 1e300, 86_401])
def test_a_timeout_that_no_clock_can_keep_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        Endpoint(base_url="http://h/v1", model="m", timeout=seconds)
    assert Endpoint(base_url="http://h/v1", model="m", timeout=86_400).timeout == 86_400


def test_errors_are_those_of_the_tree() -> None:
    assert issubclass(ConfigError, UsageError)
    assert Endpoint(base_url="http://h/v1/", model="m").base_url == "http://h/v1"


def test_the_client_is_imported_at_the_first_call_only() -> None:
    heavy = "{'openai', 'httpx2', 'torch'}"
    code = f"import sys, pipeline.salience, pipeline.knowledge; print(sorted({heavy} & set(sys.modules)))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert process.stdout.strip() == "[]"
