"""How much there will be before the facts are built, by the sizes of the published tables.

A plan for a new project has to say whether it takes an hour or a week. It assumes that every topic fills its limit and
that a subject gives as many facts as in the published tables. Once the facts are built, the stages' own forecasts take
over, which are exact.
"""

from __future__ import annotations

from dual_data.config import TOPICS, Profile, load_topics
from dual_data.engine.stage import Tools

TITLES_A_SUBJECT = 3
"""Articles that the facts about a subject name: its own and those of its objects."""
QUESTIONS_A_SUBJECT = 2.5
"""The 10,612 published subjects gave 21 to 32 thousand facts that can be asked."""
NAME = "Constantinople"
"""A name of usual length, for counting tokens."""
BASIS = f"estimated: {TITLES_A_SUBJECT} articles and {QUESTIONS_A_SUBJECT} questions a subject, every topic full"


def subjects(tools: Tools, profile: Profile) -> int | None:
    """The number of subjects if every topic is full; None where nothing tells it: the facts come from tables or dumps,
    or from a stage of the project's own."""
    from pipeline import PIPELINE
    from pipeline.facts import FACTS, FactsParams

    if FACTS not in PIPELINE:
        return None
    facts = profile.params("facts", FactsParams)
    if facts.source != "sparql":
        return None
    topics = load_topics(tools.project / TOPICS)
    return sum(topic.most(tools.limit) for name, topic in topics.items() if not facts.topics or name in facts.topics)


def questions(tools: Tools, profile: Profile, sample: int | None) -> int | None:
    """The number of questions that a stage asks about, at most `sample`; None where that of the subjects is unknown."""
    every_subject = subjects(tools, profile)
    if every_subject is None:
        return None
    limits = [size for size in (sample, tools.limit) if size is not None]
    return min([round(QUESTIONS_A_SUBJECT * every_subject), *limits])
