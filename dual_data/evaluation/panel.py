"""A utility panel: what an unlearned model still knows and can do, as choices and texts measured in every cell.

The shipped one is ours: primary to upper secondary school, everyday life and language, none of it about the subjects of
the benchmark. A language model wrote its questions; kept were those to which another, blind to the key, gave the keyed
answer and had no doubt. A file of the same format (JSON lines) takes its place, such as one of MMLU with its worked
examples as `context`, which is computed once for all questions that share it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerBase

from dual_data.errors import InputError
from dual_data.evaluation.metrics.likelihood import mean_log_probability, sum_log_probability
from dual_data.evaluation.plain import PlainEngine
from dual_data.evaluation.request import Answer, Outcome, Request
from dual_data.evaluation.stream import Engine
from dual_data.ids import digest

PANEL = Path(__file__).with_name("panel.jsonl")
SHIPPED = "shipped"
"""What a grid file and a report call that one."""


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
    texts: tuple[str, ...] = ()
    name: str = SHIPPED
    """What a report calls it: shipped, or the name of its file."""

    @property
    def hash(self) -> str:
        """Of all that is asked: equal for panels that ask the same."""
        return digest(json.dumps([self.choices, self.texts], ensure_ascii=False))

    def first(self, count: int) -> Panel:
        """The panel with at most so many of its questions, the first by hash, in their order."""
        ranked = sorted(self.choices, key=lambda choice: digest(f"panel|{choice.context}{choice.question}"))
        kept = set(ranked[:count])
        return self._replace(choices=tuple(choice for choice in self.choices if choice in kept))


class Asked(NamedTuple):
    """A panel with its tokens."""

    panel: Panel
    requests: tuple[Request, ...]
    """One a question, its options scored after the same prompt, then one a text."""


class Utility(NamedTuple):
    """What one model makes of a panel: by question and by text."""

    given: tuple[int | None, ...]
    """The option with the highest log-probability; None where the model gave no number."""
    right: tuple[int | None, ...]
    """Whether that is the right one."""
    right_by_length: tuple[int | None, ...]
    """The same by log-probability a character of the option, which does not favour short ones."""
    nlls: tuple[float, ...]
    """Mean negative log-probability a token of each text, in nats."""


def read_panel(path: Path = PANEL) -> Panel:
    """Read a panel. Raises InputError with the line of what is wrong."""
    choices: list[Choice] = []
    texts = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{path}: the utility panel cannot be read: {error.strerror}") from error
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
    return Panel(tuple(choices), tuple(texts), SHIPPED if path == PANEL else path.name)


def ask(tokenizer: PreTrainedTokenizerBase, panel: Panel) -> Asked:
    """Tokenise a panel."""
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
    return Asked(panel, tuple(requests))


def measure_panel(engine: Engine | PlainEngine, asked: Asked) -> list[Utility]:
    """What the model, or every active adapter at once, makes of a panel; nothing is generated."""
    return [_utility(asked.panel, outcomes) for outcomes in engine.run(asked.requests)]


def summary(panel: Panel, found: Utility) -> dict[str, Any]:
    """What a result holds of a panel, JSON-able: means, accuracy by kind, and all that they are means of."""
    kinds: dict[str, list[int | None]] = {}
    for choice, right in zip(panel.choices, found.right, strict=True):
        kinds.setdefault(choice.kind, []).append(right)
    return {
        "panel": panel.name,
        "hash": panel.hash,
        "guessing": math.fsum(1 / len(choice.options) for choice in panel.choices) / len(panel.choices),
        "accuracy": _mean(found.right),
        "accuracy_by_length": _mean(found.right_by_length),
        "accuracy_by_kind": {kind: _mean(rights) for kind, rights in sorted(kinds.items())},
        "text_nll": _mean(found.nlls),
        **found._asdict(),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(values) if values and len(known) == len(values) else None


def _utility(panel: Panel, outcomes: Sequence[Outcome]) -> Utility:
    given, right, by_length = list[int | None](), list[int | None](), list[int | None]()
    for choice, outcome in zip(panel.choices, outcomes, strict=False):
        sums = [sum_log_probability(scores) for scores in outcome.scores]
        rates = [value / len(option) for value, option in zip(sums, choice.options, strict=True)]
        if any(map(math.isnan, sums)):
            for column in (given, right, by_length):
                column.append(None)
            continue
        given.append(sums.index(max(sums)))
        right.append(int(given[-1] == choice.answer))
        by_length.append(int(rates.index(max(rates)) == choice.answer))
    nlls = (-mean_log_probability(outcome.scores[0]) for outcome in outcomes[len(panel.choices) :])
    return Utility(tuple(given), tuple(right), tuple(by_length), tuple(nlls))
