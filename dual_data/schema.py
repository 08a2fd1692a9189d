"""The tables between the stages: one class for each table.

A stage's frame is checked against its schema when it is written. Rows that break a rule are stored separately with the
rule's name, so nothing disappears silently.
"""

from __future__ import annotations

import inspect
import textwrap

import dataframely as dy
import polars as pl

from dual_data.ids import ITEM, PROPERTY, digest

ENTITY_ID = rf"^({ITEM}|label:[0-9a-f]{{16}})$"
PROPERTY_ID = rf"^({PROPERTY}|label:[0-9a-f]{{16}})$"
FACT_ID = r"^[0-9a-f]{16}$"
NAME = r"^[a-z][a-z0-9_]*$"
"""Of a recipe or rule of the project; names files too."""
OBJECT_KIND = r"^(entity|date|quantity|text)$"


class Facts(dy.Schema):
    """One row a (subject, property, object): what is true, by id; labels are for display."""

    fact_id = dy.String(primary_key=True, regex=FACT_ID)
    topic = dy.String(min_length=1)
    """The topic of topics.toml under which the fact was found first; a fact has one."""
    relation = dy.String(min_length=1)
    """The stem of the relation's file, such as P36 or P17_river."""
    property_id = dy.String(regex=PROPERTY_ID)
    subject_qid = dy.String(regex=ENTITY_ID)
    subject_label = dy.String(min_length=1)
    subject_aliases = dy.List(dy.String())
    subject_description = dy.String(nullable=True)
    subject_sitelinks = dy.Int64(nullable=True, min=0)
    """Wikimedia pages about the subject; null where the source does not count them."""
    subject_title = dy.String(nullable=True)
    """Title of the subject's article in the Wikipedia that `links` counts in."""
    subject_mentions = dy.Int64(min=1)
    """How many distinct triplets of the whole input, usable or not, name the subject as subject or object."""
    object_kind = dy.String(regex=OBJECT_KIND)
    object_value = dy.String(min_length=1)
    """Canonical text of the object: see `dual_data.sources.values`."""
    object_qid = dy.String(nullable=True, regex=ENTITY_ID)
    object_label = dy.String(min_length=1)
    """What a reader calls the object: the label of an entity, the rendered literal."""
    object_aliases = dy.List(dy.String())
    object_description = dy.String(nullable=True)
    object_sitelinks = dy.Int64(nullable=True, min=0)
    """Wikimedia pages about the object; null for a literal, and where the source does not count them."""
    object_title = dy.String(nullable=True)
    """Title of the object's article in the Wikipedia that `links` counts in."""
    object_mentions = dy.Int64(min=1)
    """How many distinct triplets of the whole input name the object."""
    objects_of_pair = dy.Int64(min=1)
    """How many distinct best-rank, not-ended objects the pair (subject, property) has."""
    resolved = dy.Bool()
    """False where the ids were minted from labels; such facts are never pushed."""

    @dy.rule()
    def object_qid_fits_kind(cls) -> pl.Expr:
        return (pl.col("object_kind") == "entity") == pl.col("object_qid").is_not_null()


class Links(dy.Schema):
    """One row an entity: how often it is linked to."""

    qid = dy.String(primary_key=True, regex=ENTITY_ID)
    """Wikidata item of the entity."""
    title = dy.String(nullable=True)
    """Title of the article whose links were counted, after normalisation and redirects; null where there was none."""
    inbound_links = dy.Int64(nullable=True, min=0)
    """Links to the entity; null where they were not counted: never 0 for lack of an answer."""
    capped = dy.Bool()
    """True where counting stopped at the cap: there are at least `inbound_links`."""
    sitelinks = dy.Int64(nullable=True, min=0)
    """Wikimedia pages about the entity; null where the source does not count them."""
    method = dy.String(min_length=1)
    """How links were counted, or would have been if the entity had an article: cirrusdoc (approximate), linkshere
    (exact; beside cirrusdoc, the titles that the search index lacks), dump (exact), in_degree (in the embedded graph).
    Where none are counted (`method = "none"`): sitelinks for entities that have those, else mentions."""
    counted_on = dy.String(nullable=True, regex=r"^\d{4}-\d{2}-\d{2}$")
    """Day of the row: the UTC day on which Wikipedia answered, or where there was no article or link to ask it for, on
    which the endpoint was first asked about the entity; in a dump or the embedded snapshot, its day. Null where nobody
    was asked and nothing was counted: entities of tables, without article."""

    @dy.rule()
    def a_count_has_its_day(cls) -> pl.Expr:
        return pl.col("inbound_links").is_null() | pl.col("counted_on").is_not_null()


class Questions(dy.Schema):
    """One row a fact that can be asked."""

    fact_id = dy.String(primary_key=True, regex=FACT_ID)
    subject = dy.String(min_length=1)
    """The subject as it stands in the question, disambiguated where its label is ambiguous."""
    question = dy.String(min_length=3)
    answer = dy.String(min_length=1)
    """The canonical answer, the one to train on."""
    answers = dy.List(dy.String(min_length=1), min_length=1)
    """Every accepted answer, the canonical one first."""
    template_id = dy.String(min_length=1)
    """Relation and a hash of its wording, such as P36@1f2e3d4c."""
    paraphrases_validation = dy.List(dy.String(), min_length=1)
    """Only ever used by the knowledge probe."""
    paraphrases_training = dy.List(dy.String())
    """May be trained on."""
    paraphrases_test = dy.List(dy.String(), min_length=1)
    """Held out of validation and training."""
    statement = dy.String(nullable=True)
    """Cloze form with the answer in place, after "the" where its topic says so."""
    functional = dy.Bool()
    """Whether the relation is asked for one object alone and the pair has no other: what `matched` asks for."""

    @dy.rule()
    def canonical_answer_first(cls) -> pl.Expr:
        return pl.col("answers").list.first() == pl.col("answer")


class Knowledge(dy.Schema):
    """One row a fact, model and rule: what the model answers closed-book."""

    fact_id = dy.String(primary_key=True, regex=FACT_ID)
    model = dy.String(primary_key=True, min_length=1)
    """Name of the probed model in the profile."""
    rule = dy.String(primary_key=True, regex=NAME)
    """matched: most wordings are answered; paper: the best of 15 samples is similar enough to the answer."""
    generations = dy.List(dy.String())
    """The answers: one a validation paraphrase (matched), or the samples (paper)."""
    hits = dy.Int64(min=0)
    """How many of the generations hit an accepted answer."""
    known = dy.Bool()
    """Whether the model knows the fact by the rule."""
    control_known = dy.Bool(nullable=True)
    """Whether the model gives this answer for most of the subjects compared with it; null where there are none."""
    log_probability = dy.Float64(nullable=True, max=0.0)
    """Sum of the log-probabilities of the canonical answer's tokens after the canonical question, in nats."""
    best_generation = dy.String(nullable=True)
    """paper: the sample with the highest word recall of the answer."""
    generation_recall = dy.Float64(nullable=True, min=0.0, max=1.0)
    """paper: word recall of the answer in `best_generation`."""
    embedding_similarity = dy.Float64(nullable=True, min=-1.0001, max=1.0001)
    """paper: cosine of the sentence embeddings of `best_generation` and the answer."""


class Salience(dy.Schema):
    """One row a fact: how well known an LLM judge says it is."""

    fact_id = dy.String(primary_key=True, regex=FACT_ID)
    score = dy.Float64(nullable=True)
    """Expected value over the scale's labels; null where no valid label came back."""
    spread = dy.Float64(nullable=True, min=0.0)
    """Standard deviation of the same distribution."""
    entropy = dy.Float64(nullable=True, min=0.0)
    """Entropy of the same distribution, in nats."""
    mass = dy.Float64(nullable=True, min=0.0, max=1.0001)
    """Probability of all labels together before renormalising; null where the server gives none."""
    low_mass = dy.Bool()
    """True where the mass is below the threshold: the judge did not really answer on the scale."""
    argmax = dy.Int64(nullable=True)
    """The most probable label; of labels that are equally probable, the lowest."""
    samples = dy.Int64(min=0)
    """How many sampled answers stand behind the score; 0 where it was read from log-probabilities."""
    method = dy.String(regex=r"^(logprobs|logits|structured|samples)$")
    """What the score was read from: logprobs of a server, logits of a local judge, structured output, or samples of
    free text."""
    judge = dy.String(min_length=1)
    """The model that judged."""
    prompt_version = dy.String(min_length=1)
    """Version of the prompt."""


class Splits(dy.Schema):
    """One row a membership: a fact in a split of a recipe."""

    recipe = dy.String(primary_key=True, regex=NAME)
    """The recipe that chose the row."""
    split = dy.String(primary_key=True, min_length=1)
    """The split, such as city_forget_rare_5: files of a release are named after it, so only letters, digits and _."""
    fact_id = dy.String(primary_key=True, regex=FACT_ID)
    position = dy.Int64(min=0)
    """Order inside the split: a smaller split of the family is the start (in paper: an end) of a larger one."""
    pair = dy.String(nullable=True)
    """Shared by the rare and the popular member of a matched pair, and by the rows of neighbor_subject of either."""


def describe(schema: type[dy.Schema]) -> str:
    """Hash of a schema's columns, types and rules, part of a stage's fingerprint: 64 hexadecimal digits.

    A rule enters as its source code, since polars' text of an expression differs between versions; functions that the
    rule calls do not enter.
    """
    lines = [f"{name}:{column!r}" for name, column in schema.columns().items()]
    rules = {name: rule for base in reversed(schema.__mro__) for name, rule in vars(base).items()}
    for name, rule in rules.items():
        if (function := getattr(rule, "validation_fn", None)) is not None:
            lines.append(f"{name}:{textwrap.dedent(inspect.getsource(function))}")
    return digest("\n".join([schema.__name__, *sorted(lines)]), 64)
