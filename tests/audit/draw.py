"""The fixed draw of 300 questions on which the malformed-question rules are measured.

90 published questions, 70 paraphrases of published questions by others, and 140 questions made from raw label triplets
in the published form ("What is the {relation} of {subject}?", "of" not doubled, every fourth with "Who"): 70 uniform
over the rows, 70 uniform over the relations with three or more rows. No question is drawn twice.
"""

import hashlib
from pathlib import Path

import polars as pl

SEED = "dual-data malformed questions 1"
COLUMNS = ("question", "answer", "relation", "subject")


def question_key(question: str) -> str:
    """The first 16 hex digits of the SHA-256 of the question: the key of its label."""
    return hashlib.sha256(question.encode()).hexdigest()[:16]


def _rank(text: str) -> str:
    return hashlib.sha256(f"{SEED}\n{text}".encode()).hexdigest()


def _take(frame: pl.DataFrame, size: int, seen: set[str]) -> pl.DataFrame:
    """The `size` questions of lowest hash rank that were not drawn before."""
    fresh = frame.filter(~pl.col("question").is_in(list(seen))).unique("question", keep="first", maintain_order=True)
    ranked = fresh.with_columns(pl.col("question").map_elements(_rank, return_dtype=pl.String).alias("rank")).sort(
        "rank"
    )
    sample = ranked.head(size).select(COLUMNS)
    seen.update(sample["question"])
    return sample


def published_way(relation: str, subject: str) -> str:
    """The question in the published form, with "Who" for every fourth subject instead of by a tagger."""
    is_who = int(_rank(f"{relation}|{subject}")[:8], 16) % 4 == 0
    joint = "" if relation.endswith(" of") else " of"
    return f"{'Who' if is_who else 'What'} is the {relation}{joint} {subject}?"


def _forget(reference: Path, name: str) -> pl.DataFrame:
    frame = pl.read_parquet(reference / "duet" / f"city_forget_{name}_5.parquet")
    return frame.select("question", "answer", "relation", subject="subjectLabel")


def _paraphrases(reference: Path) -> pl.DataFrame:
    facts = [
        _forget(reference, name)
        .with_row_index("index")
        .with_columns(pl.lit(f"city_forget_{name}_5").alias("split"), pl.col("index").cast(pl.Int64))
        .drop("question")
        for name in ("rare", "popular")
    ]
    paraphrases = pl.read_parquet(reference / "duet" / "paraphrases.parquet").drop("question")
    joined = paraphrases.join(pl.concat(facts), on=["split", "index"], maintain_order="left")
    return joined.select(question="paraphrase", answer="answer", relation="relation", subject="subject")


def _triplets(reference: Path) -> pl.DataFrame:
    files = sorted((reference / "wikidata_triplets").glob("*.csv"))
    columns = ["subjectLabel", "relation", "objectLabel"]
    rows = pl.concat([pl.read_csv(file, infer_schema=False).select(columns) for file in files]).drop_nulls().unique()
    return rows.sort(columns)


def _templated(rows: pl.DataFrame) -> pl.DataFrame:
    questions = [published_way(*row) for row in rows.select("relation", "subjectLabel").iter_rows()]
    return rows.select(
        pl.Series("question", questions), answer="objectLabel", relation="relation", subject="subjectLabel"
    )


def _one_a_relation(rows: pl.DataFrame, size: int) -> pl.DataFrame:
    relations = rows.group_by("relation").len().filter(pl.col("len") >= 3)["relation"].to_list()
    chosen = sorted(relations, key=_rank)[:size]
    keys = pl.concat_str(["relation", "subjectLabel", "objectLabel"], separator="|")
    ranked = rows.filter(pl.col("relation").is_in(chosen)).with_columns(
        keys.map_elements(_rank, return_dtype=pl.String).alias("rank")
    )
    return ranked.sort("rank").unique("relation", keep="first", maintain_order=True).drop("rank")


def draw(reference: Path) -> dict[str, pl.DataFrame]:
    """The two halves of the draw, "develop" and "held_out": 150 rows each of question, answer, relation and subject.

    Relation and subject are null for the published retain questions, which have neither.
    """
    retain = pl.read_parquet(reference / "duet" / "city_fast_retain_500.parquet").with_columns(
        pl.lit(None, dtype=pl.String).alias("relation"), pl.lit(None, dtype=pl.String).alias("subject")
    )
    seen: set[str] = set()
    groups = [
        _take(_forget(reference, "rare"), 40, seen),
        _take(_forget(reference, "popular"), 30, seen),
        _take(retain, 20, seen),
        _take(_paraphrases(reference), 70, seen),
    ]
    triplets = _triplets(reference)
    groups.append(_take(_templated(_one_a_relation(triplets, 80)), 70, seen))
    groups.append(_take(_templated(triplets), 70, seen))
    halves = {
        "develop": [group.gather_every(2) for group in groups],
        "held_out": [group.gather_every(2, 1) for group in groups],
    }
    return {name: pl.concat(frames) for name, frames in halves.items()}
