"""Answers in the words in which the model gave them before unlearning: is a fact gone, or how its sentence begins?"""

from __future__ import annotations

from dual_data.bootstrap import UNKNOWN
from dual_data.evaluation.report.analysis.own_words import in_own_words
from dual_data.evaluation.report.analysis.runs import SHOWN_SETS, Collection
from dual_data.evaluation.report.document import Block, Heading
from dual_data.evaluation.report.numbers import shown
from dual_data.evaluation.report.places import CellLine, cell_table, rate_of, row_id, sources, starts

_CAPTION = (
    "Of the facts that the models before unlearning answered, whose right answers are scored where these gave them: "
    "after the question and the words that they put before the answer. Answers held: share of generations that still "
    "contain an accepted answer. Begun: share of facts for which each of those words is still the likeliest, so that "
    "the model begins as before. Likeliest: share whose answer is still the likeliest after them. Left: of the facts "
    "that the generations no longer answer, the share for which it is; a dash where fewer than ten are lost in all "
    "seeds. Change: in the answer's mean log-probability after these words, in nats per token. Before unlearning, "
    "begun and likeliest are 1 but for rounding: in bfloat16, numbers depend on what else is in a batch."
)
_COLUMNS = (
    "lr", "facts", "answers held", "begun", "likeliest", "left", "change", "answers held, retain_eval",
    "likeliest, retain_eval",
)  # fmt: skip


def own_words(collection: Collection) -> list[Block]:
    """A table of the chosen cells and of the models before unlearning whose results have these scores."""
    lines = []
    for start in starts(collection):
        for method, runs in start.cells:
            forget, retain = (in_own_words(runs, start.before, name) for name in SHOWN_SETS)
            if forget is None:
                continue
            kept = (retain.held, retain.likeliest) if retain else (UNKNOWN, UNKNOWN)
            texts = (rate_of(runs), str(forget.facts), *map(shown, (*forget[1:], *kept)))
            lines.append(CellLine(start.key, method, texts, sources(runs), row_id("own-words", runs)))
    return [Heading("In the model's own words"), cell_table(_COLUMNS, lines, _CAPTION, ("lr", "facts"))]
