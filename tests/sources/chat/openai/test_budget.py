"""Budgets of tokens and money: they stop in time, count the log, and hold where a server reports no usage."""

from __future__ import annotations

import _thread
import time
from pathlib import Path
from threading import Event

import pytest

from dual_data.calls.fetching import Calls
from dual_data.config import Pace
from dual_data.errors import BudgetSpent, Refused
from dual_data.sources.chat.openai import features
from dual_data.sources.chat.openai.completions import messages
from dual_data.sources.chat.openai.server import expected_usage
from dual_data.sources.chat.usage import Budget, Ledger, Price, Usage
from tests.services.stand_in import Body, completion, error, stand_in
from tests.sources.chat.openai.asking import france, server


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
                    BudgetSpent, match=r"tokens = 320 does not cover another answer, .* Raise salience.budget"
                ):
                    judge.ask(requests)
            expected = max(expected_usage(request["body"]).tokens for request in requests)
            # What does not fit beside the three other calls waits for them, and may fit then.
            assert 320 - expected < ledger.spent.tokens <= 320 + 4 * 32
            assert ledger.spent.tokens >= spent.tokens
            spent = ledger.spent
        assert len(fake.bodies) == len(requests) - len(calls.missing("judge", requests))
        full = Ledger("salience.budget", price, Budget(money=1.0))
        with server(fake.base_url, calls, ledger=full) as judge:
            judge.ask(requests)
        assert len(fake.bodies) == 30
        assert full.spent == Usage(30, 900, 0, 60)
        row = full.table("m").to_dicts()[0]
        assert row["cost"] == pytest.approx((900 * 1.0 + 60 * 10.0) / 1e6)
        assert (row["currency"], str(row["price_date"])) == ("USD", "2026-01-01")


@pytest.mark.parametrize("by_hand", [False, True])
def test_calls_that_wait_for_the_budget_are_not_sent_after_a_failure(tmp_path: Path, by_hand: bool) -> None:
    def reply(_: Body) -> tuple[int, Body]:
        time.sleep(0.5)
        if len(fake.bodies) == 2 and by_hand:
            _thread.interrupt_main()
        elif len(fake.bodies) == 2:
            return error(401, "bad key")
        return completion("Paris", usage={"prompt_tokens": 1, "completion_tokens": 1})

    # One call at a time fits, and seven others wait for it.
    ledger = Ledger("salience.budget", None, Budget(tokens=150))
    paces = {"judge": Pace(concurrency=8)}
    with (
        stand_in(reply) as fake,
        Calls(tmp_path / "c.sqlite", paces) as calls,
        server(fake.base_url, calls, ledger=ledger) as judge,
        pytest.raises(KeyboardInterrupt if by_hand else Refused),
    ):
        judge.ask([judge.request({"messages": messages("", f"Question {n}"), "max_tokens": 100}) for n in range(20)])
    assert len(fake.bodies) <= 3


def test_a_call_that_waited_in_vain_is_told_the_limit_that_is_set() -> None:
    ledger, ended = Ledger("salience.budget", None, Budget(tokens=100)), Event()
    ended.set()
    expected = Usage(1, 60, 0, 0)
    with ledger.spending(expected), pytest.raises(BudgetSpent, match=r"^salience\.budget\.tokens = 100 does not cover"):
        ledger.spending(expected, ended).__enter__()


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
        refusal = (
            r"budget.money = 0.001 does not cover another answer, which may take 0\.0\d+ USD: 0\.0000 USD are used"
        )
        with pytest.raises(BudgetSpent, match=refusal):
            judge.ask([france(judge)])
        assert fake.bodies == []


def test_a_plan_tells_what_is_left_of_a_budget_of_money() -> None:
    price = Price.model_validate({"date": "2026-01-01", "input": 1000.0, "output": 0})
    ledger = Ledger("b", price, Budget(money=2.0))
    ledger.count(Usage(1, 500))
    cost = "about 1.00 USD by the price of 2026-01-01"
    assert ledger.foresee(Usage(5, 1000)) == [cost]
    assert ledger.foresee(Usage(5, 1000)) == [cost, "b.money = 2 covers about 50 % of this"]
    assert ledger.foresee(Usage(5, 1000)) == [cost, "b.money = 2 covers about 0 % of this"]
    assert ledger.foresee(Usage()) == []


def test_a_plan_counts_what_it_took_to_find_out_what_the_server_supports(calls: Calls) -> None:
    reply = completion("A cat", usage={"prompt_tokens": 30, "completion_tokens": 2})
    with stand_in(lambda _: reply) as fake:
        with server(fake.base_url, calls) as probed:
            features.capabilities(probed)
        budget = Budget(tokens=probed.ledger.spent.tokens + 5)
        with server(fake.base_url, calls, ledger=Ledger("b", None, budget)) as planned:
            assert features.recall(planned) is not None
            foreseen = planned.foresee([france(planned)], "a guess")
    share = 100 * 5 // foreseen.tokens
    assert foreseen.note == f"a guess; b.tokens = {budget.tokens} covers about {share} % of this"


@pytest.mark.parametrize("key", ["input", "output", "cached_input"])
def test_a_negative_price_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match=rf"{key}\n.* greater than or equal to 0"):
        Price.model_validate({"date": "2026-01-01", "input": 1.0, "output": 1.0, key: -1.0})
