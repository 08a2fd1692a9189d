"""Metrics of one answer under teacher forcing, from per-token figures: probability, ranks, memorisation.

Every function uses only the answer tokens; the token that ends the turn counts only where the name says so. With chat
templates, open-unlearning's memorisation is over the same tokens, since it drops the last label, and its probability is
`probability_with_end`. Where rows have no end, it drops the answer's last token.
"""

import itertools
import math
from collections.abc import Sequence

from dual_data.evaluation.rows.request import TokenScores


def sum_log_probability(scores: TokenScores) -> float:
    """sum_t log p(y_t) over the answer tokens."""
    return math.fsum(scores.answer_log_p)


def mean_log_probability(scores: TokenScores) -> float:
    """mean_t log p(y_t) over the answer tokens."""
    return sum_log_probability(scores) / scores.answer_tokens


def probability(scores: TokenScores) -> float:
    """exp(mean_t log p(y_t)) over the answer tokens, without the end of the turn."""
    return math.exp(mean_log_probability(scores))


def probability_with_end(scores: TokenScores) -> float:
    """The same including the end of the turn, as open-unlearning computes it."""
    return math.exp(math.fsum(scores.log_p) / len(scores.log_p))


def first_rank(scores: TokenScores) -> int:
    """Rank of the first answer token in the vocabulary."""
    return scores.rank[0]


def worst_rank(scores: TokenScores) -> int:
    """Largest rank over the answer tokens."""
    return max(scores.rank[: scores.answer_tokens])


def sequence_rank(gold: float, distractors: Sequence[float]) -> float | None:
    """Rank of the gold answer among distractors by mean log-probability: 1 + the number that score strictly higher.

    None without distractors; NaN where one of them or the gold answer is NaN, which comparisons would rank.
    """
    if not distractors:
        return None
    if any(map(math.isnan, (gold, *distractors))):
        return math.nan
    return 1.0 + sum(distractor > gold for distractor in distractors)


def exact_memorisation(scores: TokenScores) -> float:
    """Share of the answer tokens that are the argmax given all gold tokens before them."""
    return sum(scores.greedy[: scores.answer_tokens]) / scores.answer_tokens


def extraction_strength(scores: TokenScores) -> float:
    """1 - k*/n, where k* is the least k such that every token from k on is the argmax, and n if there is none.

    A wrong last token gives 0; open-unlearning gives 1/n then, so a wrong answer of one token scores 1 there.
    """
    n = scores.answer_tokens
    return sum(itertools.takewhile(bool, reversed(scores.greedy[:n]))) / n


def mean_kl(scores: TokenScores) -> float | None:
    """Mean over answer positions of KL(reference || model); None without a reference."""
    if not scores.kl:
        return None
    return math.fsum(scores.kl[: scores.answer_tokens]) / scores.answer_tokens


def mean_entropy(scores: TokenScores) -> float:
    """Mean entropy over the answer positions, in nats."""
    return -math.fsum(scores.mean[: scores.answer_tokens]) / scores.answer_tokens
