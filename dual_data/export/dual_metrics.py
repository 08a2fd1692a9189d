"""Scores of DUAL's answers for lm-evaluation-harness: the reference metric, and exact match with any accepted answer.

Copied beside the task files by `dual-data export lm-eval`; needs rouge_score and nothing of dual-data.
"""

from __future__ import annotations

import functools
import unicodedata
from typing import Any


@functools.cache
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rouge1", "rougeL"], use_stemmer=True)


def process_results(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Scores of the first generation of a row, each between 0 and 1."""
    generation = results[0].strip()
    scores = _scorer().score(doc["answer"], generation)
    accepted = doc.get("answers") or [doc["answer"]]
    return {
        "rougeL_recall": scores["rougeL"].recall,
        "rouge1_recall": scores["rouge1"].recall,
        "rougeL_f1": scores["rougeL"].fmeasure,
        "accepted": float(any(plain(answer) == plain(generation) for answer in accepted)),
    }


def plain(text: str) -> str:
    """`text` in lower case, without punctuation and surplus space; a text of punctuation alone ("!!!") keeps it."""
    kept = "".join(" " if unicodedata.category(c).startswith("P") else c for c in unicodedata.normalize("NFKC", text))
    return " ".join(kept.casefold().split()) or text.strip()
