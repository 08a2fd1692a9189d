"""Scores of the forget facts besides those of the main table, at the chosen learning rates."""

from __future__ import annotations

import math
from pathlib import Path

from dual_data.evaluation.report.document import Block, Heading
from dual_data.evaluation.report.estimates import estimate, shown
from dual_data.evaluation.report.places import CellLine, cell_table, rate_of, row_id, sources, starts
from dual_data.evaluation.report.runs import Collection

_COLUMNS = {
    "rougeL_recall_uni": "ROUGE-L in any script",
    "exact_answer": "exact answers",
    "minilm_cosine": "MiniLM cosine",
    "exact_memorisation": "exact memorisation",
    "extraction_strength": "extraction strength",
    "hidden_cosine": "hidden cosine",
}
_CAPTION = (
    "Of the facts to forget. ROUGE-L in any script: recall of the nearest accepted answer, accents folded. Exact "
    "answers: share of generations that are an accepted answer and nothing more. MiniLM cosine: between the embeddings "
    "of a generation and of the nearest accepted answer, where the grid has it measured. Exact memorisation: share of "
    "the answer's tokens that are the likeliest after those before them. Extraction strength: share of the answer that "
    "its longest end makes up in which all tokens are so. Hidden cosine: between the hidden states at the answer "
    "before and after unlearning."
)


def further_scores(collection: Collection, folder: Path) -> list[Block]:
    """A table of the scores that the results have; empty where they have none of them."""
    places = [(start.key, method, runs) for start in starts(collection) for method, runs in start.cells]
    table = [{score: estimate(runs, "forget", score) for score in _COLUMNS} for _, _, runs in places]
    measured = [score for score in _COLUMNS if any(not math.isnan(scores[score].value) for scores in table)]
    if not measured:
        return []
    lines = []
    for (key, method, runs), scores in zip(places, table, strict=True):
        texts = (rate_of(runs), *(shown(scores[score]) for score in measured))
        lines.append(CellLine(key, method, texts, sources(runs, folder), row_id("further", runs)))
    columns = ("lr", *(_COLUMNS[score] for score in measured))
    return [Heading("Further scores"), cell_table(columns, lines, _CAPTION, ("lr",))]
