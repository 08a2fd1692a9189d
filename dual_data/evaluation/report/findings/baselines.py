"""Which scores does a trivial rule explain?"""

from __future__ import annotations

from dual_data.evaluation.report.analysis.contrast import compare_answered
from dual_data.evaluation.report.analysis.estimates import above_rule, estimate, trivial_rule
from dual_data.evaluation.report.analysis.runs import Collection, chosen_cells, stack
from dual_data.evaluation.report.findings.sentences import (
    About,
    Compared,
    Names,
    about_of,
    holm_corrected,
    little_known,
    loss_sentence,
)
from dual_data.evaluation.report.numbers import shown
from dual_data.evaluation.results import BASE
from dual_data.evaluation.settings import PRETRAINED
from dual_data.text.display import count


def baseline_answer(collection: Collection) -> tuple[list[str], list[Compared]]:
    """Which scores does a trivial rule explain? Sentences, and comparisons of the facts that it answers and the others.

    Where a model keeps the former and loses the others, its set seems hard to forget because of its answers.
    """
    sentences, names = [], Names.of(collection)
    cells, uncorrected = chosen_cells(collection.groups), list[Compared]()
    for key, runs in sorted(collection.bases.items()):
        if key.stage != PRETRAINED:
            continue
        baseline, score = trivial_rule(runs), estimate(runs, "forget", "rougeL_recall")
        below = total = 0
        for group, chosen in cells:
            if group.key._replace(stage=PRETRAINED, method=BASE) == key:
                total += 1
                # The rule of its own stage, whose answers may differ.
                rule = float(group.before[0].rule.scores.mean())
                below += float(stack(chosen, "forget", "rougeL_recall").mean()) <= rule
        hardly = ""
        if unknown := little_known(runs):
            difference = above_rule(runs)
            is_more = "is less" if difference.high < 0 else "is not shown to be more"
            hardly = f", which {is_more} (difference {shown(difference)}), so {unknown}"
        sentence = (
            f"{names.data(key)}, {key.model}, {key.set}: the trivial rule ({runs[0].rule.name}) reaches "
            f"{shown(baseline)}, the pretrained model {shown(score)}{hardly}."
        )
        if total:
            are, their = ("is", "its") if 1 in (below, total) else ("are", "their")
            sentence += (
                f" After unlearning, {below} of {count(total, 'cell')} {are} at or below the rule of {their} own stage."
            )
        sentences.append(sentence)
    for group, chosen in cells:
        key, lr = group.key, chosen[0].lr
        if contrast := compare_answered(group, lr):
            label = f"{names.place(key)}, {key.set}, {key.method} at {lr:g}"
            uncorrected.append(Compared(About(names.data(key), key.set), label, contrast, (*group.before, *chosen)))
    compared = holm_corrected(uncorrected)
    sentences += [
        loss_sentence(", ".join(about), "facts that the rule answers", "the others", about_of(compared, about))
        for about in dict.fromkeys(comparison.about for comparison in compared)
    ]
    return sentences, compared
