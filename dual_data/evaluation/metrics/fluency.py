"""Whether generations are still language: entropy of word n-grams, and answers that repeat one word."""

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from dual_data.bootstrap import SHARE, Interval, Scale, bootstrap_function, bootstrap_mean
from dual_data.statistics import Floats
from dual_data.text.words import words


class Fluency(NamedTuple):
    """Figures over a set of generations."""

    entropy: Interval
    """Entropy of word bigrams and trigrams of all generations together (Zhang et al. 2018, arXiv 1809.05972), in bits:
    their mean with the weights of RWKU, 2/3 and 4/3. RWKU's own figure is another: the mean of the entropies of single
    texts, over nltk's tokens. The interval is that of the mean surprisal of an n-gram under fixed probabilities:
    bootstrap draws repeat generations, which alone would lower the entropy."""
    looping: Interval
    """Share of the generations that have eight words or more, of which one makes up more than half: short ones are too
    short to loop, and count as those that do not."""


def fluency(texts: Sequence[str], clusters: Sequence[Hashable]) -> Fluency:
    """Figures of generations; `clusters` names each one's subject. Raises ValueError for none."""
    word_lists = [words(text) for text in texts]
    pairs, triples = (_of_size(word_lists, size) for size in (2, 3))
    looping = [len(row) >= 8 and Counter(row).most_common(1)[0][1] > len(row) / 2 for row in word_lists]
    return Fluency(
        bootstrap_function(_entropy, (*pairs, *triples), clusters, Scale(low=0.0)),
        bootstrap_mean(looping, clusters, SHARE),
    )


def _of_size(word_lists: Sequence[Sequence[str]], size: int) -> tuple[list[float], list[float]]:
    """By text, the sum of the surprisals of its n-grams, whose probabilities are from all texts, and their number."""
    by_text = [[tuple(row[i : i + size]) for i in range(len(row) - size + 1)] for row in word_lists]
    counts = Counter(ngram for ngrams in by_text for ngram in ngrams)
    bits = {ngram: math.log2(counts.total() / count) for ngram, count in counts.items()}
    sums = [math.fsum(bits[ngram] for ngram in ngrams) for ngrams in by_text]
    return sums, [float(len(ngrams)) for ngrams in by_text]


def _entropy(bits_2: Floats, count_2: Floats, bits_3: Floats, count_3: Floats) -> Floats:
    """Weighted entropy from the mean surprisal and mean number per text of bigrams and trigrams; 0 without any."""
    pairs, triples = (bits / np.where(count > 0, count, 1.0) for bits, count in ((bits_2, count_2), (bits_3, count_3)))
    return (2 / 3 * pairs + 4 / 3 * triples) / 2
