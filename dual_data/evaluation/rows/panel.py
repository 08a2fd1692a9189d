"""A utility panel: multiple-choice questions and texts that show in every cell what a model still knows and can do.

The shipped panel is ours: primary to upper secondary school, everyday life and language, nothing about the subjects of
the benchmark. A language model wrote the questions; those were kept to which another model, without the key, gave the
keyed answer with no doubt. A file can replace it, with one JSON object per line, such as MMLU with its worked examples
as `context`, which is computed once for all questions that share it:

    {"kind": "botany", "question": "Which part of a plant takes up water?", "options": ["the roots", "the leaves"],
     "answer": 0, "context": ""}
    {"text": "Plain words, whose likelihood is measured."}
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field, ValidationError, model_validator
from transformers import PreTrainedTokenizerBase

from dual_data.config import Strict
from dual_data.errors import InputError
from dual_data.evaluation.metrics.likelihood import mean_log_probability, sum_log_probability
from dual_data.evaluation.rows.request import Answer, Outcome, Request
from dual_data.ids import digest

PANEL = Path(__file__).with_name("panel.jsonl")
SHIPPED = "shipped"
"""Name of the shipped panel in a grid file and a report."""


class Choice(Strict):
    """A question with options."""

    kind: str
    """What it tests."""
    question: str = Field(min_length=1)
    options: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=2)
    answer: int = Field(ge=0, strict=True)
    """Index of the right option."""
    context: str = ""
    """Text before the question, such as worked examples."""

    @model_validator(mode="after")
    def _answer_is_an_option(self) -> Choice:
        if self.answer >= len(self.options):
            raise ValueError(f"answer is {self.answer}, and there are {len(self.options)} options, counted from 0")
        return self


class _Text(Strict):
    text: str = Field(min_length=1)
    kind: str = ""


class Panel(NamedTuple):
    """Questions with options, and texts whose likelihood is measured."""

    choices: tuple[Choice, ...]
    texts: tuple[str, ...] = ()
    name: str = SHIPPED
    """Name in a report: shipped, or the name of its file."""

    @property
    def guessing(self) -> float:
        """Accuracy of a model that knows nothing."""
        return math.fsum(1 / len(choice.options) for choice in self.choices) / len(self.choices)

    def first(self, count: int) -> Panel:
        """The panel with at most `count` questions, the first by hash, in their original order, and all texts."""
        ranked = sorted(range(len(self.choices)), key=lambda n: digest(f"panel|{self.choices[n].model_dump_json()}"))
        return self._replace(choices=tuple(self.choices[n] for n in sorted(ranked[:count])))


class TokenisedPanel(NamedTuple):
    """A panel as requests to a model."""

    panel: Panel
    requests: tuple[Request, ...]
    """One per question, whose options are scored after the same prompt, then one per text."""


class PanelScores(NamedTuple):
    """Scores of one model on a panel, by question and by text; None where it gave no number."""

    given: tuple[int | None, ...]
    """The option with the highest log-probability."""
    right: tuple[int | None, ...]
    """Whether that option is right."""
    right_by_length: tuple[int | None, ...]
    """The same by log-probability per character of the option, which does not favour short options."""
    probability: tuple[float | None, ...]
    """Probability of the right option among the options: can change while their order stays the same."""
    nll: tuple[float | None, ...]
    """Mean negative log-probability per token of each text, in nats."""


@lru_cache(maxsize=4)
def panel_hash(panel: Panel) -> str:
    """Hash of all questions and texts, not of the name."""
    return digest("\n".join([*(choice.model_dump_json() for choice in panel.choices), *panel.texts]))


def read_panel(path: Path = PANEL) -> Panel:
    """Read a panel. Raises InputError that names the line at fault."""
    choices, texts = list[Choice](), list[str]()
    try:
        lines = path.read_bytes().splitlines()  # bytes: a text would also be split at characters that JSON allows
    except OSError as error:
        raise InputError(f"{path}: the utility panel cannot be read: {error.strerror}") from error
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            if isinstance(row, dict) and "text" in row:
                texts.append(_Text.model_validate(row).text)
            else:
                choices.append(Choice.model_validate(row))
        except ValidationError as error:
            first = error.errors()[0]
            location = "".join(f"{key}: " for key in first["loc"])
            raise InputError(
                f"{path}: line {number}: {location}{first['msg']}; a line holds kind, question, options, answer and "
                "perhaps context, or text"
            ) from error
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: line {number}: not JSON in UTF-8: {error}") from error
    if not choices:
        raise InputError(f"{path}: holds no question")
    return Panel(tuple(choices), tuple(texts), SHIPPED if path == PANEL else path.name)


def tokenise_panel(tokenizer: PreTrainedTokenizerBase, panel: Panel) -> TokenisedPanel:
    """Tokenise a panel. Raises InputError for a text of a single token, which has no context to be predicted from."""
    requests = []
    for choice in panel.choices:
        prompt = tokenizer(f"{choice.context}Question: {choice.question}\nAnswer:")["input_ids"]
        options = tokenizer([f" {option}" for option in choice.options], add_special_tokens=False)["input_ids"]
        answers = tuple(Answer(tuple(ids), len(ids)) for ids in options)
        requests.append(Request(tuple(prompt), answers, generate=False, group=f"panel {choice.context}"))
    for text in panel.texts:
        ids = tokenizer(text)["input_ids"]
        if len(ids) < 2:
            raise InputError(f"the utility panel {panel.name}: the text {text!r} is too short to be scored")
        # The first token has nothing before it in tokenizers without a start token.
        requests.append(Request((ids[0],), (Answer(tuple(ids[1:]), len(ids) - 1),), generate=False, group="texts"))
    return TokenisedPanel(panel, tuple(requests))


def panel_scores(panel: Panel, outcomes: Sequence[Outcome]) -> PanelScores:
    """Scores of one model, from its outcomes in the order of the panel's requests."""
    rows = [_score_choice(choice, outcome) for choice, outcome in zip(panel.choices, outcomes, strict=False)]
    nlls = (-mean_log_probability(outcome.scores[0]) for outcome in outcomes[len(panel.choices) :])
    given, right, by_length, probability = zip(*rows, strict=True)
    return PanelScores(given, right, by_length, probability, tuple(n if math.isfinite(n) else None for n in nlls))


def summary(panel: Panel, scores: PanelScores) -> dict[str, Any]:
    """The panel's part of a result, JSON-able: which panel, means of its scores, and accuracy by kind."""
    return {
        "name": panel.name,
        "hash": panel_hash(panel),
        "questions": len(panel.choices),
        "texts": len(panel.texts),
        "guessing": panel.guessing,
        "accuracy": _mean(scores.right),
        "accuracy_by_length": _mean(scores.right_by_length),
        "accuracy_by_kind": {
            kind: _mean([scores.right[index] for index in indices]) for kind, indices in sorted(_kinds(panel).items())
        },
        "probability": _mean(scores.probability),
        "text_nll": _mean(scores.nll),
    }


def items(panel: Panel, scores: PanelScores) -> dict[str, Any]:
    """Scores of every question and text in the panel's order, JSON-able, and the question indices of each kind."""
    return {"kinds": _kinds(panel), **scores._asdict()}


def _kinds(panel: Panel) -> dict[str, list[int]]:
    """Indices of the questions of each kind."""
    kinds: dict[str, list[int]] = {}
    for index, choice in enumerate(panel.choices):
        kinds.setdefault(choice.kind, []).append(index)
    return kinds


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(values) if values and len(known) == len(values) else None


def _score_choice(choice: Choice, outcome: Outcome) -> tuple[int | None, int | None, int | None, float | None]:
    sums = [sum_log_probability(scores) for scores in outcome.scores]
    best = max(sums)
    if any(map(math.isnan, sums)) or not math.isfinite(best):
        return None, None, None, None
    rates = [log_p / len(option) for log_p, option in zip(sums, choice.options, strict=True)]
    given = sums.index(best)
    shares = [math.exp(log_p - best) for log_p in sums]
    return (
        given,
        int(given == choice.answer),
        int(rates.index(max(rates)) == choice.answer),
        shares[choice.answer] / math.fsum(shares),
    )
