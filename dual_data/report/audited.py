"""The audit of our splits beside that of the published dataset."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

import polars as pl

from dual_data.audit import audit
from dual_data.audit.pairs import LARGEST_DIFFERENCE, LARGEST_DISTANCE
from dual_data.report.figures import shortened
from dual_data.report.popularity import Pair, pairs
from dual_data.report.read import Built
from dual_data.report.tables import Percent, Section, folded, paragraph, table
from dual_data.text.markup import Html


class Measure(NamedTuple):
    """A measurement of the audit."""

    key: str
    name: str
    ideal: str | None = None
    """The value of a dataset without the defect, if there is one."""

    def shown(self, value: float | None) -> Percent | float | None:
        """A value as shown in a cell: shares in percent."""
        return Percent(value) if value is not None and self.key.endswith("_share") else value


SPLIT = (
    Measure("rows", "Rows"),
    Measure("distinct_answers", "Distinct answers"),
    Measure("top_relation_share", "Rows of the most frequent relation"),
    Measure("top_answer_share", "Rows of the most frequent answer", "≤ 5 %"),
    Measure("subject_copy_rouge", "Score of copying the subject", "0"),
    Measure("subject_prefix_rouge", "Score of the subject's first letters", "0"),
    Measure("majority_rouge", "Score of one answer to everything", "0"),
    Measure("relation_majority_rouge", "Score of one answer for each relation", "0"),
    Measure("shuffled_rouge", "Score of answers shuffled within relations", "0"),
    Measure("answer_in_question_share", "Half or more of the answer in the question", "0 %"),
    Measure("malformed_share", "Malformed questions", "0 %"),
    Measure("ungrammatical_share", "Malformed: ungrammatical", "0 %"),
    Measure("inverted_share", "Malformed: asked backwards", "0 %"),
    Measure("vacuous_share", "Malformed: vacuous", "0 %"),
    Measure("same_id_share", "Subject and answer with the same id", "0 %"),
    Measure("several_names_share", "An id with several names", "0 %"),
    Measure("self_answer_share", "Subject and answer with the same name", "0 %"),
    Measure("ambiguous_subject_share", "Ambiguous subjects", "0 %"),
    Measure("many_objects_share", "Several right answers, only one accepted", "0 %"),
    Measure("mirrored_share", "Rows mirrored by another (capital, capital of)", "0 %"),
    Measure("duplicate_share", "Duplicates", "0 %"),
    Measure("bare_id_share", "Ids in place of names", "0 %"),
)
PAIR = (
    Measure("shared_subjects", "Shared subjects", "0"),
    Measure("shared_answers", "Shared answers"),
    Measure("mirrored_facts", "Facts mirrored in the other split", "0"),
    Measure("auc_relation", "Told apart by the relation (AUC)", "0.5"),
    Measure("auc_answer", "Told apart by the answer (AUC)", "0.5"),
    Measure("auc_answer_first_word", "Told apart by the answer's first word (AUC)", "0.5"),
    Measure("auc_answer_last_word", "Told apart by the answer's last word (AUC)", "0.5"),
    Measure("auc_answer_length", "Told apart by the answer's length (AUC)", "0.5"),
    Measure("auc_subject_length", "Told apart by the subject's length (AUC)", "0.5"),
)


class Audited(NamedTuple):
    """The audit of one pair of splits."""

    title: str
    rare: Mapping[str, Any]
    popular: Mapping[str, Any]
    pair: Mapping[str, Any]


def published() -> tuple[str, Audited]:
    """The source of the published dataset, and its measurements."""
    data = json.loads(files("dual_data.report").joinpath("published.json").read_text(encoding="utf-8"))
    rare, popular = data["splits"].values()
    return data["source"], Audited("published", rare, popular, data["pair"])


def measured(pair: Pair) -> Audited:
    """The audit of one of our pairs."""
    report = audit({"rare": pair.rare, "popular": pair.popular})
    splits = report["splits"]
    # Short, since it heads two columns of a table that must fit on A4.
    title = f"{pair.recipe}, {shortened(pair.family, 22)}, {pair.percent} %"
    return Audited(title, splits["rare"], splits["popular"], report["pairs"]["rare|popular"])


def section(built: Built) -> Section:
    """The table, all pairs in a folded one, and the build's tables of balance and baselines."""
    source, theirs = published()
    ours = [[measured(pair) for pair in pairs(recipe, rows)] for recipe, rows in built.recipes().items()]
    first = [family[0] for family in ours if family]
    contents = [
        paragraph(
            "Rare and popular splits should differ in popularity and in nothing else. Scores are the ROUGE-L recall of "
            "trivial rules that know no fact. AUC (area under the ROC curve): 0.5 means that the feature does not tell "
            f"the two splits apart, 1 that it separates them without error. Published: {source[0].lower()}{source[1:]} "
            "A dash means that the dataset lacks the columns or that hardly any value occurs twice."
        )
    ]
    if not first:
        contents.append(
            paragraph("No recipe has a rare and a popular split of one topic; the published figures stand alone.")
        )
    contents.append(_beside([theirs, *first]))
    further = [pair for family in ours for pair in family]
    if len(further) > len(first):
        contents.append(folded(f"The largest pair of every topic ({len(further)})", _down(further)))
    contents += _balance(built) + _baselines(built)
    return Section("audit", "Audit", tuple(contents))


def _beside(columns: Sequence[Audited]) -> Html:
    caption = "The published dataset and the largest pair of each recipe"
    header = ["measurement", "ideal"]
    for column in columns:
        header += [f"{column.title}: rare", f"{column.title}: popular"]
    rows: list[list[object]] = []
    for measure in SPLIT:
        cells = [measure.shown(side[measure.key]) for column in columns for side in (column.rare, column.popular)]
        rows.append([measure.name, measure.ideal, *cells])
    split = table(f"{caption}: each split", header, rows)
    names = ["measurement", "ideal", *(column.title for column in columns)]
    compared: list[list[object]] = [
        [measure.name, measure.ideal, *(measure.shown(column.pair[measure.key]) for column in columns)]
        for measure in PAIR
    ]
    return Html(split + table(f"{caption}: rare against popular", names, compared))


def _down(rows: Sequence[Audited]) -> Html:
    """A table with a row for each side of a pair and a column for each of the most informative measurements."""
    keys = ("rows", "top_relation_share", "top_answer_share", "subject_copy_rouge", "malformed_share")
    measures = [measure for measure in SPLIT if measure.key in keys]
    across = [measure for measure in PAIR if measure.key.startswith("auc") and not measure.key.endswith("_word")]
    header = ["pair", "side", *(measure.name for measure in (*measures, *across))]
    lines = [
        [row.title, side, *(m.shown(values[m.key]) for m in measures), *(m.shown(row.pair[m.key]) for m in across)]
        for row in rows
        for side, values in (("rare", row.rare), ("popular", row.popular))
    ]
    return table("The largest pair of forget splits of every recipe and topic", header, lines)


def _balance(built: Built) -> list[Html]:
    balance = built.table("splits", "balance")
    if balance is None or balance.is_empty():
        return []
    columns = ("measure", "rare_mean", "popular_mean", "difference", "auc", "balanced")
    rows = balance.select(pl.format("{}, {}", "recipe", "rare"), *columns).rows()
    header = ("rare split", "measure", "rare mean", "popular mean", "standardised difference", "AUC", "balanced")
    caption = (
        f"Balance of every pair; balanced: a difference of at most {LARGEST_DIFFERENCE} and an AUC within "
        f"{LARGEST_DISTANCE} of 0.5"
    )
    return [folded(f"Balance ({balance.height} rows)", table(caption, header, rows))]


def _baselines(built: Built) -> list[Html]:
    baselines = built.table("splits", "baselines")
    if baselines is None or baselines.is_empty():
        return []
    numbers = [name for name, kind in baselines.schema.items() if kind.is_numeric()]
    rows = baselines.select(pl.format("{}, {}", "recipe", "split"), *numbers).rows()
    header = ("split", *(name.replace("_", " ") for name in numbers))
    caption = (
        "ROUGE-L recall of trivial rules; chance is the largest of them, and corrects a score s to (s - c) / (1 - c)"
    )
    return [folded(f"Trivial baselines ({baselines.height} splits)", table(caption, header, rows))]
