"""Results in order, however the threads run, and no further ahead than allowed."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest

from dual_data.sources.dumps.ahead import in_order


def test_results_come_in_the_order_of_the_work() -> None:
    delays = [random.Random(1).random() / 200 for _ in range(40)]

    def slow(number: int) -> int:
        time.sleep(delays[number])
        return number * 2

    assert list(in_order(slow, range(40), workers=4)) == [number * 2 for number in range(40)]
    assert list(in_order(slow, [], workers=4)) == []


def test_no_more_is_taken_than_can_wait() -> None:
    taken = 0

    def numbers() -> Iterator[int]:
        nonlocal taken
        for number in range(100):
            taken += 1
            yield number

    results = in_order(str, numbers(), workers=3)
    assert [next(results) for _ in range(5)] == ["0", "1", "2", "3", "4"]
    assert taken <= 5 + 3


def test_an_error_comes_where_its_result_would_have_come() -> None:
    results = in_order(lambda number: 1 // (3 - number), range(10), workers=2)
    assert [next(results) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
