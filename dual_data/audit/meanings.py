"""One sentence on each measurement of an audit."""

from __future__ import annotations

from collections.abc import Mapping

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
    "subject_copy_rouge": "ROUGE-L recall of answering with the subject's name. No score that ends in _rouge counts "
    "answers without a letter from A to Z or a digit.",
    "subject_prefix_rouge": "ROUGE-L recall of answering with the first letters of the subject's name.",
    "majority_answer": "The same as top_answer: what majority_rouge gives to every question, if it repeats.",
    "majority_rouge": "ROUGE-L recall of always giving the most frequent answer; 0 where none repeats.",
    "relation_majority_rouge": "ROUGE-L recall of giving the most frequent answer of the question's relation; 0 where "
    "none repeats.",
    "shuffled_rouge": "ROUGE-L recall of giving another row's answer of the same relation, the mean over all of them.",
    "answer_in_question_share": "Share of the questions that hold half or more of their answer's words.",
    "same_id_share": "Share of the rows whose subject and answer are one entity.",
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
    "shared_questions": "Different questions that both splits ask.",
    "shared_subjects": "Subjects that both splits have.",
    "shared_answers": "Answers that both splits have.",
    "shared_subject_rows": "Rows of the first / of the second split about these subjects.",
    "shared_answer_rows": "Rows of the first / of the second split with these answers.",
    "mirrored_facts": "Facts of the first split that the second states from the other side.",
    "auc_relation": "How far the relation alone tells the splits apart: 0.5 not at all, 1 without error.",
    "auc_answer": "The same for the answer.",
    "auc_answer_first_word": "The same for the answer's first word.",
    "auc_answer_last_word": "The same for the answer's last word.",
    "auc_answer_length": "The same for the answer's length in characters.",
    "auc_subject_length": "The same for the subject's length in characters.",
}


def explained() -> str:
    """All sentences as text."""
    width = max(map(len, (*OF_SPLIT, *OF_PAIR)))
    sections = (("Of a split", OF_SPLIT), ("Of two splits", OF_PAIR))
    return "\n\n".join(
        "\n".join([f"{title}:", *(f"  {name:{width}}  {meaning}" for name, meaning in meanings.items())])
        for title, meanings in sections
    )
