"""Scores corrected for what trivial rules reach.

A model that forgot nothing and a rule that knows nothing can score alike: on the published sets always answering
"India", or repeating the subject's name, reaches half of what a good model does.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import polars as pl

from dual_data.audit.baselines import baselines, most_frequent, prefix
from dual_data.audit.columns import standard
from dual_data.evaluation.data import Item
from dual_data.evaluation.statistics import Floats
from dual_data.rouge import longest_common_subsequence, plain_tokens, recalls_l


def trivial_baselines(items: Sequence[Item]) -> dict[str, float]:
    """The audit's baselines of a set, by name; those that the items' fields cannot tell are absent."""
    return baselines(_frame(items))


def trivial_scores(items: Sequence[Item]) -> dict[str, Floats]:
    """Of every item, what the trivial rules score, by name: a baseline is the mean. NaN where a field is missing."""
    rows = standard(_frame(items)).rows
    answers, relations, labels = (rows[name].to_list() for name in ("answer", "relation", "subject_label"))
    by_relation: dict[str | None, list[str]] = defaultdict(list)
    for relation, answer in zip(relations, answers, strict=True):
        by_relation[relation].append(answer)
    tops = {name: _top(found) for name, found in by_relation.items() if name is not None}
    shuffled = {name: _shuffled(found) for name, found in by_relation.items() if name is not None}
    given: dict[str, list[str | None]] = {
        "subject_copy": labels,
        "subject_prefix": [label and prefix(label, answer) for label, answer in zip(labels, answers, strict=True)],
        "majority_answer": [_top(answers)] * len(answers),
        "relation_majority": [tops.get(relation) for relation in relations],
    }
    scores = {name: _recalls(answers, texts) for name, texts in given.items()}
    pairs = zip(relations, answers, strict=True)
    scores["shuffled_answers"] = np.array(
        [shuffled.get(relation, {}).get(answer, np.nan) for relation, answer in pairs]
    )
    return {name: values for name, values in scores.items() if not np.isnan(values).all()}


def best_rule(items: Sequence[Item]) -> Floats:
    """Of every item, the score of the rule that does best on all of them: the baseline is its mean.

    Where the rule says nothing of an item, for want of a field, it has the mean of the others.
    """
    best = max(trivial_scores(items).values(), key=lambda values: float(np.nanmean(values)))
    return np.where(np.isnan(best), np.nanmean(best), best)


def _frame(items: Sequence[Item]) -> pl.DataFrame:
    rows = [(item.question, item.answer, item.subject or None, item.relation or None) for item in items]
    names = ["question", "answer", "subject_label", "relation"]
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")


def _top(answers: Sequence[str]) -> str:
    found = most_frequent(pl.Series("answer", answers))
    assert found is not None  # every item has an answer
    return found[0]


def _recalls(answers: Sequence[str], texts: Sequence[str | None]) -> Floats:
    known = [place for place, text in enumerate(texts) if text is not None]
    found = np.full(len(answers), np.nan)
    found[known] = recalls_l([answers[place] for place in known], [texts[place] or "" for place in known])
    return found


def _shuffled(answers: Sequence[str]) -> dict[str, float]:
    """Expected score of each answer against one of `answers` drawn at random."""
    counts = Counter(answers)
    tokens = {answer: plain_tokens(answer) for answer in counts}
    holding: dict[str, list[str]] = defaultdict(list)
    for answer, words in tokens.items():
        for word in set(words):
            holding[word].append(answer)
    scores = {}
    for gold, words in tokens.items():
        alike = {answer for word in set(words) for answer in holding[word]}
        shared = sum(counts[given] * longest_common_subsequence(words, tokens[given]) for given in alike)
        scores[gold] = shared / len(words) / len(answers) if words else 0.0
    return scores


def chance_corrected(score: float, baseline: float) -> float | None:
    """(s - b) / (1 - b): 0 at the baseline, 1 at perfection, negative below; None where the baseline is perfect."""
    return None if baseline >= 1 else (score - baseline) / (1 - baseline)
