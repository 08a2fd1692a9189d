"""Relearning curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import pytest
import torch

from dual_data.errors import InputError
from dual_data.evaluation.attacks.relearning import Curve, relearn, split_by_subject
from dual_data.evaluation.measuring import open_engine as engine
from dual_data.evaluation.models.tiny import tiny
from dual_data.evaluation.report.analysis.recovery import recovery
from dual_data.evaluation.rows.encoding import PROFILES, TrainingRows, encode
from dual_data.evaluation.training import fine_tune
from dual_data.evaluation.training.lora import Adapters
from dual_data.evaluation.training.optimisation import LoraSpec, Optimisation
from dual_data.evaluation.training.train import train
from tests.evaluation.questions import cities

CHAT = PROFILES["chat"]


def test_facts_of_a_subject_are_on_one_side() -> None:
    items = [item._replace(subject=item.subject[0]) for item in cities() * 2]
    tuned, scored = split_by_subject(items, 0.3)
    assert sorted(tuned + scored) == sorted(items)
    assert not {item.subject for item in tuned} & {item.subject for item in scored}
    many = [item._replace(id=f"{n}", subject=f"{n // 2}") for n, item in enumerate(cities(4) * 100)]
    assert len(split_by_subject(many, 0.2)[0]) == 32  # and 368 are scored: what is tuned on is in every step
    assert split_by_subject(items, 0.0)[0]
    assert split_by_subject(items, 1.0)[1]
    with pytest.raises(InputError, match="two subjects"):
        split_by_subject(items[:1], 0.2)


def test_tuning_on_the_facts_themselves_brings_them_back() -> None:
    loaded = tiny("llama")
    items = cities(4)
    rows = encode(loaded.tokenizer, items, "chat")
    teacher = Adapters(loaded.model, LoraSpec(rank=4, alpha=8.0), seeds=(7,))
    train(loaded, teacher, fine_tune.METHOD, TrainingRows(rows, (), 7), [1e-2], Optimisation(epochs=30))
    teacher.merge()
    adapters = Adapters(loaded.model, LoraSpec(rank=4, alpha=8.0), seeds=(0, 1))
    # Cell 1 knows less than the base: it was trained on wrong answers.
    wrong = [item._replace(answer=items[(index + 1) % 4].answer) for index, item in enumerate(items)]
    wrong_rows = TrainingRows(encode(loaded.tokenizer, wrong, CHAT), (), 0)
    train(loaded, adapters, fine_tune.METHOD, wrong_rows, [1e-2, 1e-2], Optimisation(epochs=15))
    before = adapters.master.clone()
    (itself, control), (on_wrong, control_on_wrong) = (
        [
            relearn(
                loaded,
                adapters,
                cell,
                tuned,
                held_out=items,
                profile=CHAT,
                lr=1e-2,
                steps=(1, 4, 16),
                seed=0,
            )
            for cell in (1, None)
        ]
        for tuned in (items, wrong)  # wrong is nothing new
    )
    assert torch.equal(adapters.master, before)
    assert [point.step for point in itself.points] == [0, 1, 4, 16]
    assert fmean(itself.points[-1].probabilities) > fmean(itself.points[0].probabilities)
    facts_recovery, wrong_recovery = (
        recovery(
            [point.step for point in curve.points],
            [point.hits for point in curve.points],
            [point.hits for point in of_base.points],
            of_base.points[0].hits,
            [item.subject for item in items],
        )
        for curve, of_base in ((itself, control), (on_wrong, control_on_wrong))
    )
    assert facts_recovery.steps_to(0.5).value in (1, 4, 16)
    assert facts_recovery.area.interval.value > wrong_recovery.area.interval.value
    assert facts_recovery.area.interval.low <= facts_recovery.area.interval.value <= facts_recovery.area.interval.high
    assert wrong_recovery.steps_to(0.9).value == math.inf
    for point in (*itself.points, *control.points):
        assert (len(point.probabilities), len(point.hits)) == (4, 4)
    # The control starts from the base, which knows the facts.
    assert sum(control.points[0].hits) > sum(itself.points[0].hits)
    assert fmean(control.points[0].probabilities) > 2 * fmean(itself.points[0].probabilities)
    assert fmean(control.points[-1].probabilities) >= fmean(control.points[0].probabilities) - 0.05
    # Nothing is left hanging on the model.
    assert all(len(module._forward_hooks) <= 1 for module in loaded.model.modules())


def test_a_model_that_unlearning_destroyed_is_tuned_to_the_end() -> None:
    loaded = tiny("llama")
    head: Any = loaded.model.get_output_embeddings()  # type: ignore[no-untyped-call]
    head.weight.data.mul_(50.0)  # a confident model, far worse than guessing, which would stop any other training
    items = cities(4)
    curve = relearn(
        loaded,
        Adapters(loaded.model, LoraSpec(rank=4, alpha=8.0)),
        0,
        items,
        held_out=items,
        profile=CHAT,
        lr=1e-3,
        steps=(1, 8),
        seed=0,
    )
    assert [point.step for point in curve.points] == [0, 1, 8]
    start, first, last = (fmean(point.probabilities) for point in curve.points)
    assert 1e-20 > last > first > start


@pytest.mark.parametrize("lr", [10.0, 1e20])
def test_a_curve_of_tuning_that_diverged_has_every_step_and_says_so(lr: float) -> None:
    loaded = tiny("llama")
    items = cities(7)
    adapters = Adapters(loaded.model, LoraSpec(rank=4, alpha=8.0))

    def curve(cell: int | None, steps: Sequence[int]) -> Curve:
        options: dict[str, Any] = {"held_out": items[3:], "profile": CHAT, "seed": 0}
        return relearn(loaded, adapters, cell, items[:3], **options, lr=lr, steps=steps)

    for cell, model_name in ((0, "unlearned model"), (None, "model before unlearning")):
        whole = curve(cell, (1, 2, 4, 8, 16, 32, 64))
        assert [point.step for point in whole.points] == [0, 1, 2, 4, 8, 16, 32, 64]
        start, _, rest = whole.note.partition(" at step ")
        assert start == f"tuning of the {model_name} ended early (loss or gradient not finite"
        stopped = int(rest.partition(")")[0])
        assert stopped < 32
        # The remaining steps are of the last weights, as scoring every step shows.
        fine = curve(cell, range(1, stopped))
        assert repr(whole.points[-1]) == repr(fine.points[-1]._replace(step=64))  # NaN equals itself as text


def test_a_model_that_only_the_slow_engine_serves_has_the_same_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    def curve() -> list[float]:
        loaded = tiny("llama")
        items = cities(4)
        adapters = Adapters(loaded.model, LoraSpec(rank=4, alpha=8.0))
        result = relearn(loaded, adapters, 0, items, held_out=items, profile=CHAT, lr=1e-3, steps=(2,), seed=0)
        return [fmean(point.probabilities) for point in result.points]

    fast = curve()
    monkeypatch.setattr(engine, "_NO_CACHE", {})
    monkeypatch.setattr(engine, "why_not_fast", lambda _: "made up")
    monkeypatch.setattr(engine, "FastEngine", None)
    assert curve() == pytest.approx(fast, rel=1e-4)


def test_a_share_of_the_subjects_is_tuned_on() -> None:
    items = [item._replace(id=str(n), subject=str(n // 2)) for n, item in enumerate(cities(4) * 5)]  # ten subjects
    for share, subjects in ((0.2, 2), (0.3, 3), (0.7, 7)):
        tuned, scored = split_by_subject(items, share)
        assert (len({item.subject for item in tuned}), len(tuned), len(scored)) == (
            subjects,
            2 * subjects,
            20 - 2 * subjects,
        )


def test_the_control_of_a_seed_is_a_fresh_adapter_of_that_seed() -> None:
    loaded = tiny("llama")
    items = cities(4)
    adapters = Adapters(loaded.model, LoraSpec(rank=4, alpha=8.0))

    def control(seed: int) -> tuple[float, ...]:
        curve = relearn(
            loaded,
            adapters,
            None,
            items,
            held_out=items,
            profile=CHAT,
            lr=1e-2,
            steps=(4,),
            seed=seed,
        )
        return curve.points[-1].probabilities

    assert control(1) == control(1)
    assert control(1) != pytest.approx(control(0), rel=0.01)


def test_a_point_is_of_just_as_many_steps() -> None:
    loaded, items = tiny("llama"), cities(4)
    adapters = Adapters(loaded.model, LoraSpec(rank=4, alpha=8.0))
    how: dict[str, Any] = {"held_out": items, "profile": PROFILES["chat"], "lr": 1e-2, "seed": 0}
    long, *short = (relearn(loaded, adapters, 0, items, steps=steps, **how).points for steps in ((1, 2, 4), (1,), (2,)))
    for curve in short:
        (same,) = (point for point in long if point.step == curve[-1].step)
        assert curve[-1].probabilities == pytest.approx(same.probabilities, rel=1e-5)
