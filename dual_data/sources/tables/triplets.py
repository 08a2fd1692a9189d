"""Tables of triplets as statements: with Wikidata ids, or with labels alone.

With ids, a row needs subject_qid, subject_label, property_id, and either object_qid with object_label or, for dates,
quantities and texts, object_value. It may have, for subject_ and object_ alike, aliases (a list, or in CSV text with
`|` between), description, sitelinks and title (of the English Wikipedia's article, which has no `|`).

With labels alone (subjectLabel, relation, objectLabel), ids are minted from the labels: they name strings, not things.
The relation is one of the `labels` of its file, or its property id.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from dual_data.config import Relation
from dual_data.errors import InputError
from dual_data.ids import ITEM, is_item, is_property, is_title, label_id
from dual_data.sources import values
from dual_data.sources.assembly import ENTITIES, STATEMENTS, Harvest
from dual_data.sources.tables.files import LIST_MARK, location, read_folder
from dual_data.text.words import clean

DETAILS = ("aliases", "description", "sitelinks", "title")
ID_COLUMNS = ("subject_qid", "subject_label", "property_id")
ID_OPTIONS = (
    "object_qid",
    "object_label",
    "object_value",
    *(f"{side}_{detail}" for side in ("subject", "object") for detail in DETAILS),
)
LABEL_COLUMNS = ("subjectLabel", "relation", "objectLabel")
NO_VALUE = r"^(?:nan|NaN|NaT|<NA>|null|NULL|n/a|N/A|#N/A|[-‐‑–—_.…?/]+)$"
"""What stands for no value. Nan, Null, None and NA are names too, and so is "!!!"."""
MOST_FAULTS = 10
"""Most faults of rows that are told at once."""
# More digits are no Int64. pandas writes the numbers of a column with empty cells as 31.0.
_COUNT = re.compile(r"(\d{1,18})(?:\.0+)?", re.ASCII)


def with_ids(
    folder: Path, topics: Sequence[str], relations: Mapping[str, Relation], excluded: Mapping[str, Collection[str]]
) -> Harvest:
    """Read a folder of triplets with ids. Raises InputError for the first rows that are not what they should be."""
    rows = _in_topic_order(folder, topics, ID_COLUMNS, ID_OPTIONS)
    _check_ids(rows)
    stems = {(relation.property, topic): stem for stem, relation in relations.items() for topic in relation.topics}
    known = {relation.property for relation in relations.values()}
    texts = pl.concat([rows[name] for name in ("subject_label", "object_label", "object_value")])
    placeholders = set(texts.filter(texts.str.strip_chars().str.contains(NO_VALUE)))
    statements: list[tuple[str | None, ...]] = []
    for row in rows.iter_rows(named=True):
        topic, property_id = row["topic"], row["property_id"]
        stem = stems.get((property_id, topic)) or stems.get((property_id, "*"))
        if stem is None:
            kind = "entity" if row["object_qid"] else "text"
            value = values.Value(
                row["object_qid"] or row["object_value"] or "",
                row["object_label"] or row["object_value"],
                _why_not_asked(topic, excluded.get(property_id, ()), is_known=property_id in known),
            )
        else:
            kind = relations[stem].object
            value = _object(row, relations[stem])
            # The reason of what cannot be read would say that there is an object.
            if value.reason in (None, "wrong_kind") and not placeholders.isdisjoint(_names_in(row, kind)):
                value = value._replace(reason="empty")
        statements.append((topic, stem or property_id, property_id, row["subject_qid"], kind, *value[:3]))
    frame = pl.DataFrame(statements, schema=STATEMENTS, orient="row")
    return Harvest(frame, _entities_of(rows))


def read_labels(
    folder: Path, topics: Sequence[str], relations: Mapping[str, Relation], excluded: Mapping[str, Collection[str]]
) -> pl.DataFrame:
    """Label triplets with what the relation files make of them.

    Columns: topic, relation (as written), stem (null where none applies), property_id, object_kind, subject_label,
    subject_id, object_label, object_id (minted), object_value and object_text (of literals), reason.
    """
    written = _in_topic_order(folder, topics, LABEL_COLUMNS)
    rows = written.select("topic", "relation", "subjectLabel", "objectLabel")
    minted = _minted(pl.concat([rows["subjectLabel"], rows["objectLabel"]]))
    for side in ("subject", "object"):
        ids = minted.select(pl.all().name.prefix(f"{side}_"))
        rows = rows.join(ids, left_on=f"{side}Label", right_on=f"{side}_written", how="left", maintain_order="left")
    rows = rows.join(
        _relation_table(rows.select("topic", "relation").unique(), relations, excluded),
        on=["topic", "relation"],
        how="left",
        maintain_order="left",
        nulls_equal=True,
    )
    empty = pl.any_horizontal(pl.col(name).is_null() for name in ("subject_label", "relation", "object_label"))
    labels = pl.col("subject_label", "object_label")
    rows = rows.with_columns(
        reason=pl.when(empty)
        .then(pl.lit("empty"))
        .when(pl.any_horizontal(labels.str.contains(f"^{ITEM}$")))
        .then(pl.lit("no_label"))
        .when(pl.col("relation_reason").is_null() & pl.any_horizontal(labels.str.contains(NO_VALUE)))
        .then(pl.lit("empty"))
        .otherwise("relation_reason")
    )
    return _with_literals(rows, relations).drop("subjectLabel", "objectLabel", "relation_reason")


def unresolved(rows: pl.DataFrame) -> Harvest:
    """Rows of `read_labels` under the ids that were minted from their labels; nothing is guessed."""
    return Harvest(as_written(rows), minted_entities(rows))


def as_written(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of STATEMENTS from rows of `read_labels`, with the ids that were minted for their labels."""
    statements = rows.with_columns(
        relation=pl.coalesce("stem", "relation"),
        subject_qid="subject_id",
        object_value=pl.when(pl.col("object_kind") == "entity").then("object_id").otherwise("object_value"),
    )
    return statements.select(*STATEMENTS).cast(STATEMENTS)


def minted_entities(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of ENTITIES: the labels of the ids that were minted for rows of `read_labels`."""
    ids = pl.concat([rows.select(qid=f"{side}_id", label=f"{side}_label") for side in ("subject", "object")])
    return without_details(ids.filter(pl.col("qid").is_not_null() & pl.col("qid").is_first_distinct()))


def without_details(labels: pl.DataFrame) -> pl.DataFrame:
    """Rows of ENTITIES from qid and label alone; the other columns are empty."""
    return labels.with_columns(
        aliases=pl.lit([], dtype=pl.List(pl.String)),
        description=pl.lit(None, pl.String),
        sitelinks=pl.lit(None, pl.Int64),
        title=pl.lit(None, pl.String),
    ).select(*ENTITIES)


def _in_topic_order(
    folder: Path, topics: Sequence[str], required: Sequence[str], optional: Sequence[str] = ()
) -> pl.DataFrame:
    """Rows of a folder in the order of topics.toml. Raises InputError for other topics, or if there are no rows."""
    rows = read_folder(folder, required, optional)
    if rows.is_empty():
        raise InputError(f"{folder}: no table there has a row below the names of its columns")
    if row := next(_some(rows, ~pl.col("topic").is_in(list(topics))), None):
        raise InputError(
            f"{location(row)}: {row['topic']!r} is not a topic of topics.toml; a table's name, or its column "
            f"`topic`, says which topic its rows belong to. Known topics: {', '.join(topics)}"
        )
    return rows.sort(pl.col("topic").cast(pl.Enum(topics)), maintain_order=True)


def _minted(labels: pl.Series) -> pl.DataFrame:
    """Columns written, label and id: every distinct label, cleaned and hashed once."""
    written = labels.drop_nulls().unique().to_list()
    cleaned = [clean(label) for label in written]
    return pl.DataFrame(
        {
            "written": written,
            "label": [label or None for label in cleaned],
            "id": [label_id(label) for label in cleaned],
        },
        schema=dict.fromkeys(("written", "label", "id"), pl.String),
    )


def _relation_table(
    pairs: pl.DataFrame, relations: Mapping[str, Relation], excluded: Mapping[str, Collection[str]]
) -> pl.DataFrame:
    """What each (topic, relation as written) stands for: stem, property_id, object_kind, relation_reason.

    `excluded` has the topics, or "*", for which a label or a property id was left out on purpose.
    """
    stems: dict[tuple[str, str], str] = {}
    properties: dict[str, set[str]] = {}
    for stem, relation in relations.items():
        for label in (*relation.labels, relation.property):
            properties.setdefault(label, set()).add(relation.property)
            stems.update({(label, topic): stem for topic in relation.topics})
    rows: list[tuple[str | None, ...]] = []
    for topic, written in pairs.iter_rows():
        label = clean(written or "")
        asked = stems.get((label, topic)) or stems.get((label, "*"))
        if asked is not None:
            rows.append((topic, written, asked, relations[asked].property, relations[asked].object, None))
            continue
        # The same words name one property in every topic, unless two properties claim them.
        candidates = properties.get(label, set())
        property_id = next(iter(candidates)) if len(candidates) == 1 else label_id(label)
        reason = _why_not_asked(topic, excluded.get(label, ()), is_known=bool(candidates))
        rows.append((topic, written, None, property_id, "entity", reason))
    columns = ["topic", "relation", "stem", "property_id", "object_kind", "relation_reason"]
    return pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")


def _why_not_asked(topic: str, left_out: Collection[str], *, is_known: bool) -> str:
    """The reason of a relation that no file asks about in a topic; `is_known`: one does in another."""
    if topic in left_out or "*" in left_out:
        return "excluded_relation"
    return "not_asked_in_topic" if is_known else "unknown_relation"


def _with_literals(rows: pl.DataFrame, relations: Mapping[str, Relation]) -> pl.DataFrame:
    """Columns object_value and object_text of literals, and the reason of those that cannot be read."""
    literal = (pl.col("object_kind") != "entity") & pl.col("reason").is_null()
    distinct = rows.filter(literal).select("stem", "object_label").unique()
    parsed = [(stem, label, *values.cell(label, relations[stem])[:3]) for stem, label in distinct.iter_rows()]
    names = ["stem", "object_label", "object_value", "object_text", "literal_reason"]
    table = pl.DataFrame(parsed, schema=dict.fromkeys(names, pl.String), orient="row")
    return (
        rows.join(table, on=["stem", "object_label"], how="left", maintain_order="left")
        .with_columns(
            reason=pl.coalesce("reason", "literal_reason"), object_value=pl.coalesce("object_value", "object_label")
        )
        .drop("literal_reason")
    )


def _check_ids(rows: pl.DataFrame) -> None:
    """Ids must look like ids, and rows must not contradict each other. Raises InputError with the first faults."""
    faults = sorted(_faults(rows), key=lambda fault: (fault[0]["file"], fault[0]["line"]))
    if faults:
        shown = [f"{location(row)}: {message}" for row, message in faults[:MOST_FAULTS]]
        raise InputError("\n".join([*shown, "there are more such faults"] if len(faults) > MOST_FAULTS else shown))


def _faults(rows: pl.DataFrame) -> Iterator[tuple[dict[str, Any], str]]:
    """Rows that are not what they should be, each with what is wrong; only the first ones of a kind."""
    for name, valid, example in (
        ("subject_qid", is_item, "Q90"),
        ("property_id", is_property, "P36"),
        ("object_qid", is_item, "Q90"),
    ):
        yield from _faults_of_column(rows, name, valid, example)
    no_object = pl.all_horizontal(pl.col("object_qid", "object_value").is_null())
    for row in _some(rows, no_object.all().over("file") & pl.col("file").is_first_distinct()):
        yield row, "neither object_qid nor object_value has a value, here or in any other row of the file"
    for name in ("subject_sitelinks", "object_sitelinks"):
        yield from _faults_of_column(rows, name, _COUNT.fullmatch, "31")
    title = "Paris, without # | < > [ ] { } or control characters"
    for name in ("subject_title", "object_title"):
        yield from _faults_of_column(rows, name, _may_be_title, title)
    yield from _contradictions(rows, "label", "an id has one label, its other names belong in the aliases")
    yield from _contradictions(rows, "sitelinks", "give an entity the same number in every row, or in one alone")
    yield from _contradictions(rows, "title", "give an entity the same title in every row, or in one alone")


def _contradictions(rows: pl.DataFrame, name: str, advice: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Rows that say something else about an entity than an earlier row does."""
    stated = _sides(rows).filter(pl.col(name).is_not_null())
    if name == "title":  # a blank one counts as none
        stated = stated.filter(pl.col(name).str.strip_chars() != "")
    earliest = stated.unique("qid", keep="first", maintain_order=True).select(
        "qid", first=name, first_line="line", first_file="file"
    )
    # Few texts differ as they are written, and fewer once they are cleaned, which takes a while.
    written = stated.join(earliest, on="qid", maintain_order="left").filter(pl.col(name) != pl.col("first"))
    plain = {"sitelinks": _plain_count, "title": _plain_title, "label": clean}[name]
    cleaned = written.with_columns(pl.col(name, "first").map_elements(plain, return_dtype=pl.String))
    for row in _some(cleaned, pl.col(name) != pl.col("first")):
        first = f"{row['first']!r} in {row['first_file']}: line {row['first_line']}"
        yield row, f"{row['qid']} has the {name} {row[name]!r} here and {first}; {advice}"


def _plain_count(text: str) -> str:
    return text.partition(".")[0].lstrip("0")


def _plain_title(text: str) -> str:
    """As a wiki reads it, whose titles begin with a capital."""
    plain = clean(text).replace("_", " ")
    return plain[:1].upper() + plain[1:]


def _may_be_title(text: str) -> bool:
    plain = clean(text)
    return not plain or is_title(plain)


def _faults_of_column(
    rows: pl.DataFrame, name: str, valid: Callable[[str], object], example: str
) -> Iterator[tuple[dict[str, Any], str]]:
    wrong = [text for text in rows[name].drop_nulls().unique() if not valid(text)]
    for row in _some(rows, pl.col(name).is_in(wrong)):
        yield row, f"{name}: {row[name]!r} is not of the form {example}"
    if name in ID_COLUMNS:
        for row in _some(rows, pl.col(name).is_null()):
            yield row, f"{name}: is empty; a value such as {example} is expected"


def _some(rows: pl.DataFrame, wrong: pl.Expr) -> Iterator[dict[str, Any]]:
    """The first rows that are wrong: one more than is told."""
    return rows.filter(wrong).head(MOST_FAULTS + 1).iter_rows(named=True)


def _object(row: Mapping[str, str | None], relation: Relation) -> values.Value:
    if row["object_qid"] is None and row["object_value"] is None:
        return values.Value("", row["object_label"], "empty")
    if relation.object == "entity":
        qid = row["object_qid"]
        return values.Value(qid) if qid else values.Value(row["object_value"] or "", reason="wrong_kind")
    written = row["object_value"]
    if written is None:
        return values.Value(row["object_qid"] or "", row["object_label"], "wrong_kind")
    return values.cell(written, relation)


def _names_in(row: Mapping[str, str | None], kind: str) -> tuple[str | None, str | None]:
    """What a row calls its subject and its object."""
    return row["subject_label"], row["object_label" if kind == "entity" and row["object_qid"] else "object_value"]


def _sides(rows: pl.DataFrame) -> pl.DataFrame:
    """What the rows say of their subjects, then of their objects: qid, label, DETAILS, file and line."""
    names = ("qid", "label", *DETAILS)
    sides = [
        rows.select("file", "line", **{name: f"{side}_{name}" for name in names}) for side in ("subject", "object")
    ]
    return pl.concat(sides).filter(pl.col("qid").is_not_null())


def _entities_of(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of ENTITIES; of what several rows say about an entity, the first that says something counts."""
    merged = _sides(rows).group_by("qid", maintain_order=True).agg(pl.col("label", *DETAILS).drop_nulls().first())
    aliases = [split_aliases(text) for text in merged["aliases"]]
    label = pl.col("label").map_elements(clean, return_dtype=pl.String)
    # Wikipedia answers with titles in NFC, whatever it was asked with.
    title = pl.col("title").map_elements(clean, return_dtype=pl.String)
    return merged.with_columns(
        label=pl.when((label != "") & ~label.str.contains(f"^{ITEM}$")).then(label),
        aliases=pl.Series(aliases, dtype=pl.List(pl.String)),
        sitelinks=pl.col("sitelinks").str.extract(_COUNT.pattern).cast(pl.Int64),
        title=pl.when(title != "").then(title),
    ).select(*ENTITIES)


def split_aliases(written: str | None) -> list[str]:
    """The aliases of a cell, each once, in their order."""
    aliases: Iterable[str] = (clean(alias) for alias in (written or "").split(LIST_MARK))
    return list(dict.fromkeys(alias for alias in aliases if alias))
