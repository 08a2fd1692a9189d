"""Figures of logits against their formulas, computed in Python in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch

from dual_data.evaluation.measuring.score import figures, figures_of_hidden, split_scores
from dual_data.evaluation.rows.request import TokenScores


def _softmax(row: Sequence[float]) -> list[float]:
    top = max(row)
    weights = [math.exp(z - top) for z in row]
    return [weight / math.fsum(weights) for weight in weights]


def _random(tokens: int = 9, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(tokens, 50, generator=generator) * 4
    return logits, torch.randint(50, (tokens,), generator=generator)


def test_figures_follow_the_formulas() -> None:
    logits, gold = _random()
    reference, _ = _random(seed=1)
    actual = figures(logits, gold, reference)
    assert actual.kl is not None
    for t, (row, y) in enumerate(zip(logits.double().tolist(), gold.tolist(), strict=True)):
        p, q = _softmax(row), _softmax(reference[t].double().tolist())
        mean = math.fsum(w * math.log(w) for w in p)
        variance = math.fsum(w * (math.log(w) - mean) ** 2 for w in p)
        kl = math.fsum(b * (math.log(b) - math.log(w)) for w, b in zip(p, q, strict=True))
        assert actual.log_p[t].item() == pytest.approx(math.log(p[y]), abs=1e-5)
        assert actual.rank[t].item() == 1 + sum(z > row[y] for z in row)
        assert actual.greedy[t].item() == (row.index(max(row)) == y)
        assert actual.mean[t].item() == pytest.approx(mean, abs=1e-5)
        assert actual.deviation[t].item() == pytest.approx(math.sqrt(variance), abs=1e-5)
        assert actual.kl[t].item() == pytest.approx(kl, abs=1e-5)


def test_hand_made_logits() -> None:
    logits = torch.tensor([[0.0, math.log(2), math.log(5)], [3.0, 3.0, 3.0], [-math.inf, 0.0, 0.0]])
    actual = figures(logits, torch.tensor([1, 2, 1]), logits)
    assert actual.log_p.exp().tolist() == pytest.approx([2 / 8, 1 / 3, 1 / 2])
    assert actual.rank.tolist() == [2, 1, 1]
    assert actual.greedy.tolist() == [False, False, True]  # of equal logits the first is decoded
    assert actual.mean[1].item() == pytest.approx(-math.log(3))
    assert actual.deviation[1].item() == pytest.approx(0, abs=1e-6)
    assert actual.mean[2].item() == pytest.approx(-math.log(2))  # an impossible token adds nothing
    assert actual.kl is not None
    assert actual.kl.tolist() == [0, 0, 0]


def test_pieces_of_the_head_change_nothing() -> None:
    generator = torch.Generator().manual_seed(3)
    hidden, weight = torch.randn(3, 7, 8, generator=generator), torch.randn(8, 20, generator=generator)
    gold, base = torch.randint(20, (7,), generator=generator), torch.randn(7, 20, generator=generator)
    whole, kept_whole = figures_of_hidden(lambda states: states @ weight, hidden, gold, base, 20, keep=True)
    pieces, kept_pieces = figures_of_hidden(
        lambda states: states @ weight, hidden, gold, base, 20, keep=True, chunk=130
    )
    for expected, actual in zip(whole, pieces, strict=True):
        assert expected is not None
        assert actual is not None
        torch.testing.assert_close(expected, actual)
    torch.testing.assert_close(kept_whole, kept_pieces)
    torch.testing.assert_close(kept_whole, hidden[0] @ weight)


def test_rows_are_cut_where_answers_end() -> None:
    logits, gold = _random(tokens=5)
    scores = split_scores(figures(logits, gold), [2, 3], [1, 2], [None, 0.5])
    whole = figures(logits, gold).log_p.tolist()
    assert [row.log_p for row in scores] == [tuple(whole[:2]), tuple(whole[2:])]
    assert scores[0].answer_log_p == tuple(whole[:1])
    assert (scores[0].kl, scores[1].cosine) == ((), 0.5)
    assert isinstance(scores[0], TokenScores)
