"""The posterior-difference audit."""

from __future__ import annotations

import numpy as np
import pytest

from dual_data.bootstrap import UNKNOWN
from dual_data.evaluation.report.analysis.posterior import FEATURES, fit_logistic, posterior_audit
from dual_data.evaluation.results import ItemRow
from tests.evaluation.items import item


def _facts(first: int, count: int, drop: float, seed: int) -> list[ItemRow]:
    random = np.random.default_rng(seed)
    return [
        item(
            first + index,
            paraphrases=2,
            change_mean_log_probability=float(random.normal(-drop)),
            change_entropy=float(random.normal()),
            kl=float(random.exponential()),
            change_log_rank=float(random.normal()),
        )
        for index in range(count)
    ]


def test_no_trace_without_a_difference() -> None:
    auc = posterior_audit(_facts(0, 200, 0.0, 1), _facts(1000, 200, 0.0, 2))
    assert auc.low < 0.5 < auc.high


def test_chance_differences_of_the_facts_that_it_is_fitted_on_are_no_trace() -> None:
    pairs = [(_facts(0, 24, 0.0, seed), _facts(1000, 24, 0.0, 100 + seed)) for seed in range(30)]
    assert np.mean([posterior_audit(*sides).value for sides in pairs]) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("worded", ["forget", "held out"])
def test_wordings_on_one_side_alone_do_not_tell_the_sides_apart(worded: str) -> None:
    def facts(first: int, seed: int, *, many: bool) -> list[ItemRow]:
        random = np.random.default_rng(seed)

        def changes(shift: float = 0.0) -> dict[str, float]:
            return {name: float(random.normal(shift)) for name in FEATURES}

        rows = [item(first + index, popularity=None, paraphrases=0, **changes()) for index in range(200)]
        for row in rows if many else ():
            row["paraphrases"] = [{"question": "?", "generation": "", "scores": changes(1.0)} for _ in range(6)]
        return rows

    sides = facts(0, 1, many=worded == "forget"), facts(1000, 2, many=worded == "held out")
    auc = posterior_audit(*sides)
    assert auc.low < 0.5 < auc.high
    assert auc == posterior_audit(*([row | {"paraphrases": []} for row in side] for side in sides))


@pytest.mark.parametrize("worded", [False, True])
@pytest.mark.parametrize("feature", ["change_mean_log_probability", "change_entropy", "change_log_rank", "kl"])
def test_a_shift_of_one_feature_is_found(feature: str, worded: bool) -> None:
    random = np.random.default_rng(1)

    def facts(first: int, shift: float) -> list[ItemRow]:
        rows = [
            item(first + index, paraphrases=2 * worded, **{feature: float(random.normal(shift))})
            for index in range(200)
        ]
        for row in rows if worded else ():
            row["scores"][feature] = row["paraphrases"][0]["scores"][feature] = 0.0  # only the last wording tells
        return rows

    auc = posterior_audit(facts(0, -2.0), facts(1000, 0.0))
    assert auc.value == pytest.approx(0.92, abs=0.05)  # Phi(2 / sqrt 2)


def test_separable_facts_stay_finite() -> None:
    assert posterior_audit(_facts(0, 60, 1e6, 1), _facts(1000, 60, 0.0, 2)).value == 1
    table = np.repeat([[-1.0], [1.0]], 60, axis=0)
    assert np.isfinite(fit_logistic(table, np.repeat([0.0, 1.0], 60))).all()


def test_the_fit_is_where_the_gradient_vanishes() -> None:
    random = np.random.default_rng(3)
    table = random.normal(size=(80, 2))
    labels = (table[:, 0] + random.normal(size=80) > 0.3).astype(float)
    weights = fit_logistic(table, labels)

    def objective(w: np.ndarray) -> float:
        z = w[0] + table @ w[1:]
        log_likelihood = labels * z - np.logaddexp(0, z)
        share = labels.mean()
        balanced = np.where(labels == 1, 0.5 / share, 0.5 / (1 - share))
        return float((balanced * log_likelihood).sum() - 0.5 * (w[1:] ** 2).sum())

    best = objective(weights)
    for shift in np.vstack([np.eye(3), -np.eye(3)]) * 0.01:
        assert objective(weights + shift) < best


def test_what_cannot_be_audited_has_no_audit() -> None:
    assert posterior_audit(_facts(0, 1, 0.0, 1), _facts(1000, 1, 0.0, 2)) is UNKNOWN
    of_one_subject = [row | {"subject": "subject-0"} for row in _facts(0, 40, 0.0, 1)]
    assert posterior_audit(of_one_subject, _facts(1000, 40, 0.0, 2)) is UNKNOWN  # facts of a subject are in one half
    sides = _facts(0, 60, 0.0, 1), _facts(1000, 60, 0.0, 2)
    assert posterior_audit(*sides) is not UNKNOWN
    assert posterior_audit([*sides[0], item(500, paraphrases=2, kl=None)], sides[1]) is UNKNOWN
