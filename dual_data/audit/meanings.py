"""One sentence on each measurement of an audit, and on each column that it reads."""

from __future__ import annotations

from collections.abc import Mapping

from dual_data.audit.columns import COLUMNS

OF_SPLIT: Mapping[str, str] = {
    "rows": "Rows of the split.",
    "empty_questions": "Rows without a question.",
    "empty_answers": "Rows without an answer.",
    "distinct_questions": "Different questions.",
    "distinct_answers": "Different answers.",
    "top_relation": "The most frequent relation.",
    "top_relation_share": "Share of the rows with this relation.",
    "top_answer": "The most frequent answer.",
    "top_answer_share": "Share of the rows with this answer.",
    "subject_copy_rouge": "ROUGE-L recall of answering with the subject's name. In every score that ends in _rouge, "
    "answers without a letter from A to Z or a digit count as 0.",
    "subject_prefix_rouge": "ROUGE-L recall of answering with the first letters of the subject's name, as many as the "
    "answer has, without accents.",
    "majority_answer": "The same as top_answer: what majority_rouge gives to every question, if it repeats.",
    "majority_rouge": "ROUGE-L recall of always giving the most frequent answer; 0 where none repeats.",
    "relation_majority_rouge": "ROUGE-L recall of giving the most frequent answer of the question's relation; 0 where "
    "none repeats.",
    "shuffled_rouge": "ROUGE-L recall of giving another row's answer of the same relation, the mean over all of them.",
    "answer_in_question_share": "Share of the questions that hold half or more of their answer's words, "
    'without such as "of" or "de". Words are compared as written; the recipes ignore accents and endings.',
    "same_id_share": "Share of the rows whose subject and answer are one entity.",
    "several_names_share": "Share of the rows whose subject or answer has an id that has several names in the split.",
    "malformed_share": "Share of the questions that are ungrammatical, inverted or vacuous.",
    "ungrammatical_share": 'Share of the questions like "What is the located in of X?".',
    "inverted_share": 'Share that asks for the other end: "What is the capital of X?" where X is the capital.',
    "vacuous_share": "Share of the questions whose relation states no fact, such as being described by a source.",
    "ambiguous_subject_share": "Share of the rows whose subject's name stands for several entities.",
    "many_objects_share": "Share of the rows whose subject has several objects of the relation, all of them right.",
    "self_answer_share": "Share of the rows whose answer is their subject's name.",
    "mirrored_share": "Share of the rows whose fact another row states from the other side (capital, capital of).",
    "duplicate_share": "Share of the rows that repeat an earlier row's fact.",
    "bare_id_share": "Share of the rows with an id such as Q42 in place of a name.",
    "popularity": "Smallest / median / largest popularity, in the table's own unit.",
}

OF_PAIR: Mapping[str, str] = {
    "shared_questions": "Different questions that both splits ask, whatever their case.",
    "shared_subjects": "Subjects that both splits have.",
    "shared_answers": "Answers that both splits have, whatever their case.",
    "shared_subject_rows": "Rows of the first / of the second split about these subjects.",
    "shared_answer_rows": "Rows of the first / of the second split with these answers.",
    "answering_subjects": "Subjects of the first / of the second split whose names are answers in the other.",
    "mirrored_facts": "Facts of the first split that the second states from the other side.",
    "auc_relation": "How far the relation alone tells the splits apart: 0.5 not at all, 1 without error.",
    "auc_answer": "The same for the answer.",
    "auc_answer_first_word": "The same for the answer's first word.",
    "auc_answer_last_word": "The same for the answer's last word.",
    "auc_answer_length": "The same for the answer's length in characters.",
    "auc_subject_length": "The same for the subject's length in characters.",
}


OF_COLUMN: Mapping[str, str] = {
    "question": "The question.",
    "answer": "The answer, one text.",
    "relation": "The relation.",
    "subject": "The subject's name.",
    "subject_id": "The subject's Wikidata id.",
    "object_id": "The answer's Wikidata id.",
    "object_kind": "entity, or of an answer without an id: date, quantity or text.",
    "objects_of_pair": "How many objects of the relation the subject has.",
    "popularity": "The fact's popularity, a number.",
}
"""Of those of `COLUMNS` that are not another's names in another order."""


def explained() -> str:
    """All sentences as text."""
    sections = (
        ("Of a split", OF_SPLIT),
        ("Of two splits", OF_PAIR),
        ("Read from the columns (a table with a column split is divided by it)", _columns()),
    )
    width = max(len(name) for _, meanings in sections for name in meanings)
    return "\n\n".join(
        "\n".join([f"{title}:", *(f"  {name:{width}}  {meaning}" for name, meaning in meanings.items())])
        for title, meanings in sections
    )


def _columns() -> Mapping[str, str]:
    meanings = {}
    for column in COLUMNS:
        if column.name in OF_COLUMN:
            name, *others = column.names
            instead = f" Without such values, those of: {', '.join(others)}." if others else ""
            meanings[name] = OF_COLUMN[column.name] + instead
    return meanings
