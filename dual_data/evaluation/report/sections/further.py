"""Scores of the forget facts besides those of the main table, at the chosen learning rates."""

from __future__ import annotations

import math

from dual_data.evaluation.report.analysis.estimates import estimate
from dual_data.evaluation.report.analysis.runs import Collection
from dual_data.evaluation.report.document import Block, Heading
from dual_data.evaluation.report.numbers import shown
from dual_data.evaluation.report.places import CellLine, cell_table, rate_of, row_id, sources, starts

_COLUMNS = {
    ("forget", "ended"): "ended",
    ("retain_eval", "ended"): "ended, retain_eval",
    ("forget", "rougeL_recall_uni"): "ROUGE-L in any script",
    ("forget", "exact_answer"): "exact answers",
    ("forget", "minilm_cosine"): "MiniLM cosine",
    ("forget", "exact_memorisation"): "exact memorisation",
    ("forget", "extraction_strength"): "extraction strength",
    ("forget", "hidden_cosine"): "hidden cosine",
}
"""By set and score."""
_CAPTION = (
    "Of the facts to forget unless another set is named. Ended: share of generations that ended before the limit of "
    "new tokens; the others were cut off there. ROUGE-L in any script: recall of the nearest accepted answer, accents"
    " folded. Exact answers: share of generations that are an accepted answer and nothing more. MiniLM cosine: "
    "between the embeddings of a generation and of the nearest accepted answer, where the grid has it measured. Exact"
    " memorisation: share of the answer's tokens that are the likeliest after those before them. Extraction strength:"
    " the longest end of the answer whose tokens are all the likeliest, as a share of the answer. Hidden cosine: "
    "between the hidden states at the answer before and after unlearning: their mean over the answer's tokens and the "
    "outputs of the last 4 layers, before the final norm."
)


def further_scores(collection: Collection) -> list[Block]:
    """A table of the scores that the results have."""
    places = [(start.key, method, runs) for start in starts(collection) for method, runs in start.cells]
    table = [{column: estimate(runs, *column) for column in _COLUMNS} for _, _, runs in places]
    measured = [column for column in _COLUMNS if any(not math.isnan(scores[column].value) for scores in table)]
    lines = []
    for (key, method, runs), scores in zip(places, table, strict=True):
        texts = (rate_of(runs), *(shown(scores[column]) for column in measured))
        lines.append(CellLine(key, method, texts, sources(runs), row_id("further", runs)))
    columns = ("lr", *(_COLUMNS[column] for column in measured))
    return [Heading("Further scores"), cell_table(columns, lines, _CAPTION, ("lr",))]
