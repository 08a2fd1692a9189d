"""Does what was forgotten stay so under fine-tuning?"""

from __future__ import annotations

import math
from collections.abc import Sequence

from dual_data.bootstrap import Interval
from dual_data.display import count
from dual_data.evaluation.report.attacked import Relearned
from dual_data.evaluation.report.estimates import shown
from dual_data.evaluation.report.findings.sentences import Names
from dual_data.evaluation.report.runs import Collection


def relearning_answer(collection: Collection, tuned: Sequence[Relearned]) -> list[str]:
    """Does fine-tuning bring back what was forgotten? A sentence for each kind of facts that models were tuned on."""
    names = Names.of(collection)
    tunings: dict[str, list[tuple[Interval, bool, str]]] = {}
    """By what models were tuned on: the share recovered, whether half of the loss is at some step, and the cell."""
    last_step = 0
    for curves in tuned:
        if recovered := curves.recovery:
            key = curves.cell.group.key
            reaches_half = math.isfinite(recovered.steps_to(0.5).value)
            entry = (recovered.area, reaches_half, f"{key.method} ({names.place(key)}, {key.set})")
            tunings.setdefault(curves.curves[0]["tuned_on"], []).append(entry)
            last_step = max(last_step, int(recovered.steps[-1]))
    sentences = []
    for tuned_on, entries in tunings.items():
        recovering = sum(area.low > 0 for area, _, _ in entries)
        sentence = (
            f"Tuned on {tuned_on}: in {recovering or 'none'} of {count(len(entries), 'cell')}, some of what was lost "
            "is shown to come back (interval above zero, not corrected for the number of cells)"
        )
        if recovering:
            # Of these alone: where little was lost, noise at one of the steps often reaches half of it.
            halves = sum(area.low > 0 and reaches_half for area, reaches_half, _ in entries)
            sentence += f"; in {halves or 'none'} of these, half of it is back at some step up to {last_step}"
            clearest, _, where = max(entries, key=lambda entry: (entry[0].low, entry[0].value))
            sentence += (
                f". The clearest case is {where}: {shown(clearest)} of the loss, on average over the logarithm of the "
                "steps"
            )
        sentences.append(f"{sentence}.")
    return sentences
