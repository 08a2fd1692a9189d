"""Whether generations are still language: entropy of word n-grams, distinct n-grams, empty and looping answers."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from dual_data.words import words


class Fluency(NamedTuple):
    """Figures over a set of generations."""

    entropy: float
    """Mean of the entropies of word bigrams and trigrams in bits, weighted 2/3 and 4/3 over 2 (Zhang et al. 2018,
    arXiv 1809.05972, as RWKU takes it), of all generations together."""
    distinct_2: float
    """Share of the bigrams that are different ones."""
    empty: float
    """Share of generations without a word."""
    looping: float
    """Share of generations of eight words or more in which one word makes up more than half."""


def fluency(texts: Sequence[str]) -> Fluency:
    """Figures of generations. Raises ValueError for none."""
    if not texts:
        raise ValueError("fluency of no texts")
    split = [words(text) for text in texts]
    bigrams, trigrams = _ngrams(split, 2), _ngrams(split, 3)
    looping = [len(row) >= 8 and Counter(row).most_common(1)[0][1] > len(row) / 2 for row in split]
    return Fluency(
        (2 / 3 * _entropy(bigrams) + 4 / 3 * _entropy(trigrams)) / 2,
        len(bigrams) / bigrams.total() if bigrams else 0.0,
        sum(not row for row in split) / len(split),
        sum(looping) / len(split),
    )


def _ngrams(rows: Sequence[Sequence[str]], size: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(row[i : i + size]) for row in rows for i in range(len(row) - size + 1))


def _entropy(counts: Counter[tuple[str, ...]]) -> float:
    total = counts.total()
    return -math.fsum(count / total * math.log2(count / total) for count in counts.values())
