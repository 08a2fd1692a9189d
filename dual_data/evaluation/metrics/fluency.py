"""Whether generations are still language: entropy of word n-grams, and answers that repeat one word."""

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from dual_data.evaluation.statistics import Floats, Interval, bootstrap_function, bootstrap_mean
from dual_data.words import words


class Fluency(NamedTuple):
    """Figures over a set of generations."""

    entropy: Interval
    """Mean of the entropies of word bigrams and trigrams in bits, weighted 2/3 and 4/3 over 2 (Zhang et al. 2018,
    arXiv 1809.05972, as RWKU takes it), of all generations together. The interval is that of the mean surprisal of an
    n-gram, its code held: drawn generations repeat, and the entropy of repeats is lower for that alone."""
    looping: Interval
    """Share of generations of eight words or more in which one word makes up more than half."""


def fluency(texts: Sequence[str], clusters: Sequence[Hashable]) -> Fluency:
    """Figures of generations; `clusters` names each one's subject. Raises ValueError for none."""
    if not texts:
        raise ValueError("fluency of no texts")
    split = [words(text) for text in texts]
    pairs, triples = (_of_size(split, size) for size in (2, 3))
    looping = [len(row) >= 8 and Counter(row).most_common(1)[0][1] > len(row) / 2 for row in split]
    return Fluency(
        bootstrap_function(_entropy, (pairs.bits, pairs.counts, triples.bits, triples.counts), clusters),
        bootstrap_mean(looping, clusters, share=True),
    )


class _Ngrams(NamedTuple):
    """The n-grams of some texts."""

    bits: list[float]
    """By text, the sum of their surprisals under all texts together."""
    counts: list[float]
    """By text, how many there are."""


def _of_size(rows: Sequence[Sequence[str]], size: int) -> _Ngrams:
    by_text = [[tuple(row[i : i + size]) for i in range(len(row) - size + 1)] for row in rows]
    counts = Counter(ngram for ngrams in by_text for ngram in ngrams)
    bits = {ngram: math.log2(counts.total() / count) for ngram, count in counts.items()}
    sums = [math.fsum(bits[ngram] for ngram in ngrams) for ngrams in by_text]
    return _Ngrams(sums, [float(len(ngrams)) for ngrams in by_text])


def _entropy(bits_2: Floats, count_2: Floats, bits_3: Floats, count_3: Floats) -> Floats:
    """By mean surprisal and mean number of bigrams and of trigrams a text; 0 where there are none."""
    pairs, triples = (bits / np.where(count > 0, count, 1.0) for bits, count in ((bits_2, count_2), (bits_3, count_3)))
    return (2 / 3 * pairs + 4 / 3 * triples) / 2
