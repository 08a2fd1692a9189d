"""The OpenAI client: a real llama.cpp server behind faults, and a stand-in for what that server does not do."""

from __future__ import annotations

import json
import logging
import math
import sqlite3
import subprocess
import sys
import zlib
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from dual_data.calls.fetching import Calls
from dual_data.errors import DualDataError, Refused, ServiceError, Transient, UsageError
from dual_data.sources.chat.openai import features
from dual_data.sources.chat.openai.closed_book import ServerAnswers
from dual_data.sources.chat.openai.completions import final_text, messages
from dual_data.sources.chat.openai.server import ChatServer, Endpoint
from dual_data.sources.chat.protocol import Chat, Sampling
from dual_data.sources.chat.usage import Ledger, Usage
from tests.clock import FakeClock
from tests.faults.proxy import CUT, DROP, RESET, Fault, error_500, html_200, proxy, slow, too_many, unavailable
from tests.services.llama import CONTEXT, KEY, MODEL, Llama
from tests.services.stand_in import Body, completion, error, stand_in
from tests.sources.chat.openai.asking import FRANCE, france, server

ROOT = Path(__file__).resolve().parents[4]


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
        planned = answers.plan(chats, Sampling(6, temperature=1.5, top_p=0.95, samples=5), [], [])
        assert (planned.calls, planned.in_log) == (10, 8)
        assert 20 < planned.tokens < 200


def test_a_system_prompt_is_a_turn_of_its_own_and_an_empty_one_is_none(calls: Calls) -> None:
    with stand_in(lambda _: completion("Paris")) as fake, server(fake.base_url, calls) as judge:
        ServerAnswers(judge).generate([Chat("Be terse.", "Where?"), Chat("", "When?")], Sampling(8))
    sent = [body["messages"] for body in fake.bodies]
    assert [{"role": "system", "content": "Be terse."}, {"role": "user", "content": "Where?"}] in sent
    assert [{"role": "user", "content": "When?"}] in sent


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
    with proxy(real.root, slow(60.0)) as front, server(f"{front.url}/v1", calls, timeout=10.0) as judge:
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


def test_a_limit_of_requests_that_speaks_of_a_context_is_no_prompt_that_is_too_long(calls: Calls) -> None:
    replies = iter([error(429, "Rate limit exceeded for models with a long context"), completion("Paris")])
    with stand_in(lambda _: next(replies)) as fake, server(fake.base_url, calls) as judge:
        (answer,) = judge.ask([france(judge)])
    assert answer["text"] == "Paris"


def test_a_model_that_does_not_load_is_no_prompt_that_is_too_long(calls: Calls) -> None:
    text = "Failed to load model: not enough memory for the context length 131072"
    replies = iter([error(500, text), completion("Paris")])
    with stand_in(lambda _: next(replies)) as fake, server(fake.base_url, calls) as judge:
        (answer,) = judge.ask([france(judge)])
    assert answer["text"] == "Paris"


def test_a_prompt_that_is_too_long_is_an_answer_and_not_the_end(real: Llama, calls: Calls) -> None:
    with server(real.base_url, calls) as judge:
        long = judge.request({"messages": messages("", "word " * (CONTEXT + 100)), "max_tokens": 2})
        answers = judge.ask([long, france(judge)])
        assert answers[0] == {"declined": "prompt_too_large"}
        assert "Paris" in answers[1]["text"]
        assert ServerAnswers(judge).generate([Chat("", "word " * (CONTEXT + 100))], Sampling(2)) == [[""]]


VLLM = (
    "You passed 9000 input tokens and requested 24 output tokens. However, the model's context length is only 8192 "
    "tokens, resulting in a maximum input length of 8168 tokens. Please reduce the length of the input prompt."
)
LM_STUDIO = "Input does not fit in context length. The input has 9000 tokens, but the context length only supports 8192"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": {"message": VLLM, "type": "BadRequestError", "param": "input_tokens", "code": 400}}),
        (400, {"object": "error", "message": VLLM, "type": "BadRequestError", "code": 400}),
        (
            400,
            {"object": "error", "message": "The input (9 tokens) is longer than the model's context length (8 tokens)"},
        ),
        (400, {"error": {"message": "The decoder prompt (length 9) is longer than the maximum model length of 8."}}),
        (400, {"error": {"message": "Input is too long for requested model."}}),
        (400, {"error": "Cannot truncate prompt with n_keep (15028) >= n_ctx (7424)"}),
        (400, {"error": "The number of tokens to keep from the initial prompt is greater than the context length"}),
        (200, {"error": {"message": f"{LM_STUDIO} tokens."}, "message": f"{LM_STUDIO} tokens."}),
        (400, {"error": {"message": "prompt is too long: 208310 tokens > 200000 maximum"}}),
        (400, [{"error": {"code": 400, "message": "The input token count (9) exceeds the maximum number of tokens"}}]),
        (400, {"error": {"message": "This model's maximum prompt length is 8 but the request contains 9 tokens"}}),
        (422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097"}),
    ],
)
def test_a_prompt_that_is_too_long_is_told_in_the_words_of_many_servers(calls: Calls, status: int, body: Any) -> None:
    with stand_in(lambda _: (status, body)) as fake, server(fake.base_url, calls) as judge:
        assert judge.ask([france(judge)]) == [{"declined": "prompt_too_large"}]
        assert len(fake.bodies) == 1


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


def of_provider(raw: str, code: int = 400) -> Body:
    """Like OpenRouter, which quotes the provider that it asked."""
    return {"code": code, "message": "Provider returned error", "metadata": {"raw": raw, "provider_name": "Azure"}}


QUOTED = of_provider('{"error": {"message": "This model\'s maximum context length is 8192 tokens", "code": 400}}')
FILTERED = of_provider('{"error": {"message": "The response was filtered", "code": "content_filter"}}')


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
        (400, {"error": QUOTED}, "prompt_too_large"),
        (200, {"error": QUOTED}, "prompt_too_large"),
        (400, {"error": FILTERED}, "content_filter"),
    ],
)
def test_one_question_that_is_refused_wherever_that_is_said_stops_nothing(
    calls: Calls, status: int, body: Body, rule: str
) -> None:
    with stand_in(lambda _: (status, body)) as fake, server(fake.base_url, calls) as judge:
        assert judge.ask([france(judge)]) == [{"declined": rule}]
        assert len(fake.bodies) == 1


def test_the_reason_of_a_provider_behind_the_server_is_told(calls: Calls) -> None:
    raw = '{"error": {"message": "Invalid schema for response_format", "param": null}}'
    with (
        stand_in(lambda _: (400, {"error": of_provider(raw), "user_id": "user_1"})) as fake,
        server(fake.base_url, calls) as judge,
        pytest.raises(Refused, match=r"400 Provider returned error .*Invalid schema for response_format"),
    ):
        judge.ask([france(judge)])


@pytest.mark.parametrize(
    ("failed", "message"),
    [
        ({"code": 401, "message": f"wrong key {KEY}"}, "status 200: the server refuses the key in .* JUDGE_KEY"),
        ({"code": 402, "message": "Insufficient credits"}, "quota of this key is used up"),
        ("Unexpected endpoint or method. (POST /chat/completions)", r"Check base_url \(it usually ends in /v1\)"),
    ],
)
def test_an_error_in_an_answer_means_what_it_means_as_a_status(calls: Calls, failed: Any, message: str) -> None:
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


@pytest.mark.parametrize("url", ["", "localhost:8000", "https://user:pw@host/v1", "https://host/v1?key=1"])
def test_a_bad_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"is not a URL|must hold no (user|query)"):
        Endpoint(base_url=url, model="m")


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [("model", "", "at least 1 character"), ("reasoning_tokens", -1, "greater than or equal to 0")],
)
def test_a_model_without_a_name_or_with_less_than_no_room_to_reason_is_refused(
    key: str, value: object, fault: str
) -> None:
    with pytest.raises(ValueError, match=rf"{key}\n.* {fault}"):
        Endpoint.model_validate({"base_url": "http://h/v1", "model": "m", key: value})


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"temperature": 1.0}, "temperature is set by this package"),
        ({"stream": True}, "stream is set by this package"),
        ({"return_tokens_as_token_ids": True}, "return_tokens_as_token_ids is set by this package"),
        ({"since": date(2026, 1, 1)}, "is sent as JSON"),
        ({"bias": {"7": math.nan}}, "is sent as JSON"),
    ],
)
def test_further_fields_that_are_set_already_or_are_no_json_are_refused(fields: Body, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        Endpoint(base_url="http://h/v1", model="m", extra_body=fields)


def test_a_real_server_obeys_further_fields(real: Llama, calls: Calls) -> None:
    with server(real.base_url, calls, extra_body={"stop": ["Par"]}) as judge:
        (answer,) = judge.ask([france(judge)])
    assert "Par" not in answer["text"]


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf, 1e300, 86_401])
def test_a_timeout_that_no_clock_can_keep_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        Endpoint(base_url="http://h/v1", model="m", timeout=seconds)
    assert Endpoint(base_url="http://h/v1", model="m", timeout=86_400).timeout == 86_400


def test_a_slash_at_the_end_of_a_url_makes_no_other_server() -> None:
    assert Endpoint(base_url="http://h/v1/", model="m").base_url == "http://h/v1"


def test_the_client_is_imported_at_the_first_call_only() -> None:
    heavy = "{'openai', 'httpx2', 'torch'}"
    code = f"import sys, pipeline.salience, pipeline.knowledge; print(sorted({heavy} & set(sys.modules)))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert process.stdout.strip() == "[]"
