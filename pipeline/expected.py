"""Forecasts of what the stages will ask, made before the facts are built from the sizes of the published tables.

None where that cannot be told: the number of facts read from tables depends on the tables.

A plan for a new project has to say whether it takes an hour or a week. It assumes that every topic fills its limit and
that a subject gives as many facts as in the published tables. Once the facts are built, the stages' own forecasts take
over, which are exact.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dual_data.config import RELATIONS, TOPICS, Profile, load_relations, load_topics
from dual_data.engine.stage import Forecast, Tools
from dual_data.prompts import load_prompt
from dual_data.sources.chat.openai.completions import messages
from dual_data.sources.chat.usage import estimate

if TYPE_CHECKING:
    from pipeline.knowledge import KnowledgeParams
    from pipeline.links import LinksParams
    from pipeline.salience import SalienceParams

TITLES_A_SUBJECT = 3
"""Articles that the facts about a subject name: its own and those of its objects."""
QUESTIONS_A_SUBJECT = 2.5
"""The 10,612 published subjects gave 21 to 32 thousand facts that can be asked."""
WORD = "Constantinople"
"""A name of usual length, for counting tokens."""
BASIS = f"estimated: {TITLES_A_SUBJECT} articles and {QUESTIONS_A_SUBJECT} questions a subject, every topic full"


def links(params: LinksParams, tools: Tools, profile: Profile) -> list[Forecast] | None:
    """The requests of the stage links."""
    from dual_data.sources.wikipedia.api import SOURCE
    from dual_data.sources.wikipedia.counts import TITLES_A_REQUEST

    if params.method not in ("cirrusdoc", "linkshere"):
        return []
    subjects = _subjects(tools, profile)
    if subjects is None:
        return None
    batches = math.ceil(TITLES_A_SUBJECT * subjects / TITLES_A_REQUEST)
    if params.method == "cirrusdoc":
        return [Forecast(SOURCE, 1 + batches, 0, note=BASIS)]
    return [Forecast(SOURCE, 2 * batches, 0, note=f"{BASIS}; at least, one call more for every 500 links")]


def knowledge(params: KnowledgeParams, tools: Tools, profile: Profile) -> list[Forecast] | None:
    """The questions of the stage knowledge, by model and rule."""
    from pipeline.knowledge import PROMPT, SOURCE, ledger
    from pipeline.probing import published_rule

    if not params.models:
        return []
    questions = _questions(tools, profile, params.sample)
    if questions is None:
        return None
    prompt = load_prompt(tools.project / PROMPT)
    conversation = messages(prompt.system, prompt.render({"question": f"Which {WORD} of {WORD} is the {WORD}?"}))
    relations = load_relations(tools.project / RELATIONS).values()
    paraphrases = sum(len(relation.questions.validation) for relation in relations) / max(1, len(relations))
    forecasts = []
    for model in params.models:
        budget = ledger(model, model.endpoint) if model.endpoint else None
        for index, rule in enumerate(model.rules):
            # A local model draws all samples in one call.
            samples = published_rule.SAMPLING.samples if model.endpoint else 1
            calls = round(questions * (samples if rule == "paper" else paraphrases))
            # The log-probability of each answer is asked once per model.
            scored = questions if index == 0 else 0
            note = f"{model.name}, {rule}; {BASIS}"
            if budget is None:
                forecasts.append(Forecast(f"local:{model.local}", calls + scored, 0, note=note))
                continue
            new = published_rule.SAMPLING.max_new_tokens if rule == "paper" else params.new_tokens
            usage = estimate(conversation, new).times(calls).plus(estimate(conversation, 1).times(scored))
            note += f"; {scored} calls only where it gives log-probabilities of a prompt" if scored else ""
            note = "; ".join([note, *budget.foresee(usage)])
            forecasts.append(Forecast(SOURCE, calls + scored, 0, usage.tokens, note))
    return forecasts


def salience(params: SalienceParams, tools: Tools, profile: Profile) -> list[Forecast] | None:
    """The judgements of the stage salience."""
    from pipeline.salience import LABEL_TOKENS, PROMPT, SOURCE, ledger

    if params.endpoint is None and params.local is None:
        return []
    questions = _questions(tools, profile, params.sample)
    if questions is None:
        return None
    if params.endpoint is None:
        return [Forecast(f"local:{params.local}", questions, 0, note=BASIS)]
    prompt = load_prompt(tools.project / PROMPT)
    conversation = messages(prompt.system, prompt.render({"subject": WORD, "relation": WORD, "object": WORD}))
    usage = estimate(conversation, LABEL_TOKENS).times(questions)
    notes = [BASIS, f"{params.samples} calls more for each fact of low label mass"]
    notes += ledger(params, params.endpoint).foresee(usage)
    return [Forecast(SOURCE, questions, 0, usage.tokens, "; ".join(notes))]


def _subjects(tools: Tools, profile: Profile) -> int | None:
    """The number of subjects if every topic is full; None where the facts come from tables or from a stage of the
    project's own."""
    from pipeline import PIPELINE
    from pipeline.facts import FACTS, FactsParams

    if FACTS not in PIPELINE:
        return None
    facts = profile.params("facts", FactsParams)
    if facts.source != "sparql":
        return None
    topics = load_topics(tools.project / TOPICS)
    limits = [topic.limit for name, topic in topics.items() if not facts.topics or name in facts.topics]
    return sum(limit if tools.limit is None else min(limit, tools.limit) for limit in limits)


def _questions(tools: Tools, profile: Profile, sample: int | None) -> int | None:
    subjects = _subjects(tools, profile)
    if subjects is None:
        return None
    limits = [size for size in (sample, tools.limit) if size is not None]
    return min([round(QUESTIONS_A_SUBJECT * subjects), *limits])
