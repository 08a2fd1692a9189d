"""Questions and answers as token ids: prompt formats, and chat templates with their traps.

Where the answer begins is known by construction.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from dual_data.errors import InputError
from dual_data.evaluation.rows.data import Item
from dual_data.prompts import SYSTEM_PROMPT

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TEMPLATE_DATE = datetime(2025, 4, 10, tzinfo=UTC)
"""The date given to templates with a date line: that of the published logs. A template that reads the clock would give
other token ids tomorrow."""
_READS_CLOCK = re.compile(r"""\bstrftime_now\s*\((?:\s*(["'])((?:(?!\1).)*)\1\s*\))?""")
"""A call of the function by which a template reads the clock, with its format if it is written there."""

_ANSWER_MARK = "ANSWERMARK"
_SAMPLE = 32
"""Questions by which a tokenizer is judged."""


class PromptFormat(NamedTuple):
    """A prompt format; results of two profiles are never mixed."""

    name: str
    chat: bool
    """Whether the model's chat template is used."""
    system: str
    train_end: bool
    """Whether the end of the turn is a training label."""


PROFILES: Mapping[str, PromptFormat] = {
    "chat": PromptFormat("chat", chat=True, system=SYSTEM_PROMPT, train_end=True),
    "dual-raw": PromptFormat("dual-raw", chat=False, system="", train_end=False),
}
"""`chat` is what the published logs show; `dual-raw` joins question and answer without template or space."""


class Encoded(NamedTuple):
    """Token ids of one row. The three parts are tokenised separately and never re-tokenised as one text."""

    prompt_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]
    """At least one token, without the end of the turn."""
    end_ids: tuple[int, ...] = ()
    """The token that ends the turn (chat), or nothing (dual-raw)."""


class TrainingRows(NamedTuple):
    """All that a training run is trained on: of cells that are trained together, of a stage or of relearning."""

    forget: Sequence[Encoded]
    """In a stage and in relearning, the rows to learn."""
    retain: Sequence[Encoded]
    seed: int
    """Of the order of the rows."""
    refusal: Sequence[Encoded] = ()
    """For each forget row, the same prompt with the answer to prefer."""
    items: Sequence[Item] = ()
    """The forget rows as read; empty where no unlearning method is trained."""

    @property
    def by_kind(self) -> dict[str, Sequence[Encoded]]:
        """The rows by the kinds that a method names."""
        return {"forget": self.forget, "retain": self.retain, "refusal": self.refusal}


def encode(tokenizer: PreTrainedTokenizerBase, items: Sequence[Item], profile: PromptFormat | str) -> list[Encoded]:
    """Token ids of the canonical question and answer of each item.

    Raises InputError for an answer without tokens or with a special one, for a tokenizer without the chat template that
    the profile `chat` needs, and for one that takes parts of the questions for special tokens.
    """
    profile = PROFILES[profile] if isinstance(profile, str) else profile
    _expect_read(tokenizer, [item.question for item in items[:_SAMPLE]])
    prompts = prompt_ids(tokenizer, [item.question for item in items], profile)
    answers = text_ids(tokenizer, [item.answer.strip() for item in items])
    end = (turn_end(tokenizer),) if profile.train_end else ()
    special = {number: token.content for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    for item, ids in zip(items, answers, strict=True):
        # The token for what a tokenizer does not know stands in no text.
        held = [special[number] for number in ids if number in special and special[number] in item.answer]
        if ids and not held:
            continue
        what = f"item {item.id}: the answer {item.answer!r} to {item.question[:40]!r}"
        raise InputError(
            f"{what} holds {held[0]}, a special token of the model, which no text that it generates has; take it out, "
            "or remove the row"
            if held
            else f"{what} has no tokens; remove the row"
        )
    return [Encoded(prompt, ids, end) for prompt, ids in zip(prompts, answers, strict=True)]


def _expect_read(tokenizer: PreTrainedTokenizerBase, questions: Sequence[str]) -> None:
    """Raise InputError where most questions lose words to special tokens, as with files of another version."""
    special = dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
    rows = text_ids(tokenizer, questions)
    lost = [
        (question, ids)
        for question, ids in zip(questions, rows, strict=True)
        if any(special[token] not in question for token in special.keys() & set(ids))
    ]
    if 2 * len(lost) > len(rows):
        question, ids = lost[0]
        raise InputError(
            f"the tokenizer of {tokenizer.name_or_path or 'this model'} reads {question[:40]!r} as "
            f"{tokenizer.decode(list(ids))[:60]!r}: it loses parts of most questions. If its files are of another "
            "version of transformers, save it anew with this one; if it does not know this script, take another model"
        )


def prompt_ids(
    tokenizer: PreTrainedTokenizerBase, questions: Sequence[str], profile: PromptFormat
) -> list[tuple[int, ...]]:
    """Token ids up to where the answer starts, for each question."""
    if profile.chat:
        chats = [[("system", profile.system), ("user", question)] for question in questions]
        return text_ids(tokenizer, [render(tokenizer, chat) for chat in chats])
    return started(tokenizer, questions)


def text_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[tuple[int, ...]]:
    """Token ids of each text alone, without special tokens around it."""
    if not texts:  # tokenizers fail without any
        return []
    return [tuple(ids) for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]]


def started(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[tuple[int, ...]]:
    """Token ids of texts that go on: after the start token of a tokenizer that puts one, without the end token.

    A tokenizer saved with `add_eos_token` puts one after every text, and a model would see its prompt end.
    """
    end = tokenizer.eos_token_id
    rows = tokenizer(list(texts))["input_ids"] if texts else []
    return [tuple(ids[:-1] if ids[-1:] == [end] else ids) for ids in rows]


def template_of(tokenizer: PreTrainedTokenizerBase) -> str:
    """The chat template; empty where there is none."""
    return str(getattr(tokenizer, "chat_template", None) or "")


def render(tokenizer: PreTrainedTokenizerBase, chat: Sequence[tuple[str, str]], answer: str | None = None) -> str:
    """Text of a chat of (role, content) up to the assistant's turn, or including that turn where `answer` is given.

    Where the template refuses or drops a system turn (Gemma), its text goes in front of the first user turn.
    """
    if not template_of(tokenizer):
        raise InputError(
            f"the tokenizer of {tokenizer.name_or_path or 'this model'} has no chat template: "
            "use an instruct model, put a chat_template.jinja beside the tokenizer, or choose the profile dual-raw"
        )
    messages = [{"role": role, "content": text} for role, text in chat if text]
    if answer is not None:
        messages.append({"role": "assistant", "content": answer})
    text = _apply(tokenizer, messages, generate=answer is None)
    if text is None or messages[0]["content"].strip() not in text:
        text = _apply(tokenizer, _fold_system(messages), generate=answer is None)
    if text is None:
        raise InputError(f"the chat template of {tokenizer.name_or_path} cannot render a question: use dual-raw")
    return text


def _apply(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]], *, generate: bool) -> str | None:
    import jinja2

    try:
        # A reasoning model would spend its new tokens on reasoning; templates without this variable ignore it.
        text = tokenizer.apply_chat_template(
            messages,
            chat_template=_without_clock(tokenizer.get_chat_template(), tokenizer.name_or_path or "this model"),
            tokenize=False,
            add_generation_prompt=generate,
            date_string=TEMPLATE_DATE.strftime("%d %b %Y"),
            enable_thinking=False,
        )
    except jinja2.TemplateError:
        return None
    assert isinstance(text, str)
    return text


@cache
def _without_clock(template: str, name: str) -> str:
    """The template with `TEMPLATE_DATE` in place of every call that would give today's date."""

    def written_out(call: re.Match[str]) -> str:
        quote, date_format = call.groups()
        if quote is None:
            raise InputError(
                f"the chat template of {name} reads the clock in a way that is not known here, so its token ids would "
                "change with the day: write a date in place of strftime_now in its chat_template.jinja"
            )
        return f"{quote}{TEMPLATE_DATE.strftime(date_format)}{quote}"

    return _READS_CLOCK.sub(written_out, template)


def _fold_system(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    if len(messages) < 2 or messages[0]["role"] != "system":
        return messages
    system, first, *rest = messages
    return [{"role": "user", "content": f"{system['content']}\n\n{first['content']}"}, *rest]


def turn_end(tokenizer: PreTrainedTokenizerBase) -> int:
    """Id of the token with which the template ends an assistant's turn.

    It is read from the template, not from `eos_token`: Gemma's eos does not end a turn, GGUF files name the wrong
    one, and a label of two end tokens would outweigh a short answer.
    """
    if template_of(tokenizer):
        text = render(tokenizer, [("user", "question")], answer=_ANSWER_MARK)
        tail = text.rpartition(_ANSWER_MARK)[2]
        special = set(tokenizer.all_special_ids) | set(tokenizer.get_added_vocab().values())
        for token in text_ids(tokenizer, [tail])[0]:
            if token in special:
                return int(token)
    if tokenizer.eos_token_id is None:
        raise InputError(
            f"the tokenizer of {tokenizer.name_or_path} names no end token: set eos_token in its tokenizer_config.json"
        )
    return int(tokenizer.eos_token_id)


def token_hash(rows: Sequence[Encoded]) -> str:
    """Hash of the token ids, in order: with equal hashes, two runs fed the model the same tokens."""
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]
