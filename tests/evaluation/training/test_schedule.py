"""The order and weights of rows in training, and the learning rate at each step."""

from __future__ import annotations

import pytest

from dual_data.evaluation.training.optimisation import Optimisation
from dual_data.evaluation.training.schedule import factors, permutation, plan


def test_retain_rows_come_from_seeded_permutations_and_all_are_used() -> None:
    labels = {"forget": [2] * 8, "retain": [3] * 5}
    epochs = plan(labels, Optimisation(epochs=2, batch=4), seed=3)
    retain_rows = [
        [index for step in epoch for micro_batch in step for index in micro_batch.rows["retain"]] for epoch in epochs
    ]
    assert sorted(retain_rows[0][:5]) == [0, 1, 2, 3, 4]
    assert len(retain_rows[0]) == 8
    assert retain_rows[0] != retain_rows[1]
    assert plan(labels, Optimisation(epochs=2, batch=4), seed=3) == epochs
    assert plan(labels, Optimisation(epochs=2, batch=4), seed=4) != epochs
    assert permutation(50, 0, 0, "forget") != permutation(50, 0, 0, "retain")


def test_weights_of_a_step_sum_to_one_whatever_the_normalisation() -> None:
    labels = {"forget": [1, 2, 3, 4, 5, 6, 7], "retain": [3, 1, 2]}
    for normalise in ("batch", "micro_batch", "sequence"):
        optimisation = Optimisation(epochs=1, batch=5, micro_batch=2, normalise=normalise)
        for step in plan(labels, optimisation, 0)[0]:
            for kind in labels:
                pairs = [
                    (labels[kind][index], weight)
                    for micro_batch in step
                    for index, weight in zip(micro_batch.rows[kind], micro_batch.weights[kind], strict=True)
                ]
                assert sum(count * weight for count, weight in pairs) == pytest.approx(1.0)
                total = sum(len(micro_batch.rows[kind]) * micro_batch.share for micro_batch in step)
                assert total == pytest.approx(1.0)


def test_schedules() -> None:
    assert factors(Optimisation(epochs=2), [2, 2]) == [1.0] * 4
    assert factors(Optimisation(epochs=2, schedule="linear", warmup_epochs=1.0), [2, 2]) == [0.0, 0.5, 1.0, 0.5]
    # Rounded, this warm-up would take both steps.
    assert factors(Optimisation(epochs=2, warmup_epochs=1.9), [1, 1]) == [0.0, 1.0]
    assert factors(Optimisation(epochs=2, schedule="cosine"), [1, 1]) == pytest.approx([1.0, 0.5])


def test_the_order_of_forget_rows_is_of_the_seed_and_of_the_epoch() -> None:
    def rows(seed: int, kind: str = "forget") -> list[list[int]]:
        epochs = plan({"forget": [1] * 40, "retain": [1] * 15}, Optimisation(epochs=2, batch=8), seed)
        return [[row for step in epoch for part in step for row in part.rows[kind]] for epoch in epochs]

    orders = [*rows(0), *rows(1)]
    assert all(sorted(order) == list(range(40)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    kept, _ = rows(0, "retain")  # more of them are needed than there are
    assert sorted(kept[15:30]) == list(range(15))
    assert kept[:15] != kept[15:30]


def test_the_order_of_rows_stays_what_it_was() -> None:
    assert permutation(6, 0, 0, "forget") == [3, 0, 4, 5, 2, 1]  # else published results could not be repeated
