"""Label triplets with Wikidata ids, where there is no doubt: never a guess, never the most famous namesake.

Through an endpoint, a row is resolved when exactly one statement agrees with it: a subject of the topic's classes that
carries the label, with the relation's property, and an object of the relation's classes that carries the other label.
"Alexandria, country, Egypt" settles which Alexandria it is. Through a label table, a row is resolved when each of its
labels stands for exactly one id (of the topic's, and of the relation's, classes where the table has a column `class`);
a row whose subject alone is resolved is rejected, and counts among the objects of its pair.

    unresolved_label   nothing carries the label
    ambiguous_label    several things do, or several statements agree
    unconfirmed        things carry the labels, but the endpoint states no such fact
    wrong_class        the endpoint states it, but of an object that belongs to none of the relation's classes
    not_in_table       a statement of a resolved subject that the table lacks; it counts among the objects of its pair
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from dual_data.calls.fetching import Forecast, NotKnown
from dual_data.config import Relation, Topic
from dual_data.errors import InputError
from dual_data.ids import is_item, item_of_iri
from dual_data.sources.assembly import ENTITIES, STATEMENTS, Harvest
from dual_data.sources.tables.files import location, read_file
from dual_data.sources.tables.triplets import as_written, minted_entities, split_aliases, without_details
from dual_data.sources.wikidata.asking import Asker, Foresight
from dual_data.sources.wikidata.queries import Named, in_batches
from dual_data.sources.wikidata.statements import (
    Job,
    Sizes,
    describe,
    jobs_about,
    named_in,
    read_statements,
    reject_wrong_classes,
    subclasses,
)
from dual_data.text.words import clean


def through_endpoint(
    asker: Asker, rows: pl.DataFrame, topics: Mapping[str, Topic], relations: Mapping[str, Relation], sizes: Sizes
) -> Harvest:
    """Resolve rows of `triplets.read_labels` by what an endpoint states."""
    usable = rows.filter(pl.col("reason").is_null())
    candidates = {
        topic: _carriers(asker, topic, topics[topic], labels["subject_label"].unique().sort().to_list(), sizes)
        for (topic,), labels in usable.group_by("topic", maintain_order=True)
    }
    stated = read_statements(asker, _jobs(usable, candidates, relations, sizes), relations)
    entities, classes = describe(asker, named_in(stated), sizes)
    names = _names(entities)
    stated = reject_wrong_classes(asker, stated, classes, relations)
    statements_of: dict[tuple[str, str, str], list[tuple[str, str | None, bool]]] = defaultdict(list)
    for topic, stem, qid, value, text, reason in (
        stated.filter(pl.col("reason").is_null() | (pl.col("reason") == "wrong_class"))
        .select("topic", "relation", "subject_qid", "object_value", "object_text", "reason")
        .iter_rows()
    ):
        statements_of[topic, stem, qid].append((value, text, reason is None))
    resolved: list[dict[str, str | None]] = []
    for row, statement in zip(usable.iter_rows(named=True), as_written(usable).iter_rows(named=True), strict=True):
        topic, stem = row["topic"], row["stem"]
        carriers = candidates[topic].get(row["subject_label"], set())
        matches = [
            (qid, value, text, accepted)
            for qid in carriers
            for value, text, accepted in statements_of[topic, stem, qid]
            if _agrees(row, value, names)
        ]
        usable_matches = {(qid, value): text for qid, value, text, accepted in matches if accepted}
        if len(usable_matches) == 1:
            (((qid, value), text),) = usable_matches.items()
            statement.update(subject_qid=qid, object_value=value, object_text=text)
        elif usable_matches:
            statement["reason"] = "ambiguous_label"
        else:
            statement["reason"] = "wrong_class" if matches else "unconfirmed" if carriers else "unresolved_label"
        resolved.append(statement)
    in_table = pl.DataFrame(resolved, schema=STATEMENTS)
    confirmed = in_table.filter(pl.col("reason").is_null())
    key = ["topic", "relation", "subject_qid", "object_value"]
    absent = (
        stated.join(confirmed, on="subject_qid", how="semi", maintain_order="left")
        .join(confirmed, on=key, how="anti", maintain_order="left")
        .with_columns(pl.col("reason").fill_null("not_in_table"))
    )
    rejected = as_written(rows.filter(pl.col("reason").is_not_null()))
    # Minted ids have their labels too, so that a rejected row can be read.
    return Harvest(pl.concat([in_table, absent, rejected]), pl.concat([entities, minted_entities(rows)]))


def through_table(
    path: Path, rows: pl.DataFrame, topics: Mapping[str, Topic], relations: Mapping[str, Relation]
) -> Harvest:
    """Resolve rows of `triplets.read_labels` by a table of ids and labels (columns qid, label; aliases, class)."""
    table = _label_table(path)
    carriers: dict[str, list[tuple[str, str | None]]] = defaultdict(list)
    for qid, label, aliases, of_class in table.select("qid", "label", "aliases", "class").iter_rows():
        for name in {label, *aliases}:
            carriers[name].append((qid, of_class))

    def carriers_of(label: str, classes: Sequence[str]) -> list[str]:
        return sorted({qid for qid, of_class in carriers[label] if not (of_class and classes) or of_class in classes})

    resolved: list[dict[str, str | None]] = []
    for row, statement in zip(rows.iter_rows(named=True), as_written(rows).iter_rows(named=True), strict=True):
        subjects = carriers_of(row["subject_label"], topics[row["topic"]].classes)
        if len(subjects) == 1:
            statement["subject_qid"] = subjects[0]
        if row["reason"] is None:
            relation = relations[row["stem"]]
            entity = relation.object == "entity"
            objects = carriers_of(row["object_label"], relation.object_classes) if entity else [row["object_value"]]
            if len(subjects) == len(objects) == 1:
                statement["object_value"] = objects[0]
            else:
                statement["reason"] = "ambiguous_label" if subjects and objects else "unresolved_label"
        resolved.append(statement)
    return Harvest(
        pl.DataFrame(resolved, schema=STATEMENTS), pl.concat([table.select(*ENTITIES), minted_entities(rows)])
    )


def forecast(
    asker: Foresight, rows: pl.DataFrame, topics: Mapping[str, Topic], relations: Mapping[str, Relation], sizes: Sizes
) -> Forecast:
    """Calls that `through_endpoint` makes in all.

    Where the log does not know who carries the labels, it assumes one carrier for each label, and one description for
    each carrier and each object.
    """
    try:
        through_endpoint(asker, rows, topics, relations, sizes)
    except NotKnown:
        usable = rows.filter(pl.col("reason").is_null())
        by_topic = usable.group_by("topic").agg(pl.col("subject_label").n_unique())["subject_label"]
        by_relation = usable.group_by("topic", "stem").agg(pl.col("subject_label").n_unique())["subject_label"]
        labels = usable["subject_label"].n_unique() + usable["object_label"].n_unique()
        calls = (
            len(by_topic)
            + sum(math.ceil(count / sizes.labels) for count in by_topic)
            + sum(math.ceil(count / sizes.subjects) for count in by_relation)
            + math.ceil(labels / sizes.entities)
            + sum(1 for stem in usable["stem"].unique() if relations[stem].object_classes)
        )
        return asker.forecast(calls)
    return asker.forecast()


def _carriers(asker: Asker, name: str, topic: Topic, labels: Sequence[str], sizes: Sizes) -> dict[str, set[str]]:
    """Members of a topic by the label or alias that they carry."""
    accepted = set(subclasses(asker, name, topic.classes))
    carriers: dict[str, set[str]] = defaultdict(set)
    groups = in_batches(labels, sizes.labels)
    for _, rows in asker.ask(f"labels of {name}", [Named(topic.property, group) for group in groups]):
        for label, item, of_class in rows:
            if label is None or item is None or of_class is None or item_of_iri(of_class.value) not in accepted:
                continue
            if qid := item_of_iri(item.value):
                carriers[clean(label.value)].add(qid)
    return carriers


def _jobs(
    usable: pl.DataFrame,
    candidates: Mapping[str, Mapping[str, set[str]]],
    relations: Mapping[str, Relation],
    sizes: Sizes,
) -> list[Job]:
    jobs: list[Job] = []
    for (topic, stem), rows in usable.group_by("topic", "stem", maintain_order=True):
        qids = {qid for label in rows["subject_label"] for qid in candidates[topic].get(label, ())}
        jobs += jobs_about(qids, topic, stem, relations[stem], sizes)
    return jobs


def _names(entities: pl.DataFrame) -> dict[str, set[str]]:
    rows = entities.select("qid", "label", "aliases").iter_rows()
    return {qid: {label, *aliases} - {None} for qid, label, aliases in rows}


def _agrees(row: Mapping[str, str], value: str, names: Mapping[str, set[str]]) -> bool:
    if row["object_kind"] == "entity":
        return row["object_label"] in names.get(value, ())
    return row["object_value"] == value


def _label_table(path: Path) -> pl.DataFrame:
    """Columns of ENTITIES and `class`. Raises InputError for malformed or repeated ids."""
    table = read_file(path, ("qid", "label"), ("aliases", "class"))
    lines: dict[str, int] = {}
    for row in table.iter_rows(named=True):
        for column in ("qid", "class"):
            if not is_item(row[column] or "") and (row[column] or column == "qid"):
                raise InputError(f"{location(row)}: {column}: {row[column] or ''!r} is not an id such as Q90")
        if row["qid"] in lines:
            raise InputError(
                f"{location(row)}: qid: {row['qid']} is already in line {lines[row['qid']]}; an id has one line, "
                "its other names belong in the column aliases"
            )
        lines[row["qid"]] = row["line"]
    label = pl.col("label").map_elements(clean, return_dtype=pl.String)
    named = table.with_columns(label).filter(pl.col("label") != "")
    aliases = pl.Series([split_aliases(text) for text in named["aliases"]], dtype=pl.List(pl.String))
    return without_details(named.select("qid", "label")).with_columns(aliases.alias("aliases"), named["class"])
