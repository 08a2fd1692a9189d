"""Salience: how widely known each fact is, as judged by an LLM.

Our own design; the published prompt, judge and scale are unknown. The judge sees one fact as data and nothing else:
subject, relation and object as JSON strings, never a question's wording, never another fact.

    logprobs     the server shows log-probabilities: expected value over the scale's one-token labels
    logits       a local model: the same, exact
    structured   no log-probabilities, or less than `mass` of them on the scale: mean of k sampled labels, of output
                 that is really constrained
    samples      the same, read as text, from a server that constrains nothing

A local model's low mass is flagged, not sampled: its logits are exact, and its samples would add noise to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import polars as pl
from pydantic import Field, model_validator

from dual_data.config import RELATIONS, Profile, RowCount, Services, Strict
from dual_data.engine.stage import Forecast, Lack, Result, Stage, Tools
from dual_data.errors import ConfigError
from dual_data.evaluation.models.names import public_name
from dual_data.prompts import Prompt, load_prompt
from dual_data.schema import Salience
from dual_data.sources.chat.label_scores import (
    Distribution,
    distribution,
    label_log_probabilities,
    label_of_text,
    of_samples,
)
from dual_data.sources.chat.local import LocalChat, open_local
from dual_data.sources.chat.openai import features
from dual_data.sources.chat.openai.completions import Answer, final_text, messages
from dual_data.sources.chat.openai.server import ChatServer, Endpoint
from dual_data.sources.chat.protocol import Chat
from dual_data.sources.chat.usage import Budget, Ledger, estimate
from pipeline import expected
from pipeline.probing import servers, weights
from pipeline.probing.probe import DIGITS, sampled

SOURCE = "judge"
PROMPT = "prompts/salience.md"

LABEL_TOKENS = 3
"""Room for the label, a space or a quote before it, and a token that tells "1" from the start of "10"."""


class SalienceParams(Strict):
    """The model that judges how widely known each fact is, on the scale of prompts/salience.md. Without one, none is
    judged."""

    endpoint: Endpoint | None = None
    """The judge behind an OpenAI-compatible server; not beside `local`."""
    local: weights.LocalSpec | None = None
    """The judge in this process: smollm2, owner/name on the Hub, or the path of a folder or GGUF file (extra
    `eval`)."""
    sample: RowCount | None = None
    """Judge only this many facts, the first by hash; all if left out."""
    mass: float = Field(default=0.5, ge=0, le=1)
    """Least total probability of the scale's labels. Below it the judge did not answer on the scale: a server is then
    asked for samples, a local judge's score is marked `low_mass`."""
    samples: int = Field(default=5, ge=1)
    """Sampled answers a fact, where a server gives no log-probabilities or the labels get less than `mass` of them."""
    batch: int = Field(default=64, ge=1, exclude=True)
    """Facts at once, for a local judge."""
    budget: Budget = Field(default=Budget(), exclude=True)
    """Limit of the judge's answers, those in the call log included; the build stops at it. For a server alone."""

    @model_validator(mode="after")
    def _one_judge(self) -> Self:
        if self.endpoint and self.local:
            raise ValueError("endpoint and local are two judges; keep one")
        if self.budget.money is not None and not (self.endpoint and self.endpoint.price):
            raise ValueError("budget.money needs endpoint.price")
        return self


class Verdict(NamedTuple):
    """What the judge said about one fact."""

    distribution: Distribution | None
    mass: float | None
    samples: int
    method: str
    reason: str | None = None


def run(params: SalienceParams, tools: Tools, *, facts: pl.DataFrame, questions: pl.DataFrame) -> Result:
    """One row per judged fact."""
    prompt, ids, chats = _prepare(params, tools, facts, questions)
    if params.local is not None:
        model = open_local(tools.open_model, params.local, tools.calls, params.batch)
        rows = _table(ids, _judge_locally(model, tools, prompt, chats), params.mass, public_name(params.local), prompt)
        return Result(rows, {}, {weights.name_of(params.local): model.weights})
    if params.endpoint is None:
        return Result(_table([], [], params.mass, "", prompt), {})
    with _server(params, params.endpoint, tools) as server:
        verdicts = _Judge(server, params, prompt, tools).judge(chats)
    rows = _table(ids, verdicts, params.mass, params.endpoint.model, prompt)
    return Result(rows, {"salience_usage": server.ledger.table(params.endpoint.model)})


def forecast(params: SalienceParams, tools: Tools, *, facts: pl.DataFrame, questions: pl.DataFrame) -> list[Forecast]:
    """The calls of `run`. Those that a low mass adds are counted for the facts whose answers are in the log."""
    prompt, _, chats = _prepare(params, tools, facts, questions)
    if params.local is not None:
        return [weights.recalled(params.local, tools.calls).plan_labels(chats, prompt.labels)]
    if params.endpoint is None:
        return []
    return [_Judge(_server(params, params.endpoint, tools), params, prompt, tools).plan(chats)]


def outlook(params: SalienceParams, tools: Tools, profile: Profile) -> list[Forecast] | None:
    """An estimate of `forecast` before the facts are built; None where there is nothing to estimate from."""
    if params.endpoint is None and params.local is None:
        return []
    questions = expected.questions(tools, profile, params.sample)
    if questions is None:
        return None
    if params.endpoint is None:
        return [Forecast(weights.source_of(params.local or ""), questions, 0, note=expected.BASIS)]
    prompt = _prompt(tools.project)
    conversation = messages(prompt.system, prompt.render(dict.fromkeys(prompt.variables, expected.NAME)))
    usage = estimate(conversation, LABEL_TOKENS).times(questions)
    notes = [expected.BASIS, _more(params.samples)]
    notes += _server(params, params.endpoint, tools).ledger.foresee(usage)
    return [Forecast(SOURCE, questions, 0, usage.tokens, "; ".join(notes))]


def lacks(params: SalienceParams, tools: Tools) -> Iterator[Lack]:
    """The judge's key, or the packages of one in this process."""
    if params.endpoint is not None:
        yield from servers.lacks(_server(params, params.endpoint, tools), params)
    yield from weights.lacks(params.local, params)


def greet(params: SalienceParams, tools: Tools) -> None:
    """Ask the judge's server first what it supports."""
    if params.endpoint is not None:
        servers.greet(_server(params, params.endpoint, tools))


def sources(params: SalienceParams, _: Path, __: Services) -> dict[str, str | None]:
    """The weights of a judge in this process."""
    return weights.sources([params.local])


def check(params: SalienceParams, project: Path, _: Profile) -> None:
    """Raise UsageError for a prompt that does not fit, and for the name of a local judge that none can have."""
    _prompt(project)
    weights.expect_model(params.local, "salience.local")


def _prepare(
    params: SalienceParams, tools: Tools, facts: pl.DataFrame, questions: pl.DataFrame
) -> tuple[Prompt, list[str], list[Chat]]:
    """The prompt, and each fact's id and conversation, in hash order."""
    prompt = _prompt(tools.project)
    relations = tools.relations()
    rows = sampled(questions, params.sample, tools.limit).join(
        facts.select("fact_id", "relation", "object_label"), on="fact_id", how="inner", maintain_order="left"
    )
    chats = []
    for subject, relation, label in rows.select("subject", "relation", "object_label").iter_rows():
        name = relations[relation].name if relation in relations else relation
        chats.append(Chat(prompt.system, prompt.render({"subject": subject, "relation": name, "object": label})))
    return prompt, rows["fact_id"].to_list(), chats


def _prompt(project: Path) -> Prompt:
    prompt = load_prompt(project / PROMPT)
    if not prompt.labels:
        raise ConfigError("the scale's labels are missing", file=project / PROMPT, key="labels")
    if set(prompt.variables) != {"subject", "relation", "object"}:
        message = "must be subject, relation and object: that is what the judge is given"
        raise ConfigError(message, file=project / PROMPT, key="variables")
    return prompt


def _server(params: SalienceParams, endpoint: Endpoint, tools: Tools) -> ChatServer:
    return ChatServer(endpoint, tools.calls, SOURCE, Ledger("salience.budget", endpoint.price, params.budget))


def _judge_locally(model: LocalChat, tools: Tools, prompt: Prompt, chats: Sequence[Chat]) -> list[Verdict]:
    with tools.progress.task("salience", total=len(chats)) as advance:
        log_probabilities = model.label_log_probabilities(chats, prompt.labels, advance)
    return [_from_labels(row, prompt, "logits") for row in log_probabilities]


def _from_labels(log_probabilities: Sequence[float | None], prompt: Prompt, method: str) -> Verdict:
    result = distribution(log_probabilities, prompt.values)
    return Verdict(result, result.mass if result else 0.0, 0, method)


class _Judge:
    """A judge behind a server."""

    def __init__(self, server: ChatServer, params: SalienceParams, prompt: Prompt, tools: Tools) -> None:
        self._server, self._params, self._prompt, self._tools = server, params, prompt, tools

    def judge(self, chats: Sequence[Chat]) -> list[Verdict]:
        """Read the labels' probabilities; sample where there are none or their mass is low."""
        if not chats:
            return []
        can = features.capabilities(self._server)
        verdicts: list[Verdict | None] = [None] * len(chats)
        if can.top_logprobs:
            with self._tools.progress.task("salience", total=len(chats)) as advance:
                answers = self._server.ask([self._direct(chat, can) for chat in chats], advance)
            verdicts = [self._read(answer) for answer in answers]
        unsure = [index for index, verdict in enumerate(verdicts) if self._is_unsure(verdict)]
        if unsure:
            form = features.structured(self._server, can)
            requests = [request for index in unsure for request in self._sampled(chats[index], can, form)]
            with self._tools.progress.task("salience, samples", total=len(requests)) as advance:
                answers = self._server.ask(requests, advance)
            k = self._params.samples
            method = "structured" if form else "samples"
            for place, index in enumerate(unsure):
                verdicts[index] = self._sum_up(answers[place * k : (place + 1) * k], verdicts[index], method)
        return [verdict for verdict in verdicts if verdict is not None]

    def plan(self, chats: Sequence[Chat]) -> Forecast:
        """The calls that `judge` makes, as far as the log shows."""
        recalled = features.recall(self._server)
        is_new, can = recalled is None, recalled or features.TYPICAL
        known = self._server.recall_probe("structured")
        form = known["format"] if known else "json_schema"
        requests, low = [], 0
        for chat in chats:
            if can.top_logprobs:
                direct = self._direct(chat, can)
                requests.append(direct)
                answer = self._tools.calls.recall(SOURCE, direct)
                if answer is None or not self._is_unsure(self._read(answer)):
                    continue
                low += 1
            requests += self._sampled(chat, can, form)
        plan = self._server.foresee(requests, "tokens by characters / 4" + (features.AT_MOST if can.reasoning else ""))
        notes = [plan.note]
        if can.top_logprobs:
            notes.append(_more(self._params.samples, None if is_new else low))
        if is_new:
            notes.append("and a few that find out what the server supports")
        return plan._replace(note="; ".join(notes))

    def _direct(self, chat: Chat, can: features.Capabilities) -> dict[str, Any]:
        limit = can.limit(LABEL_TOKENS, 0)
        wanted = {"logprobs": True, "top_logprobs": can.top_logprobs}
        return self._server.request({"messages": messages(*chat), **limit, **can.sampling(0.0), **wanted})

    def _sampled(self, chat: Chat, can: features.Capabilities, form: str) -> list[dict[str, Any]]:
        limit = can.limit(
            features.STRUCTURED_TOKENS if form else 2 * LABEL_TOKENS, self._server.endpoint.reasoning_tokens
        )
        wanted = features.response_format(form, self._prompt.labels)
        body = {"messages": messages(*chat), **limit, **can.sampling(1.0), **wanted}
        if can.seed:
            return [self._server.request({**body, "seed": seed}) for seed in range(1, self._params.samples + 1)]
        return [self._server.request(body, sample) for sample in range(1, self._params.samples + 1)]

    def _read(self, answer: Answer) -> Verdict:
        if "declined" in answer:
            return Verdict(None, None, 0, "logprobs", answer["declined"])
        labels = label_log_probabilities(answer["tokens"], self._prompt.labels)
        if labels is None:
            return Verdict(None, None, 0, "logprobs")
        return _from_labels(labels, self._prompt, "logprobs")

    def _is_unsure(self, verdict: Verdict | None) -> bool:
        if verdict is None:
            return True
        return verdict.reason is None and (verdict.distribution is None or (verdict.mass or 0.0) < self._params.mass)

    def _sum_up(self, answers: Sequence[Answer], before: Verdict | None, method: str) -> Verdict:
        value_of = dict(zip(self._prompt.labels, self._prompt.values, strict=True))
        labels = [label_of_text(final_text(answer), self._prompt.labels) for answer in answers]
        values = [value_of[label] for label in labels if label is not None]
        declined = [answer["declined"] for answer in answers if "declined" in answer]
        reason = declined[0] if len(declined) == len(answers) else None
        mass = before.mass if before else None
        return Verdict(of_samples(values, self._prompt.values), mass, len(values), method, reason)


def _more(samples: int, low: int | None = None) -> str:
    """What a plan of one call a fact says of samples; `low` facts had a low mass so far, None for a server that was
    never asked."""
    if low is not None:
        return f"{samples} calls more for each fact of low label mass ({low} so far)"
    every = f"where the server gives no log-probabilities, {samples} in all for every fact"
    return f"{samples} calls more for each fact of low label mass; {every}"


def _table(ids: Sequence[str], verdicts: Sequence[Verdict], least: float, judge: str, prompt: Prompt) -> pl.DataFrame:
    def column(read: Callable[[Distribution], float]) -> list[float | None]:
        return [round(read(verdict.distribution), DIGITS) if verdict.distribution else None for verdict in verdicts]

    return pl.DataFrame(
        {
            "fact_id": list(ids),
            "score": column(lambda distribution: distribution.score),
            "spread": column(lambda distribution: distribution.spread),
            "entropy": column(lambda distribution: distribution.entropy),
            "mass": [None if verdict.mass is None else round(verdict.mass, DIGITS) for verdict in verdicts],
            "low_mass": [verdict.mass is not None and verdict.mass < least for verdict in verdicts],
            "argmax": [verdict.distribution.argmax if verdict.distribution else None for verdict in verdicts],
            "samples": [verdict.samples for verdict in verdicts],
            "method": [verdict.method for verdict in verdicts],
            "judge": [judge] * len(ids),
            "prompt_version": [prompt.version] * len(ids),
            "reason": [verdict.reason for verdict in verdicts],
        },
        schema={**Salience.create_empty().schema, "reason": pl.String},
    ).sort("fact_id")


SALIENCE = Stage(
    name="salience",
    version=4,
    run=run,
    schema=Salience,
    params=SalienceParams,
    inputs=("facts", "questions"),
    files=(PROMPT, f"{RELATIONS}/*.toml"),
    sources=sources,
    forecast=forecast,
    outlook=outlook,
    lacks=lacks,
    greet=greet,
    check=check,
)
