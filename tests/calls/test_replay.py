"""An answer is logged, and asked for once."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_data.calls.fetching import Calls, Counts
from dual_data.calls.log import key_of
from dual_data.errors import Offline
from dual_data.ids import canonical
from tests.calls.scripted import never
from tests.clock import FakeClock

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_an_answer_is_fetched_once(tmp_path: Path) -> None:
    with Calls(tmp_path / "calls.sqlite") as calls:
        assert calls.fetch("a", {"x": 1}, lambda: {"value": "é"}) == {"value": "é"}
        assert calls.fetch("a", {"x": 1}, never) == {"value": "é"}
        assert calls.counts() == {"a": Counts(made=1, replayed=1, failed=0)}
    with Calls(tmp_path / "calls.sqlite") as again:
        assert again.fetch("a", {"x": 1}, never) == {"value": "é"}
        assert again.missing("a", [{"x": 1}, {"x": 1}, {"x": 2}]) == [{"x": 2}]
        assert again.missing("b", [{"x": 1}]) == [{"x": 1}]


def test_the_latest_answer_to_a_part_of_a_request(tmp_path: Path) -> None:
    clock = FakeClock()
    with Calls(tmp_path / "calls.sqlite", clock=clock) as calls:
        assert calls.latest("a", {"task": "open"}) is None
        for version in ("2", "1"):
            calls.fetch("a", {"task": "open", "version": version}, lambda: f"answer {version}")  # noqa: B023
            clock.sleep(60)
        calls.fetch("a", {"task": ["close"]}, lambda: "closed")
        calls.fetch("b", {"task": "open"}, lambda: "of another source")
        assert calls.latest("a", {"task": "open"}) == "answer 1"
        assert calls.latest("a", {"task": "open", "version": "2"}) == "answer 2"


def test_what_is_noted_again_is_the_latest(tmp_path: Path) -> None:
    clock = FakeClock()
    with Calls(tmp_path / "calls.sqlite", clock=clock) as calls:
        for version in ("1", "2", "1"):
            calls.note("a", {"task": "open", "version": version}, f"answer {version}")
            clock.sleep(60)
            assert calls.latest("a", {"task": "open"}) == f"answer {version}"
        calls.note("a", {"task": "open", "version": "1"}, "another answer")
        assert calls.latest("a", {"task": "open"}) == "another answer"
        clock.time -= 100_000
        for version in "123456789":
            calls.note("a", {"task": "open", "version": version}, f"by an earlier clock, {version}")
            assert calls.latest("a", {"task": "open"}) == f"by an earlier clock, {version}"
    with Calls(tmp_path / "calls.sqlite", offline=True) as calls, pytest.raises(Offline):
        calls.note("a", {"task": "open", "version": "1"}, "a third")


def test_the_day_of_every_answer(tmp_path: Path) -> None:
    clock = FakeClock()
    with Calls(tmp_path / "calls.sqlite", clock=clock) as calls:
        for number in (2, 1):
            calls.fetch("a", {"x": number}, lambda: "answer")
            clock.sleep(86_400)
            calls.fetch("a", {"x": number}, never)
        calls.fetch("b", {"x": 3}, lambda: "of another source")
        assert calls.answered("a") == [({"x": 2}, "2023-11-14"), ({"x": 1}, "2023-11-15")]


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_the_key_does_not_depend_on_the_order_of_a_request(request: dict[str, Any]) -> None:
    reordered = dict(reversed(list(request.items())))
    assert key_of("a", request) == key_of("a", reordered)
    assert canonical(request) == canonical(reordered)
    assert key_of("a", request) != key_of("b", request)


@given(JSON.filter(lambda answer: answer is not None))
def test_any_answer_comes_back_as_it_was(answer: Any) -> None:
    with tempfile.TemporaryDirectory() as folder, Calls(Path(folder) / "calls.sqlite") as calls:
        assert calls.fetch("a", {}, lambda: answer) == answer
        assert calls.fetch("a", {}, never) == answer


@given(st.text(alphabet=st.sampled_from('a\ud83d\ude00\U0001f600"')), st.booleans())
def test_half_a_character_is_replaced_live_as_in_the_log(text: str, batch: bool) -> None:
    answer = {text: [text]}
    with tempfile.TemporaryDirectory() as folder, Calls(Path(folder) / "calls.sqlite") as calls:
        if batch:
            (result,) = calls.fetch_batches("a", [{}], lambda _: [answer], size=1)
        else:
            result = calls.fetch("a", {}, lambda: answer)
        assert calls.fetch("a", {}, never) == result
    (key, (value,)) = next(iter(result.items()))
    assert key == value == text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    value.encode()


def test_no_answer_is_a_defect_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must not be None"):
        Calls(tmp_path / "calls.sqlite").fetch("a", {}, lambda: None)


def test_offline_names_everything_that_is_missing(tmp_path: Path) -> None:
    Calls(tmp_path / "calls.sqlite").fetch("a", {"n": 0}, lambda: [0])
    offline = Calls(tmp_path / "calls.sqlite", offline=True)
    assert offline.fetch("a", {"n": 0}, never) == [0]
    with pytest.raises(Offline, match=r"2 call\(s\) are not in the call log:\n  a: {\"n\":1}\n  a: {\"n\":2}"):
        offline.fetch_all("a", [{"n": n} for n in range(3)], lambda _: never())
    with pytest.raises(Offline, match=r"2 call\(s\) are not in the call log"):
        offline.fetch_batches("a", [{"n": n} for n in range(3)], lambda _: never(), size=2)
    with pytest.raises(Offline):
        offline.fetch("a", {"n": 7}, never)


@pytest.mark.parametrize("batch", [False, True])
def test_of_two_processes_that_ask_the_same_at_once_both_work_with_the_answer_that_stays(
    tmp_path: Path, batch: bool
) -> None:
    first, second = (Calls(tmp_path / "calls.sqlite") for _ in range(2))

    def do() -> str:
        return str(first.fetch("a", {}, lambda: "of the first"))

    if batch:
        assert second.fetch_batches("a", [{}], lambda _: [do() and "of the second"], size=1) == ["of the first"]
    else:
        assert second.fetch("a", {}, lambda: do() and "of the second") == "of the first"
    assert first.fetch("a", {}, never) == "of the first"
