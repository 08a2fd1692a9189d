"""ROUGE-1 and ROUGE-L of short answers, equal to ``rouge_score`` with its stemmer and fast on large tables.

``rouge_score`` builds a table of len(gold) x len(text) cells in Python for every pair. Here the words of a
text are stemmed once, and the longest common subsequence is counted with the bits of an integer (Hyyrö 2004,
"Bit-parallel LCS-length computation revisited"), so 10^5 pairs take about a second.
The Unicode variant folds diacritics and keeps words of every script: the plain one scores 0 for "Brasília"
against "Brasilia" and for any answer in Cyrillic or Chinese.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from dual_data.text.stemmer import stem
from dual_data.text.words import PLAIN, words


class Rouge(NamedTuple):
    """The scores of one text against one gold answer, each between 0 and 1."""

    rouge1_recall: float
    rougeL_recall: float  # noqa: N815 - the name that every published log uses
    rougeL_f1: float  # noqa: N815
    rouge1_f1: float


@lru_cache(maxsize=1 << 17)
def plain_tokens(text: str) -> tuple[str, ...]:
    """Split as ``rouge_score`` does: lower case, ``[a-z0-9]+``, words of more than three letters stemmed."""
    return tuple(map(_stem, words(text) if text.isascii() else PLAIN.findall(text.lower())))


@lru_cache(maxsize=1 << 17)
def unicode_tokens(text: str) -> tuple[str, ...]:
    """Split into folded words of any script; ASCII words are stemmed as in :func:`plain_tokens`."""
    return tuple(_stem(word) if word.isascii() else word for word in words(text))


def rouge(gold: str, text: str, *, unicode: bool = False) -> Rouge:
    """Score ``text`` against one ``gold`` answer."""
    tokens = unicode_tokens if unicode else plain_tokens
    gold_words, text_words = tokens(gold), tokens(text)
    if not gold_words or not text_words:
        return Rouge(0.0, 0.0, 0.0, 0.0)
    # In the order of operations of rouge_score, so that scores are equal to the last bit.
    overlap = (Counter(gold_words) & Counter(text_words)).total()
    unigram_recall, unigram_f1 = _recall_and_f1(overlap, gold_words, text_words)
    lcs_recall, lcs_f1 = _recall_and_f1(longest_common_subsequence(gold_words, text_words), gold_words, text_words)
    return Rouge(unigram_recall, lcs_recall, lcs_f1, unigram_f1)


def rouge_best(answers: Sequence[str], text: str, *, unicode: bool = False) -> Rouge:
    """Score ``text`` against several accepted answers: each score's maximum over them; zeros for none."""
    scores = [rouge(answer, text, unicode=unicode) for answer in answers]
    if not scores:
        return Rouge(0.0, 0.0, 0.0, 0.0)
    return Rouge(*(max(column) for column in zip(*scores, strict=True)))


def recall_l(gold: str, text: str) -> float:
    """ROUGE-L recall: the longest common subsequence of words over the number of gold words."""
    gold_words = plain_tokens(gold)
    return longest_common_subsequence(gold_words, plain_tokens(text)) / len(gold_words) if gold_words else 0.0


def is_scorable(gold: str) -> bool:
    """Whether the plain scores can tell right from wrong: whether the gold has a letter from A to Z or a digit."""
    return bool(plain_tokens(gold))


def is_cut(gold: str) -> bool:
    """Whether the plain scores cut a word of a gold that they can score, at letters other than A to Z."""
    return not gold.isascii() and is_scorable(gold) and plain_tokens(gold) != unicode_tokens(gold)


def share_a_word(golds: Iterable[str], texts: Iterable[str]) -> list[bool]:
    """Whether `recall_l` is above 0 for each pair: whether the two share a word once stemmed.

    Raises ValueError when the two differ in length.
    """
    pairs = zip(golds, texts, strict=True)
    return [not set(plain_tokens(gold)).isdisjoint(plain_tokens(text)) for gold, text in pairs]


def longest_common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence, with a few integer operations for each word of ``second``."""
    positions: dict[str, int] = {}
    for index, word in enumerate(first):
        positions[word] = positions.get(word, 0) | 1 << index
    mask = (1 << len(first)) - 1
    unmatched = mask
    for word in second:
        hits = unmatched & positions.get(word, 0)
        unmatched = ((unmatched + hits) | (unmatched - hits)) & mask
    return len(first) - unmatched.bit_count()


def _recall_and_f1(matched: int, gold_words: tuple[str, ...], text_words: tuple[str, ...]) -> tuple[float, float]:
    precision, recall = matched / len(text_words), matched / len(gold_words)
    return recall, 2 * precision * recall / (precision + recall) if matched else 0.0


@lru_cache(maxsize=1 << 17)
def _stem(word: str) -> str:
    return stem(word) if len(word) > 3 else word
