"""Metrics of one generation against its accepted answers."""

from collections.abc import Sequence

from dual_data.text.matching import ObjectKind, contains_answer, exact_answer
from dual_data.text.rouge import rouge, rouge_best


def text_scores(
    generation: str, answer: str, answers: Sequence[str] = (), kind: ObjectKind = "entity"
) -> dict[str, float]:
    """All text scores of one generation, each between 0 and 1.

    The plain ROUGE scores compare with the canonical answer only, as the published logs do. The others use all accepted
    answers: `rougeL_recall_uni` folds accents and reads every script, and the two matches compare dates and quantities
    by value.
    """
    accepted = list(dict.fromkeys([answer, *answers]))
    plain = rouge(answer, generation)
    return {
        "rouge1_recall": plain.rouge1_recall,
        "rouge1_f1": plain.rouge1_f1,
        "rougeL_recall": plain.rougeL_recall,
        "rougeL_f1": plain.rougeL_f1,
        "rougeL_recall_uni": rouge_best(accepted, generation, unicode=True).rougeL_recall,
        "rougeL_recall_best": rouge_best(accepted, generation).rougeL_recall,
        "contains_answer": float(contains_answer(generation, accepted, kind)),
        "exact_answer": float(exact_answer(generation, accepted, kind)),
    }


TEXT_SCORES = tuple(text_scores("a", "a"))
"""Names of the scores of :func:`text_scores`."""
