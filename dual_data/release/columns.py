"""One sentence on each column of the released tables."""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Mapping

from dual_data import schema
from dual_data.audit.pairs import LARGEST_DIFFERENCE, LARGEST_DISTANCE
from dual_data.text.docs import attribute_docs

JOINED: Mapping[str, str] = {
    "fact_id": "Identity of the fact: a hash of subject, property and object, the same in every build.",
    "bond": "The two entities of the fact in either order, which its mirror image shares; of a literal the fact_id.",
    "question": "The canonical question.",
    "subject_label": "English label of the subject.",
    "subject_aliases": "Other English names of the subject.",
    "object_aliases": "Other English names of the object.",
    "subject_description": "Short description of the subject, from the source of the facts.",
    "object_description": "Short description of the object, from the source of the facts.",
    "subject_qid": "Wikidata item of the subject; with label: before it, an id that was made from its label.",
    "object_qid": "Wikidata item of the object, or an id that was made from its label; null for a literal.",
    "object_kind": "entity, date, quantity or text.",
    "property_id": "Wikidata property; with label: before it, an id that was made from its label.",
    "triple_pop": "How many facts of the dataset have the same property and object.",
    "known_by": "Models that know the fact, by the rule `matched`.",
    "probed_by": "Models that were asked.",
    "knowledge": "One entry a model and rule: known, control_known, log_probability.",
    "salience": "Expected score of the LLM judge.",
    "salience_spread": "Standard deviation of that score.",
    "salience_low_mass": "Whether the judge did not really answer on the scale.",
    "popularity": "The signal by which rare and popular are told apart.",
    "pop_subject": "Popularity of the subject.",
    "pop_object": "Popularity of the object; null for a literal.",
    "pop_sum": "pop_subject + pop_object: what the published selection orders by.",
    "relation_label": "The relation as tables of labels name it.",
    "source_csv": "Topic, as the published table names its source.",
    "subjectLabel": "English label of the subject (published name).",
    "objectLabel": "Label of the object, or the rendered literal (published name).",
    "property_pid": "Wikidata property (published name).",
    "made": "Whether it was made.",
    "splits": "Number of splits.",
    "recipe": "Name of the recipe.",
    "split": "Name of the split.",
    "rows": "Number of rows.",
    "wanted": "Number of rows asked for.",
    "holds": (
        "Number of rows to choose from, before the limits on one answer, on answers that share a word with their "
        "subject and on one relation leave fewer; of a forget split that lacks pairs, the pairs within the limits."
    ),
    "reason": "Why it was not made, or has fewer rows than were wanted and could be chosen from; else empty.",
    "rare": "Name of the rare split.",
    "popular": "Name of the popular split that belongs to it.",
    "measure": "What is compared.",
    "rare_mean": "Mean over the rare split; null for what is not a number.",
    "popular_mean": "Mean over the popular split; null for what is not a number.",
    "subject_copy": "Score of repeating the subject's label.",
    "subject_prefix": "Score of the first letters of the subject's label, as many as the answer has.",
    "majority_answer": "Score of always giving the split's most frequent answer; 0 if none repeats.",
    "relation_majority": "Score of giving the most frequent answer of the row's relation; 0 if none repeats.",
    "shuffled_answers": (
        "Mean score of the other rows' answers of the same relation; of long answers, estimated from a hundred."
    ),
    "chance": "The largest of the baselines.",
    "difference": "Standardised mean difference, popular minus rare.",
    "auc": "How well this alone tells rare from popular: 0.5 is not at all; null where most values stand in one row.",
    "balanced": (
        f"Whether |difference| <= {LARGEST_DIFFERENCE} and |auc - 0.5| <= {LARGEST_DISTANCE}, each where it is defined."
    ),
}
"""Columns that no schema documents, or whose meaning differs once the tables are joined."""

PUBLISHED: Mapping[str, str] = {"relation": "The relation as tables of labels name it."}
"""Columns of `paper` whose meaning differs from that of the column of this name elsewhere."""

USAGE: Mapping[str, str] = {
    "model": "Model that was asked, by the name its server knows.",
    "answers": "Its answers, those of earlier runs included.",
    "prompt_tokens": "Tokens that it read.",
    "cached_tokens": "Those of them that the server had in its cache.",
    "completion_tokens": "Tokens that it wrote, reasoning included.",
    "estimated": "Answers whose tokens the server did not report: counted by an estimate of the prompt and the limit.",
    "cost": "Money for all answers; null where the profile names no price.",
    "currency": "Currency of the cost.",
    "price_date": "Day of the price list.",
}
"""Columns of knowledge_usage and salience_usage."""

_SIGNALS = {
    "inbound_links": "Links, counted as the table links says, to the",
    "sitelinks": "Wikimedia pages about the",
    "mentions": "Triplets of the whole input that name the",
}


def describe(column: str, table: str = "") -> str:
    """What a column of a table of a release is; empty for an unknown column."""
    if table.endswith("_usage") and column in USAGE:
        return USAGE[column]
    documented = _documented()
    own = PUBLISHED if table == "paper" else documented.get(table, {})
    if text := own.get(column) or JOINED.get(column):
        return text
    if table in documented:  # a column of this name in another table is another one
        return ""
    signal, _, side = column.rpartition("_")
    if signal in _SIGNALS and side in ("subject", "object"):
        return f"{_SIGNALS[signal]} {side}."
    return next((columns[column] for columns in documented.values() if column in columns), "")


@functools.cache
def _documented() -> dict[str, dict[str, str]]:
    """The docs of the fields of `dual_data.schema`, by stage and column."""
    nodes = ast.parse(inspect.getsource(schema)).body
    return {node.name.lower(): attribute_docs(node) for node in nodes if isinstance(node, ast.ClassDef)}
