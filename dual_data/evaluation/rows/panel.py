"""A utility panel: what an unlearned model still knows and can do, as choices and texts measured in every cell.

The shipped one is ours: primary to upper secondary school, everyday life and language, none of it about the subjects of
the benchmark. A language model wrote its questions; kept were those to which another, blind to the key, gave the keyed
answer and had no doubt. A file takes its place, one JSON object a line, such as MMLU with its worked examples as
`context`, which is computed once for all questions that share it:

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
"""What a grid file and a report call that one."""


class Choice(Strict):
    """A question with options."""

    kind: str
    """What it tests."""
    question: str = Field(min_length=1)
    options: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=2)
    answer: int = Field(ge=0, strict=True)
    """Index of the right option."""
    context: str = ""
    """What stands before the question, such as worked examples."""

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
    """What a report calls it: shipped, or the name of its file."""

    @property
    def guessing(self) -> float:
        """Accuracy of a model that knows nothing."""
        return math.fsum(1 / len(choice.options) for choice in self.choices) / len(self.choices)

    def first(self, count: int) -> Panel:
        """The panel with at most so many of its questions, the first by hash, in their order; all texts stay."""
        ranked = sorted(range(len(self.choices)), key=lambda n: digest(f"panel|{self.choices[n].model_dump_json()}"))
        return self._replace(choices=tuple(self.choices[n] for n in sorted(ranked[:count])))


class AskedPanel(NamedTuple):
    """A panel with its tokens."""

    panel: Panel
    requests: tuple[Request, ...]
    """One a question, its options scored after the same prompt, then one a text."""


class PanelScores(NamedTuple):
    """What one model makes of a panel, by question and by text; None where it gave no number."""

    given: tuple[int | None, ...]
    """The option with the highest log-probability."""
    right: tuple[int | None, ...]
    """Whether that is the right one."""
    right_by_length: tuple[int | None, ...]
    """The same by log-probability a character of the option, which does not favour short ones."""
    probability: tuple[float | None, ...]
    """Of the right option among the options: moves where the order of the options does not."""
    nll: tuple[float | None, ...]
    """Mean negative log-probability a token of each text, in nats."""


@lru_cache(maxsize=4)
def panel_hash(panel: Panel) -> str:
    """Of all that is asked: equal for panels that ask the same."""
    return digest("\n".join([*(choice.model_dump_json() for choice in panel.choices), *panel.texts]))


def read_panel(path: Path = PANEL) -> Panel:
    """Read a panel. Raises InputError with the line of what is wrong."""
    choices, texts = list[Choice](), list[str]()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
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
            where = "".join(f"{place}: " for place in first["loc"])
            raise InputError(
                f"{path}: line {number}: {where}{first['msg']}; a line holds kind, question, options, answer and "
                "perhaps context, or text"
            ) from error
        except ValueError as error:
            raise InputError(f"{path}: line {number}: not JSON: {error}") from error
    if not choices:
        raise InputError(f"{path}: holds no question")
    return Panel(tuple(choices), tuple(texts), SHIPPED if path == PANEL else path.name)


def ask(tokenizer: PreTrainedTokenizerBase, panel: Panel) -> AskedPanel:
    """Tokenise a panel. Raises InputError for a text of a single token, before which there is nothing."""
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
    return AskedPanel(panel, tuple(requests))


def panel_scores(panel: Panel, outcomes: Sequence[Outcome]) -> PanelScores:
    """The scores of one model's outcomes, which stand in the order of what is asked."""
    rows = [_of_choice(choice, outcome) for choice, outcome in zip(panel.choices, outcomes, strict=False)]
    nlls = (-mean_log_probability(outcome.scores[0]) for outcome in outcomes[len(panel.choices) :])
    given, right, by_length, probability = zip(*rows, strict=True)
    return PanelScores(given, right, by_length, probability, tuple(n if math.isfinite(n) else None for n in nlls))


def summary(panel: Panel, found: PanelScores) -> dict[str, Any]:
    """What a result says of a panel, JSON-able: which it is, means, and accuracy by kind."""
    return {
        "name": panel.name,
        "hash": panel_hash(panel),
        "questions": len(panel.choices),
        "texts": len(panel.texts),
        "guessing": panel.guessing,
        "accuracy": _mean(found.right),
        "accuracy_by_length": _mean(found.right_by_length),
        "accuracy_by_kind": {
            kind: _mean([found.right[number] for number in numbers]) for kind, numbers in sorted(_kinds(panel).items())
        },
        "probability": _mean(found.probability),
        "text_nll": _mean(found.nll),
    }


def items(panel: Panel, found: PanelScores) -> dict[str, Any]:
    """What the means are of, JSON-able: by kind the numbers of its questions, and all scores in the panel's order."""
    return {"kinds": _kinds(panel), **found._asdict()}


def _kinds(panel: Panel) -> dict[str, list[int]]:
    """The numbers of the questions of each kind."""
    kinds: dict[str, list[int]] = {}
    for number, choice in enumerate(panel.choices):
        kinds.setdefault(choice.kind, []).append(number)
    return kinds


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(values) if values and len(known) == len(values) else None


def _of_choice(choice: Choice, outcome: Outcome) -> tuple[int | None, int | None, int | None, float | None]:
    sums = [sum_log_probability(scores) for scores in outcome.scores]
    best = max(sums)
    if any(map(math.isnan, sums)) or not math.isfinite(best):
        return None, None, None, None
    rates = [value / len(option) for value, option in zip(sums, choice.options, strict=True)]
    given = sums.index(best)
    shares = [math.exp(value - best) for value in sums]
    return (
        given,
        int(given == choice.answer),
        int(rates.index(max(rates)) == choice.answer),
        shares[choice.answer] / math.fsum(shares),
    )
