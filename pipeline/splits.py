"""Splits: which facts are to be forgotten, kept and measured, by every recipe that the data allow.

Besides the memberships the stage writes

    examples/RECIPE   the rows of every split of the recipe, joined with the tables of the earlier stages
    recipes           which recipes were made, and why the others were not
    capacity          how many rows each split of each recipe was chosen from, and why some are smaller or not made
    baselines         what answers that know nothing score on each split
    balance           how far rare and popular differ in what should not differ
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

import polars as pl
from pydantic import Field, field_validator

from dual_data.audit.baselines import baseline_table
from dual_data.config import POOLED, RELATIONS, Profile, Services, Strict, each_once
from dual_data.engine.stage import Result, Stage, Tools
from dual_data.errors import ConfigError
from dual_data.sampling import SIDES, with_rank
from dual_data.schema import Splits
from dual_data.sources.tables.files import hash_of
from pipeline.knowledge import KnowledgeParams
from pipeline.recipes import balance, examples, matched, paper
from pipeline.recipes.matched import Family, MatchedParams, SplitOutcome
from pipeline.recipes.paper import PaperParams
from pipeline.recipes.popularity import CAPPED, EntitySignal, Side, Signal, capped, popularity, read_given

Recipe = Literal["matched", "matched_answer", "paper"]
MATCHED_BY: dict[str, str] = {"matched": "length", "matched_answer": "answer"}


class SplitsParams(Strict):
    """Which recipes are made, and how large their splits are."""

    recipes: tuple[Recipe, ...] = Field(default=("matched", "matched_answer", "paper"), min_length=1)
    """matched: rare and popular facts paired on relation and answer length; matched_answer: on relation and answer;
    paper: the published rules of selection."""
    percents: tuple[Annotated[int, Field(ge=1, le=50)], ...] = Field(default=(1, 5, 10), min_length=1)
    """Sizes of the forget splits, in percent of the topic's facts that the recipe may choose from, rounded down. The
    rare and the popular split are disjoint, so neither has more than half."""
    smallest: int = Field(default=20, ge=1)
    """A split of fewer rows is not made, and the table `capacity` says so."""
    pooled: bool = True
    """Whether the matched recipes also make the splits `all_...` of all topics together."""
    matched: MatchedParams = MatchedParams()
    """Of the recipes matched and matched_answer."""
    paper: PaperParams = PaperParams()
    """Of the recipe paper."""

    _once = field_validator("recipes", "percents")(each_once)


class RecipeOutcome(NamedTuple):
    """The splits of a recipe."""

    recipe: str
    splits: list[SplitOutcome]
    reason: str
    """Why the recipe could not be made at all; empty where it could."""


class Selection(NamedTuple):
    """The splits of all recipes, before they are measured."""

    pool: pl.DataFrame
    """One row per question, with the columns of `pipeline.recipes.examples`."""
    outcomes: list[RecipeOutcome]
    members: dict[str, pl.DataFrame]
    """Rows of Splits by recipe."""


def run(
    params: SplitsParams,
    tools: Tools,
    *,
    facts: pl.DataFrame,
    links: pl.DataFrame,
    questions: pl.DataFrame,
    knowledge: pl.DataFrame,
    salience: pl.DataFrame,
) -> Result:
    """Make the splits of every recipe, and measure them. A limit has cut the inputs already; it is not applied here."""
    pool = examples.pooled(facts, links, questions, knowledge, salience)
    selection = select(params, tools, pool)
    tables = {
        "recipes": _recipes(selection.outcomes),
        "capacity": _capacity(selection.outcomes),
        **measures(params, selection),
        **joined_examples(params, selection, knowledge),
    }
    return Result(pl.concat(selection.members.values()), tables)


def select(params: SplitsParams, tools: Tools, pool: pl.DataFrame) -> Selection:
    """The members of every split of every recipe."""
    pool = examples.with_published(pool, params.paper.signal, tools.relations())
    pool = _with_given(pool, params, tools.project)
    pool = pool.with_columns(popularity=popularity(params.matched.signal, params.matched.side).cast(pl.Float64))
    names = short_names(pool["topic"].unique().sort().to_list())
    ready = with_rank(pool, "facts").sort("rank")
    eligible = _eligible(ready, params.matched)
    outcomes = []
    with tools.progress.task("splits", total=len(params.recipes)) as advance:
        for recipe in params.recipes:
            outcomes.append(
                _paper(ready, params, names) if recipe == "paper" else _matched(recipe, eligible, params, names)
            )
            advance(1)
    return Selection(pool.drop(*CAPPED, "given"), outcomes, {outcome.recipe: _members(outcome) for outcome in outcomes})


def _with_given(pool: pl.DataFrame, params: SplitsParams, project: Path) -> pl.DataFrame:
    """The pool with the column given, which is null where the profile names no table."""
    if not params.matched.given:
        return pool.with_columns(given=pl.lit(None, pl.Float64))
    return pool.join(read_given(project / params.matched.given), on="fact_id", how="left", maintain_order="left")


def check(params: SplitsParams, project: Path, profile: Profile) -> None:
    """Raise UsageError for a table of popularity that cannot be used, and for a model that knowledge does not ask."""
    if params.matched.given:
        read_given(project / params.matched.given)
    probed = profile.params("knowledge", KnowledgeParams).models
    matched_models = params.matched.models if {"matched", "matched_answer"} & set(params.recipes) else ()
    paper_models = (params.paper.model,) if params.paper.model and "paper" in params.recipes else ()
    for key, rule, wanted in (("matched.models", "matched", matched_models), ("paper.model", "paper", paper_models)):
        asked = [model.name for model in probed if rule in model.rules]
        if unknown := [name for name in wanted if name not in asked]:
            raise ConfigError(
                f"the stage knowledge does not ask {unknown[0]!r} by the rule {rule}; it asks: "
                f"{', '.join(asked) or 'none'}",
                key=f"splits.{key}",
            )


def sources(params: SplitsParams, project: Path, _: Services) -> dict[str, str]:
    """Hash of the table of popularity, if there is one."""
    path = project / params.matched.given
    return {path.name: hash_of(path)} if params.matched.given else {}


def measures(params: SplitsParams, selection: Selection) -> dict[str, pl.DataFrame]:
    """The tables `baselines` and `balance`."""
    measured = balance.measured(selection.pool)
    rows = {recipe: examples.joined(members, measured) for recipe, members in selection.members.items()}
    return {"baselines": _baselines(rows), "balance": _balance(rows, _models(params))}


def joined_examples(params: SplitsParams, selection: Selection, knowledge: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """One table per recipe: the rows of its splits, joined with the tables of the earlier stages."""
    tables = {}
    for recipe, members in selection.members.items():
        table = examples.joined(members, selection.pool)
        if recipe == "paper":
            table = paper.examples(table, knowledge, params.paper.model)
        tables[f"examples/{recipe}"] = table
    return tables


def short_names(topics: Sequence[str]) -> dict[str, str]:
    """What split names begin with: the topic without its theme, `places_city` -> `city`, as published.

    Topics whose short names clash keep their full names; these may clash with another short name in turn.
    """
    names = {topic: topic.partition("_")[2] or topic for topic in topics}
    while True:
        taken = Counter([*names.values(), POOLED])
        clashing = [topic for topic, name in names.items() if taken[name] > 1 and name != topic]
        if not clashing:
            return names
        names |= {topic: topic for topic in clashing}


def _eligible(pool: pl.DataFrame, params: MatchedParams) -> matched.Pool | str:
    """The facts from which the matched recipes choose, or why there are none."""
    functional = pool.with_columns(capped=capped(params.signal, params.side)).filter(pl.col("functional"))
    candidates = functional.filter(pl.col("popularity").is_not_null())
    unranked = functional.filter(pl.col("popularity").is_null())["topic"]
    if candidates.is_empty() and params.signal == "given":
        return f"{params.given} names no functional fact; take the ids of facts/data.parquet of this build"
    if candidates.is_empty():
        remedy = _set_another("splits.matched.signal", functional, get_args(Signal), params.side)
        return f"no functional fact has a value of {params.signal}; {remedy}"
    for model in params.models:
        if not candidates["probed_by"].list.contains(model).any():
            return f"the stage knowledge has no answer of {model} by the rule matched"
        known = candidates.filter(pl.col("known_by").list.contains(model))
        if known.is_empty():
            return f"{model} knows none of the {candidates.height} facts that are left to choose from"
        candidates = known
    return matched.eligible(candidates, params, unranked)


def _set_another(key: str, pool: pl.DataFrame, signals: Sequence[Signal], side: Side) -> str:
    """What to do where a signal has no value: name the signals that have any."""
    usable = [signal for signal in signals if pool.select(popularity(signal, side).is_not_null().any()).item()]
    return f"set {key} to one that has: {', '.join(usable)}" if usable else "nor of any other signal"


def _matched(recipe: Recipe, pool: matched.Pool | str, params: SplitsParams, names: dict[str, str]) -> RecipeOutcome:
    if isinstance(pool, str):
        return RecipeOutcome(recipe, [], pool)
    prefixes: list[tuple[str, str | None]] = [(name, topic) for topic, name in names.items()]
    if params.pooled and len(names) > 1:
        prefixes.append((POOLED, None))
    families = [Family(prefix, topic, params.matched, params.percents, params.smallest) for prefix, topic in prefixes]
    splits = matched.splits(pool, families, MATCHED_BY[recipe])
    no_pairs = f"no topic has enough pairs{pool.without_thirds(None)}"
    return RecipeOutcome(recipe, splits, "" if any(split.facts for split in splits) else no_pairs)


def _paper(pool: pl.DataFrame, params: SplitsParams, names: dict[str, str]) -> RecipeOutcome:
    candidates = pool.filter(pl.col("pop_sum").is_not_null())
    if candidates.is_empty():
        remedy = _set_another("splits.paper.signal", pool, get_args(EntitySignal), "sum")
        return RecipeOutcome("paper", [], f"no fact has {params.paper.signal} of subject and object; {remedy}")
    if model := params.paper.model:
        probes = candidates.select("fact_id", "knowledge").explode("knowledge").unnest("knowledge")
        answers = probes.filter((pl.col("model") == model) & (pl.col("rule") == "paper"))
        if answers.is_empty():
            return RecipeOutcome("paper", [], f"the stage knowledge has no answer of {model} by the rule paper")
        candidates = candidates.join(answers.filter("known"), on="fact_id", how="semi", maintain_order="left")
    candidates = candidates.select("topic", "fact_id", "question", "pop_sum", capped=capped(params.paper.signal, "sum"))
    known = f" and is known to {model}" if model else ""
    no_candidate = f"no fact has {params.paper.signal} of subject and object{known}; dates, numbers and texts have none"
    splits = []
    for topic, prefix in names.items():
        family = Family(prefix, topic, params.matched, params.percents, params.smallest)
        of_topic = candidates.filter(pl.col("topic") == topic)
        lacking = pool.filter(pl.col("topic") == topic).height - of_topic.height
        unknown = f" or are not known to {model}" if model else ""
        others = f" ({lacking:,} more have no {params.paper.signal} of subject and object{unknown})" if lacking else ""
        made = paper.splits(of_topic, family, params.paper.retain, others)
        splits += [split._replace(reason=no_candidate) for split in made] if of_topic.is_empty() else made
    ranking = candidates.sort("pop_sum", maintain_order=True)["fact_id"].to_list()
    splits.append(paper.full(ranking, "full_", params.smallest))
    return RecipeOutcome(
        "paper", splits, "" if any(split.facts for split in splits) else "no topic has enough candidates"
    )


def _members(outcome: RecipeOutcome) -> pl.DataFrame:
    rows = [
        (outcome.recipe, split.name, fact, position, pair)
        for split in outcome.splits
        for position, (fact, pair) in enumerate(zip(split.facts, split.pairs, strict=True))
    ]
    return pl.DataFrame(rows, schema=Splits.create_empty().schema, orient="row")


def _recipes(outcomes: Sequence[RecipeOutcome]) -> pl.DataFrame:
    rows = []
    for outcome in outcomes:
        sizes = [len(split.facts) for split in outcome.splits if split.facts]
        rows.append((outcome.recipe, not outcome.reason, len(sizes), sum(sizes), outcome.reason))
    schema = {"recipe": pl.String, "made": pl.Boolean, "splits": pl.Int64, "rows": pl.Int64, "reason": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _capacity(outcomes: Sequence[RecipeOutcome]) -> pl.DataFrame:
    rows = [
        (outcome.recipe, split.name, bool(split.facts), len(split.facts), split.wanted, split.holds, split.reason)
        for outcome in outcomes
        for split in outcome.splits
    ]
    numbers = ("rows", "wanted", "holds")
    schema = {"recipe": pl.String, "split": pl.String, "made": pl.Boolean, **dict.fromkeys(numbers, pl.Int64)}
    return pl.DataFrame(rows, schema={**schema, "reason": pl.String}, orient="row")


def _baselines(rows: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """One row per split: each baseline, and `chance`, the largest of them."""
    columns = ["recipe", "split", "answer", "relation", "subject_label"]
    frames = [frame.with_columns(recipe=pl.lit(recipe)).select(columns) for recipe, frame in rows.items()]
    table = baseline_table(pl.concat(frames).with_columns(group=pl.struct("recipe", "split")), "group")
    return table.unnest("group")


def _balance(rows: dict[str, pl.DataFrame], models: tuple[str, ...]) -> pl.DataFrame:
    comparisons: list[dict[str, Any]] = []
    for recipe, frame in rows.items():
        splits = {str(split): members for (split,), members in frame.group_by("split", maintain_order=True)}
        for name, members in splits.items():
            other = name.replace("_forget_rare_", "_forget_popular_")
            if other != name and other in splits:
                sides = dict(zip(SIDES, (name, other), strict=True))
                measured = balance.compared(members, splits[other], models)
                comparisons += [{"recipe": recipe, **sides, **row} for row in measured]
    return pl.DataFrame(comparisons, schema=balance.SCHEMA)


def _models(params: SplitsParams) -> tuple[str, ...]:
    wanted = (*params.matched.models, *([params.paper.model] if params.paper.model else []))
    return tuple(dict.fromkeys(wanted))


SPLITS = Stage(
    name="splits",
    version=18,
    run=run,
    schema=Splits,
    params=SplitsParams,
    inputs=("facts", "links", "questions", "knowledge", "salience"),
    files=(f"{RELATIONS}/*.toml",),
    sources=sources,
    check=check,
)
