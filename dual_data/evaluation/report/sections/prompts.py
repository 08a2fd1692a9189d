"""Which kind of prompt still brings facts out: other wordings of the question, and every attack prompt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dual_data.bootstrap import SHARE, UNKNOWN, Interval, bootstrap_mean
from dual_data.evaluation.report.analysis.runs import ANY_WORDING, OTHER_WORDINGS, Collection, Run, clusters
from dual_data.evaluation.report.document import Block
from dual_data.evaluation.report.numbers import shown
from dual_data.evaluation.report.places import CellLine, cell_table, rate_of, row_id, sources, starts

_CAPTION = (
    "Share of forget facts that each kind of prompt brings out, of those that were asked so. "
    f"{OTHER_WORDINGS.capitalize()}: mean over a fact's wordings. {ANY_WORDING.capitalize()}, and attack prompts: one "
    "or more of the kind get a right answer. multiple_choice shows the answer among wrong ones, so a guess may be "
    "right; reverse asks for the subject. A dash: no fact was asked so."
)


def by_prompt(collection: Collection) -> list[Block]:
    """A table of the chosen cells and of the models before unlearning; none where only the questions were asked."""
    cells = [
        (start.key, method, runs) for start in starts(collection) if start.unlearned for method, runs in start.cells
    ]
    kinds = list(dict.fromkeys(kind for _, _, runs in cells for kind in runs[0].sets["forget"].prompts))
    lines = []
    for key, method, runs in cells:
        texts = (rate_of(runs), *(shown(_brought_out(runs, kind)) for kind in kinds))
        lines.append(CellLine(key, method, texts, sources(runs), row_id("prompt", runs)))
    return [cell_table(("lr", *kinds), lines, _CAPTION, ("lr",))] if kinds else []


def _brought_out(runs: Sequence[Run], kind: str) -> Interval:
    sets = [run.sets["forget"] for run in runs]
    if any(kind not in items.prompts for items in sets):
        return UNKNOWN
    hits = np.stack([items.prompts[kind] for items in sets])
    asked = ~np.isnan(hits).any(0)
    subjects = np.array(clusters(runs, "forget"))[asked].tolist()
    return bootstrap_mean(hits[:, asked], subjects, SHARE) if asked.any() else UNKNOWN
