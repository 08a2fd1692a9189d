"""What an unlearned model can still do: a fixed panel of choices and texts, and lm-eval's tasks where it is installed.

The panel is ours, small and shipped: elementary knowledge, arithmetic, common sense and language, none of it about the
subjects of the benchmark, and a few plain texts. It shows a broken model, not fine differences between good ones. A
file of the same format (JSON lines) takes its place for more: MMLU with its examples as `context`, say, which is then
computed once for all questions that share it. So is what the questions of a task of lm-eval share.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from transformers import PreTrainedTokenizerBase

from dual_data.errors import InputError, MissingExtra
from dual_data.evaluation.metrics.likelihood import mean_log_probability, sum_log_probability
from dual_data.evaluation.models import Loaded
from dual_data.evaluation.plain import PlainEngine
from dual_data.evaluation.request import Answer, Outcome, Request
from dual_data.evaluation.statistics import Interval, bootstrap_mean
from dual_data.evaluation.stream import Engine

PANEL = Path(__file__).with_name("panel.jsonl")
"""The shipped panel: 88 questions with four options each and 8 texts."""


class Choice(NamedTuple):
    """A question with options; `kind` is what it tests."""

    kind: str
    question: str
    options: tuple[str, ...]
    answer: int
    context: str = ""
    """What stands before the question, such as worked examples."""


class Panel(NamedTuple):
    """Questions with options, and texts whose likelihood is measured."""

    choices: tuple[Choice, ...]
    texts: tuple[str, ...]
    name: str = "shipped"
    """What a report calls it: shipped, or the name of its file."""


class Utility(NamedTuple):
    """Scores of one model on a panel."""

    accuracy: Interval
    """Share of questions whose right option has the highest log-probability."""
    accuracy_by_length: Interval
    """The same by log-probability a character of the option, which does not favour short ones."""
    by_kind: dict[str, float]
    """Accuracy by kind."""
    text_nll: Interval | None
    """Mean negative log-probability a token of the texts in nats; None without texts."""
    panel: str
    """Name of the panel."""
    choices: int
    texts: int
    given: tuple[int, ...]
    """By question, the index of the option with the highest log-probability."""
    nlls: tuple[float, ...]
    """By text: what `text_nll` is the mean of."""


def read_panel(path: Path = PANEL) -> Panel:
    """Read a panel. Raises InputError with the line of what is wrong."""
    choices, texts = [], []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            if "text" in row:
                texts.append(str(row["text"]))
                continue
            choice = Choice(
                row["kind"], row["question"], tuple(row["options"]), int(row["answer"]), row.get("context", "")
            )
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path}: line {number}: expected kind, question, options, answer, or kind, text: {error}"
            ) from error
        if not 0 <= choice.answer < len(choice.options) or not all(choice.options):
            raise InputError(f"{path}: line {number}: answer must be the index of one of the options, none empty")
        choices.append(choice)
    if not choices:
        raise InputError(f"{path}: holds no question")
    return Panel(tuple(choices), tuple(texts), "shipped" if path == PANEL else path.name)


def panel_requests(tokenizer: PreTrainedTokenizerBase, panel: Panel) -> list[Request]:
    """One request a question, its options scored after the same prompt, then one a text."""
    requests = []
    for choice in panel.choices:
        prompt = tokenizer(f"{choice.context}Question: {choice.question}\nAnswer:")["input_ids"]
        options = tokenizer([f" {option}" for option in choice.options], add_special_tokens=False)["input_ids"]
        answers = tuple(Answer(tuple(ids), len(ids)) for ids in options)
        requests.append(Request(tuple(prompt), answers, generate=False, group=f"panel {choice.context}"))
    for text in panel.texts:
        ids = tokenizer(text)["input_ids"]
        # The first token has nothing before it in tokenizers without a start token.
        requests.append(Request((ids[0],), (Answer(tuple(ids[1:]), len(ids) - 1),), generate=False, group="texts"))
    return requests


def panel_utility(engine: Engine | PlainEngine, panel: Panel) -> list[Utility]:
    """Scores of the model, or of every active adapter at once; nothing is generated."""
    runs = engine.run(panel_requests(engine.loaded.tokenizer, panel))
    return [_utility(panel, outcomes) for outcomes in runs]


class TaskScores(NamedTuple):
    """What lm-eval says of a model."""

    scores: dict[str, float]
    """Scores and their standard errors by `task/metric`."""
    items: dict[str, list[dict[str, Any]]]
    """By task, its documents in order: number (doc_id), how answers were read (filter), and what each metric gives."""


def lm_eval_scores(
    loaded: Loaded,
    tasks: Sequence[str],
    *,
    folder: Path | None = None,
    limit: int | None = None,
    shots: int = 0,
    rows: int = 32,
) -> TaskScores:
    """Scores of lm-eval tasks and what they are means of, after `shots` worked examples, without a chat template.

    `folder` holds definitions of further tasks; a batch has `rows` contexts. Adapters that are on are measured with the
    model; what its questions share is computed once. Raises MissingExtra without lm-eval. Its data must be in the cache
    or reachable, which is lm-eval's affair.
    """
    if importlib.util.find_spec("lm_eval") is None:
        raise MissingExtra("lm-eval", "lm-eval")
    import lm_eval

    from dual_data.evaluation.lm_eval_model import PrefixCachingLM

    found: dict[str, Any] = lm_eval.simple_evaluate(
        model=PrefixCachingLM(loaded, rows=rows),
        tasks=list(tasks),
        task_manager=_known_tasks(folder),
        num_fewshot=shots,
        limit=limit,
        random_seed=0,
        numpy_random_seed=0,
        bootstrap_iters=100,  # 0 would leave out the standard errors of means too, which need none
    )
    scores = {
        f"{task}/{name.removesuffix(',none')}": float(value)
        for task, values in found["results"].items()
        for name, value in values.items()
        if isinstance(value, int | float)
    }
    return TaskScores(scores, {task: [_item(one) for one in logged] for task, logged in found["samples"].items()})


@lru_cache(maxsize=1)
def _known_tasks(folder: Path | None) -> Any:
    """lm-eval's tasks and those of a folder: to find them takes it many seconds."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=None if folder is None else str(folder))


def _item(logged: Mapping[str, Any]) -> dict[str, Any]:
    # Some metrics keep whole answers, to be compared over all documents at the end: no number of this one.
    numbers = {
        name: float(logged[name])
        for name in logged["metrics"]
        if isinstance(logged[name], int | float | np.number | np.bool_)
    }
    return {"doc_id": logged["doc_id"], "filter": logged["filter"], **numbers}


def _utility(panel: Panel, outcomes: Sequence[Outcome]) -> Utility:
    given, right, by_length = [], [], []
    for choice, outcome in zip(panel.choices, outcomes, strict=False):
        sums = [sum_log_probability(scores) for scores in outcome.scores]
        rates = [value / len(option) for value, option in zip(sums, choice.options, strict=True)]
        given.append(sums.index(max(sums)))
        right.append(float(given[-1] == choice.answer))
        by_length.append(float(rates.index(max(rates)) == choice.answer))
    kinds = sorted({choice.kind for choice in panel.choices})
    by_kind = {}
    for kind in kinds:
        inside = [hit for hit, choice in zip(right, panel.choices, strict=True) if choice.kind == kind]
        by_kind[kind] = sum(inside) / len(inside)
    nlls = [-mean_log_probability(outcome.scores[0]) for outcome in outcomes[len(panel.choices) :]]
    names = range(len(panel.choices))
    return Utility(
        bootstrap_mean(right, names),
        bootstrap_mean(by_length, names),
        by_kind,
        bootstrap_mean(nlls, range(len(nlls))) if nlls else None,
        panel.name,
        len(panel.choices),
        len(panel.texts),
        tuple(given),
        tuple(nlls),
    )
