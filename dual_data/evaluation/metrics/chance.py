"""Trivial baselines of a set, and scores corrected for the best of them.

A model that forgot nothing and a rule that knows nothing can score alike: on the published sets always answering
"India", or repeating the subject's name, reaches half of what a good model does.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from dual_data.rouge import recall_l


class Row(NamedTuple):
    """What a trivial rule may look at, and the answer."""

    subject: str
    relation: str
    answer: str


class Baselines(NamedTuple):
    """Mean ROUGE-L recall of rules that know no fact."""

    subject_copy: float
    """Answering with the subject's name."""
    majority: float
    """Always giving the most frequent answer."""
    relation_majority: float
    """The same within each relation."""
    shuffled: float
    """Answering with the answer of a random row of the same relation: the exact mean over all draws."""

    @property
    def best(self) -> float:
        """The largest of them: what chance-corrected scores are measured from."""
        return max(self)


def baselines(rows: Sequence[Row]) -> Baselines:
    """Baselines of a set. Raises ValueError for an empty one."""
    if not rows:
        raise ValueError("baselines of an empty set")
    relations: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        relations[row.relation][row.answer] += 1
    whole = sum(relations.values(), Counter[str]())
    count = len(rows)
    return Baselines(
        sum(recall_l(row.answer, row.subject) for row in rows) / count,
        _constant(whole) / count,
        sum(_constant(answers) for answers in relations.values()) / count,
        sum(_shuffled(answers) for answers in relations.values()) / count,
    )


def chance_corrected(score: float, baseline: float) -> float | None:
    """(s - b) / (1 - b): 0 at the baseline, 1 at perfection, negative below; None where the baseline is perfect."""
    return None if baseline >= 1 else (score - baseline) / (1 - baseline)


def _constant(answers: Counter[str]) -> float:
    """Summed score of always giving the most frequent answer; among equally frequent ones the best."""
    most = max(answers.values())
    frequent = [answer for answer, times in answers.items() if times == most]
    return max(sum(times * recall_l(gold, said) for gold, times in answers.items()) for said in frequent)


def _shuffled(answers: Counter[str]) -> float:
    """Summed over rows: mean score of the answers of all rows, the own one included."""
    count = answers.total()
    pairs = sum(
        times * said_times * recall_l(gold, said)
        for gold, times in answers.items()
        for said, said_times in answers.items()
    )
    return pairs / count
