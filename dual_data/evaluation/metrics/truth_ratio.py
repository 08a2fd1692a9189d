"""Truth ratio (TOFU, Maini et al. 2024, arXiv 2401.06121): how much likelier wrong answers of the same kind are.

The wrong answers are distractors of the same relation. All arguments are mean log-probabilities per token.
"""

import math
from collections.abc import Sequence


def truth_ratio(gold: float, distractors: Sequence[float]) -> float | None:
    """r = exp(mean_j mean_t log p(wrong_j)) / exp(mean_t log p(gold)); None without distractors.

    Below 1 the model prefers the truth. The mean over wrong answers is geometric, as in open-unlearning. The exponent
    is capped at 700, near the overflow of floats.
    """
    if not distractors:
        return None
    exponent = math.fsum(distractors) / len(distractors) - gold
    return math.exp(min(exponent, 700.0))


def normalised_probability(gold: float, distractors: Sequence[float]) -> float | None:
    """p(gold) / (p(gold) + sum_j p(wrong_j)) with p = exp(mean_t log p); None without distractors.

    Guessing gives 1 / (1 + number of distractors). It is TOFU's probability on the sets with answer options.
    """
    if not distractors:
        return None
    return 1.0 / (1.0 + math.fsum(math.exp(min(wrong - gold, 700.0)) for wrong in distractors))


def indistinguishable(ratio: float) -> float:
    """min(r, 1/r): 1 where truth and falsehood are equally likely. TOFU's aggregate on the forget set."""
    return min(ratio, 1 / ratio) if ratio > 0 else 0.0


def truthful(ratio: float) -> float:
    """max(0, 1 - r): 1 where the truth is certain. TOFU's aggregate on the retain sets."""
    return max(0.0, 1.0 - ratio)


def share_of_truth(ratio: float) -> float:
    """correct / (correct + wrong) = 1 / (1 + r)."""
    return 1.0 / (1.0 + ratio)
