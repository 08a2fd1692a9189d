"""Statements and entities from Wikidata's direct (truthy) statements, by the rules of the SPARQL source.

Direct statements are those of best rank. What they do not tell is left out rather than guessed:

    end dates           a statement that has ended cannot be told from one that holds; SPARQL leaves it out
    precision of dates  a day other than the first proves a day, a month other than January proves a month; all other
                        dates are `precision_unknown`, and so are days before 1583 that would be of another year or
                        month in the Julian calendar, then the usual one: dumps do not tell which is meant
    units               a quantity whose relation asks for a unit is `unit_unknown`; others are taken as bare numbers
    sitelinks, titles   full dumps have them; beside a truthy dump, Wikidata's table wb_items_per_site gives both
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import narwhals as nw
import polars as pl

from dual_data.config import Relation, Topic
from dual_data.errors import InputError
from dual_data.ids import ENTITY_PREFIX, ITEM, digest, number
from dual_data.sources import values
from dual_data.sources.assembly import ENTITIES, STATEMENTS, Harvest, reject
from dual_data.sources.dumps.engines import Lazy, Tables
from dual_data.sources.dumps.files import SITELINKS
from dual_data.sources.wikidata.sparql import Term
from dual_data.sources.wikidata.statements import named_in, prefer_languages

INSTANCE_OF, SUBCLASS_OF = 31, 279
_DAY = re.compile(r"([+-]?\d{4,})-(\d\d)-(\d\d)")
_JULIAN = Term("iri", values.JULIAN)
_GREGORIAN_SINCE = 1583
"""The first whole year of the Gregorian calendar anywhere; other places wrote Julian days long after it."""
_REASONS = {"precision_too_low": "precision_unknown", "unit_not_asked": "unit_unknown"}
"""Reasons that stand in place of the SPARQL source's, because dumps tell neither precision nor unit."""
WIKI = "enwiki"
"""Site whose titles are taken: the Wikipedia that the SPARQL source asks for too."""


def members(tables: Tables, topics: Mapping[str, Topic], limit: int | None) -> dict[str, list[int]]:
    """The subjects of every topic, by number: most sitelinks first (ties by number) or by hash, up to its limit."""
    hierarchy = _hierarchy(tables)
    return {name: _subjects(tables, hierarchy, name, topic, limit) for name, topic in topics.items()}


def harvest(tables: Tables, members: Mapping[str, Sequence[int]], relations: Mapping[str, Relation]) -> Harvest:
    """All statements of the relations about the topics' subjects, and the entities that they name."""
    statements = _reject_wrong_classes(tables, _statements(tables, members, relations), relations)
    return Harvest(statements, _entities(tables, _numbers(pl.Series(named_in(statements), dtype=pl.String))))


def _hierarchy(tables: Tables) -> pl.DataFrame:
    """Columns item and object: which class is directly below which."""
    edges = tables["claims"].filter(nw.col("property") == SUBCLASS_OF).select("item", "object")
    return tables.engine.collect(edges).unique()


def _below(hierarchy: pl.DataFrame, roots: Sequence[str]) -> pl.DataFrame:
    """Column object: the classes and all classes below them."""
    classes = level = pl.DataFrame({"object": [number(qid) for qid in roots]}, schema={"object": pl.Int64})
    while level.height:
        below = hierarchy.join(level, on="object", how="semi").select(object="item").unique()
        level = below.join(classes, on="object", how="anti")
        classes = pl.concat([classes, level])
    return classes.unique()


def _subjects(tables: Tables, hierarchy: pl.DataFrame, name: str, topic: Topic, limit: int | None) -> list[int]:
    classes = tables.engine.local(_below(hierarchy, topic.classes))
    claims = tables["claims"].filter(nw.col("property") == number(topic.property))
    items = claims.join(classes, on="object", how="semi").select("item").unique()
    most = topic.most(limit)
    if topic.order == "hash":
        numbers = tables.engine.collect(items)["item"].to_list()
        return sorted(numbers, key=lambda item: digest(f"Q{item}"))[:most]
    counts = _sitelinks(tables)
    if counts is None:
        rows = tables.engine.collect(items).sort("item")
        if rows.height > topic.limit:
            raise InputError(
                f"{tables.folder}: {name} takes the {topic.limit} items with the most sitelinks out of {rows.height}, "
                f"but a truthy dump has no sitelinks. Put wikidatawiki-DATE-{SITELINKS}.sql.gz beside it and import "
                'again, or set order = "hash" for the topic.'
            )
        return rows["item"].head(most).to_list()
    ranked = items.join(counts, on="item", how="left").with_columns(rank=nw.col("count").fill_null(0) * -1)
    rows = tables.engine.collect(ranked.sort("rank", "item").head(most).select("rank", "item"))
    return rows.sort("rank", "item")["item"].to_list()


def _sitelinks(tables: Tables) -> Lazy | None:
    """Columns item and count; None where the dumps do not tell."""
    if tables.rows("sitelinks"):
        return tables["sitelinks"].group_by("item").agg(nw.col("count").max())
    if tables.rows(SITELINKS):
        return tables[SITELINKS].group_by("item").agg(nw.len().cast(nw.Int64).alias("count"))
    return None


def _titles(tables: Tables) -> Lazy | None:
    """Columns item and title; None where the dumps do not tell."""
    if tables.rows("articles"):
        return tables["articles"].group_by("item").agg(nw.col("title").min())
    if tables.rows(SITELINKS):
        here = tables[SITELINKS].filter(nw.col("site") == WIKI)
        return here.group_by("item").agg(nw.col("title").min())
    return None


def _statements(
    tables: Tables, members: Mapping[str, Sequence[int]], relations: Mapping[str, Relation]
) -> pl.DataFrame:
    """Rows of STATEMENTS, by topic, relation, subject and object."""
    jobs = pl.DataFrame(
        [
            (topic_number, topic, relation_number, stem, number(relation.property), relation.property, relation.object)
            for topic_number, topic in enumerate(members)
            for relation_number, (stem, relation) in enumerate(relations.items())
            if relation.applies_to(topic)
        ],
        schema={
            "topic_number": pl.Int64, "topic": pl.String, "relation_number": pl.Int64, "relation": pl.String,
            "property": pl.Int32, "property_id": pl.String, "object_kind": pl.String,
        },
        orient="row",
    )  # fmt: skip
    subjects = pl.DataFrame(
        [(topic_number, item) for topic_number, items in enumerate(members.values()) for item in items],
        schema={"topic_number": pl.Int64, "item": pl.Int64},
        orient="row",
    )
    items = _of_items(_read(tables, "claims", subjects, jobs))
    others = _of_values(_read(tables, "values", subjects, jobs), relations)
    columns = [*STATEMENTS, "language", "topic_number", "relation_number", "item"]
    stated = pl.concat([items.select(columns), others.select(columns)])
    stated = stated.sort("topic_number", "relation_number", "item", "object_value")
    return prefer_languages(stated.select(*STATEMENTS, "language"))


def _read(tables: Tables, name: str, subjects: pl.DataFrame, jobs: pl.DataFrame) -> pl.DataFrame:
    """What a table says about the subjects with the properties of the jobs, each row with its job."""
    engine = tables.engine
    properties = engine.local(jobs.select("property").unique())
    rows = tables[name].join(properties, on="property", how="semi").join(engine.local(subjects), on="item", how="inner")
    stated = engine.collect(rows).join(jobs, on=["topic_number", "property"], how="inner")
    return stated.with_columns(subject_qid=pl.format("Q{}", "item"))


def _of_items(rows: pl.DataFrame) -> pl.DataFrame:
    """Statements whose object is an item."""
    entity = pl.col("object_kind") == "entity"
    qid = pl.format("Q{}", "object")
    return rows.with_columns(
        object_value=pl.when(entity).then(qid).otherwise(pl.lit(ENTITY_PREFIX) + qid),
        object_text=pl.lit(None, pl.String),
        reason=pl.when(~entity).then(pl.lit("wrong_kind")),
        language=pl.lit(""),
    )


def _of_values(rows: pl.DataFrame, relations: Mapping[str, Relation]) -> pl.DataFrame:
    """Statements with any other object. Texts in other languages are no answers, as in the SPARQL source."""
    foreign = (
        (pl.col("object_kind") == "text") & ~pl.col("tag").is_in(["", "en", "mul"]) & ~pl.col("tag").str.contains(":")
    )
    rows = rows.filter(~foreign)
    columns = rows.select("relation", "kind", "value", "tag").iter_rows()
    parsed = [_value(relations[stem], Term(*term)) for stem, *term in columns]
    schema = {"object_value": pl.String, "object_text": pl.String, "reason": pl.String, "language": pl.String}
    return pl.concat([rows, pl.DataFrame(parsed, schema=schema, orient="row")], how="horizontal")


def _value(relation: Relation, term: Term) -> values.Value:
    if relation.object != "date":
        value = values.stated(relation, term, (None, None))
    else:
        match = _DAY.match(term.value)
        precision = _precision(match)
        value = values.stated(relation, term, (None, precision, None))
        julian = values.stated(relation, term, (None, precision, _JULIAN))
        if match and int(match[1]) < _GREGORIAN_SINCE and value != julian:
            value = values.Value(term.value, reason="precision_unknown")
    return value._replace(reason=_REASONS.get(value.reason or "", value.reason))


def _precision(time: re.Match[str] | None) -> Term | None:
    """The least precision that a time proves: Wikibase writes 01 for a month and a day that it does not know."""
    if time is None or time.groups()[1:] == ("01", "01"):
        return None
    return Term("literal", str(values.PRECISIONS["month" if time[3] == "01" else "day"]))


def _reject_wrong_classes(tables: Tables, statements: pl.DataFrame, relations: Mapping[str, Relation]) -> pl.DataFrame:
    """Give `wrong_class` to objects that belong to none of the classes that their relation accepts."""
    restricted = {stem: relation for stem, relation in relations.items() if relation.object_classes}
    hierarchy = _hierarchy(tables) if restricted else pl.DataFrame()
    for stem, relation in restricted.items():
        here = pl.col("reason").is_null() & (pl.col("relation") == stem)
        objects = statements.filter(here)["object_value"].unique()
        engine = tables.engine
        claims = tables["claims"].filter(nw.col("property") == INSTANCE_OF)
        claims = claims.join(engine.local(_below(hierarchy, relation.object_classes)), on="object", how="semi")
        accepted_claims = claims.join(engine.local(_numbers(objects).to_frame("item")), on="item", how="semi")
        accepted = engine.collect(accepted_claims.select("item").unique())["item"]
        wrong = here & ~pl.col("object_value").str.slice(1).cast(pl.Int64, strict=False).is_in(accepted.implode())
        statements = reject(statements, wrong, "wrong_class")
    return statements


def _numbers(qids: pl.Series) -> pl.Series:
    return qids.str.slice(1).cast(pl.Int64).alias("item")


def _entities(tables: Tables, items: pl.Series) -> pl.DataFrame:
    """Rows of ENTITIES, by number: an English label is preferred to one for all languages."""
    engine = tables.engine
    wanted = engine.local(items.to_frame("item"))
    terms = engine.collect(tables["terms"].join(wanted, on="item", how="semi"))
    terms = terms.with_columns(text=_clean(pl.col("text")))
    # Some items are called by their own id, which is no name.
    label = (pl.col("field") == "label") & (pl.col("text") != "") & ~pl.col("text").str.contains(f"^{ITEM}$")
    alias = (pl.col("field") == "alias") & (pl.col("text") != "")
    in_english = pl.col("text").filter(label & (pl.col("language") == "en")).max()
    in_all = pl.col("text").filter(label & (pl.col("language") == "mul")).max()
    entities = terms.group_by("item").agg(
        label=pl.coalesce(in_english, in_all),
        aliases=pl.col("text").filter(label | alias).unique().sort(),
        description=pl.col("text").filter(pl.col("field") == "description").min(),
    )
    entities = entities.with_columns(
        aliases=pl.when(pl.col("label").is_null())
        .then("aliases")
        .otherwise(pl.col("aliases").list.set_difference(pl.concat_list("label")).list.sort())
    )
    frame = items.to_frame("item").join(entities, on="item", how="left")
    for name, table in (("count", _sitelinks(tables)), ("title", _titles(tables))):
        if table is None:
            frame = frame.with_columns(pl.lit(None).alias(name))
        else:
            frame = frame.join(engine.collect(table.join(wanted, on="item", how="semi")), on="item", how="left")
    return frame.sort("item").select(
        pl.format("Q{}", "item").alias("qid"), "label", pl.col("aliases").fill_null([]), "description",
        pl.col("count").alias("sitelinks"), "title",
    ).cast(ENTITIES)  # fmt: skip


def _clean(text: pl.Expr) -> pl.Expr:
    """`words.clean` on a column."""
    return text.str.replace_all(r"[\s\x1c-\x1f]+", " ").str.strip_chars(" ").str.normalize("NFC")
