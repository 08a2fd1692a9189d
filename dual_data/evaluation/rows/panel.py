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
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

from pydantic import AfterValidator, Field, ValidationError, model_validator

from dual_data.config import Strict, each_once, in_words
from dual_data.errors import InputError
from dual_data.evaluation.rows.encoding import started, text_ids
from dual_data.evaluation.rows.request import Answer, Request
from dual_data.ids import digest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SHIPPED_PANEL = Path(__file__).with_name("panel.jsonl")
SHIPPED = "shipped"
"""Name of the shipped panel in a grid file and a report."""


class Choice(Strict):
    """A question with options."""

    kind: str
    """What it tests."""
    question: str = Field(min_length=1)
    options: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=2), AfterValidator(each_once)]
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


@lru_cache(maxsize=4)
def panel_hash(panel: Panel) -> str:
    """Hash of all questions and texts, not of the name."""
    return digest("\n".join([*(choice.model_dump_json() for choice in panel.choices), *panel.texts]))


def read_panel(path: Path = SHIPPED_PANEL) -> Panel:
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
                f"{path}: line {number}: {location}{in_words(first)}; a line holds kind, question, options, answer and "
                "perhaps context, or text"
            ) from error
        except RecursionError:
            raise InputError(f"{path}: line {number}: not JSON: too many brackets inside each other") from None
        except ValueError as error:
            raise InputError(f"{path}: line {number}: not JSON in UTF-8: {error}") from error
    if not choices:
        raise InputError(f"{path}: holds no question")
    return Panel(tuple(choices), tuple(texts), SHIPPED if path == SHIPPED_PANEL else path.name)


def tokenise_panel(tokenizer: PreTrainedTokenizerBase, panel: Panel) -> TokenisedPanel:
    """Tokenise a panel. Raises InputError for a text of a single token, which has no context to be predicted from."""
    requests = []
    for choice in panel.choices:
        (prompt,) = started(tokenizer, [f"{choice.context}Question: {choice.question}\nAnswer:"])
        options = text_ids(tokenizer, [f" {option}" for option in choice.options])
        answers = tuple(Answer(ids, len(ids)) for ids in options)
        requests.append(Request(prompt, answers, generate=False, group=f"panel {choice.context}"))
    for text in panel.texts:
        (ids,) = started(tokenizer, [text])
        if len(ids) < 2:
            raise InputError(f"the utility panel {panel.name}: the text {text!r} is too short to be scored")
        # The first token has nothing before it in tokenizers without a start token.
        requests.append(Request(ids[:1], (Answer(ids[1:], len(ids) - 1),), generate=False, group="texts"))
    return TokenisedPanel(panel, tuple(requests))
