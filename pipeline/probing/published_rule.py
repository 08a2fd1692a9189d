"""The published rule of knowledge validation: its constants, its choice among the samples, its similarity."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from dual_data.engine.stage import Tools
from dual_data.sources.chat.protocol import Sampling
from pipeline.probing.probe import DIGITS

SAMPLING = Sampling(max_new_tokens=10, temperature=1.5, top_p=0.95, samples=15)
"""Constants of the published validation protocol."""
SIMILARITY = 0.6
"""A cosine above it counts as known."""

EMBEDDING = "all-MiniLM-L6-v2"
"""The sentence embedding of the published protocol."""


def cut(text: str) -> str:
    """The published cut: up to the first full stop or line break.

    >>> cut("Paris. It is")
    'Paris'
    """
    return re.split(r"[.\n]", text.strip(), maxsplit=1)[0].strip()


def word_recall(answer: str, text: str) -> float:
    r"""Share of the answer's words (runs of \w, lower case) that occur in the text: the published `gen_recall`.

    >>> word_recall("Gmina Kobylin", "Kobylin is a gmina in P")
    1.0
    """
    answer_words, text_words = re.findall(r"\w+", answer.lower()), set(re.findall(r"\w+", text.lower()))
    return sum(word in text_words for word in answer_words) / len(answer_words) if answer_words else 0.0


def best_sample(answer: str, texts: Sequence[str]) -> str:
    """The published `best_gen`: the first of the samples with the highest word recall."""
    return max(texts, key=lambda text: word_recall(answer, text), default="")


def similarities(pairs: Sequence[tuple[str, str]], tools: Tools) -> list[float | None]:
    """Cosine of the embeddings of each pair, one logged call per pair; None for an empty text.

    Raises MissingExtra where there is no embedding: the published rule cannot decide without it.
    """
    requests = [{"embedding": EMBEDDING, "texts": list(pair)} for pair in pairs if pair[0]]

    def do(group: Sequence[Mapping[str, Any]]) -> list[list[float | None]]:
        vectors = tools.open_embedding()([text for request in group for text in request["texts"]])
        cosines = [float(vectors[i] @ vectors[i + 1]) for i in range(0, 2 * len(group), 2)]
        return [[round(cosine, DIGITS) if math.isfinite(cosine) else None] for cosine in cosines]

    results = iter(tools.calls.fetch_batches(f"local:{EMBEDDING}", requests, do, size=128))
    return [next(results)[0] if text else None for text, _ in pairs]
