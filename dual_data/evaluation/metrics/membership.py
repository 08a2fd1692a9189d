"""Scores of membership inference: the higher, the likelier that the model was trained on the answer.

loss: Yeom et al. 2018; zlib: Carlini et al. 2021; min-k: Shi et al. 2024, arXiv 2310.16789; min-k++: Zhang et al. 2025,
arXiv 2404.02936.
"""

import math
import zlib
from collections.abc import Callable, Mapping, Sequence

from dual_data.evaluation.metrics.likelihood import mean_log_probability
from dual_data.evaluation.rows.request import TokenScores


def zlib_ratio(scores: TokenScores, text: str) -> float:
    """Mean log-probability of the answer's tokens, divided by the zlib-compressed size of its text in bytes."""
    return mean_log_probability(scores) / len(zlib.compress(text.encode("utf-8")))


def min_k(scores: TokenScores, share: float) -> float:
    """Mean of the lowest `share` of the answer tokens' log-probabilities, at least one."""
    return _mean_of_lowest(scores.answer_log_p, share)


def min_k_plus_plus(scores: TokenScores, share: float) -> float:
    """Min-k of (log p(y) - mean) / deviation, with mean and deviation under the model's own distribution.

    A deviation below 1e-6, of a nearly certain distribution, counts as 1e-6, so that the score stays finite.
    """
    pairs = zip(scores.answer_log_p, scores.mean, scores.deviation, strict=False)
    return _mean_of_lowest([(log_p - mean) / max(sd, 1e-6) for log_p, mean, sd in pairs], share)


MEMBERSHIP_ATTACKS: Mapping[str, Callable[[TokenScores, str], float]] = {
    "loss": lambda scores, _: mean_log_probability(scores),
    "zlib": zlib_ratio,
    "min_k_20": lambda scores, _: min_k(scores, 0.2),
    "min_k_40": lambda scores, _: min_k(scores, 0.4),
    "min_k_plus_plus_20": lambda scores, _: min_k_plus_plus(scores, 0.2),
    "min_k_plus_plus_40": lambda scores, _: min_k_plus_plus(scores, 0.4),
}
"""Attacks that need no reference model, by name; each takes the answer's scores and its text."""


def _mean_of_lowest(values: Sequence[float], share: float) -> float:
    count = max(1, int(len(values) * share))
    return math.fsum(sorted(values)[:count]) / count
