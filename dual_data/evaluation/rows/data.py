"""Question-answer rows and their token ids. Where the answer begins is known by construction."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from dual_data.audit.columns import POPULARITY
from dual_data.audit.table_files import read_table
from dual_data.errors import InputError
from dual_data.ids import digest
from dual_data.matching import ObjectKind, kind_of
from dual_data.prompts import SYSTEM_PROMPT

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TEMPLATE_DATE = datetime(2025, 4, 10, tzinfo=UTC)
"""The date given to templates with a date line: that of the published logs. A template that reads the clock would give
other token ids tomorrow."""
_READS_CLOCK = re.compile(r"""\bstrftime_now\s*\((?:\s*(["'])((?:(?!\1).)*)\1\s*\))?""")
"""A call of the function by which a template reads the clock, with its format if it is written there."""

_ANSWER_MARK = "ANSWERMARK"
_ROW = "row of the file"


class Item(NamedTuple):
    """One question with its answers. Only the order of `popularity` matters, so it may have any unit."""

    id: str
    question: str
    answer: str
    answers: tuple[str, ...]
    subject: str = ""
    relation: str = ""
    popularity: float | None = None
    paraphrases: tuple[str, ...] = ()
    """Other wordings, held out of training, which test generalisation."""
    kind: ObjectKind = "entity"
    """How answers are compared: names as words, dates and quantities by value."""


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


def profile_named(name: str) -> PromptFormat:
    """The profile called `name`. Raises InputError that lists the known ones."""
    if name not in PROFILES:
        raise InputError(f"unknown prompt profile {name!r}; known: {', '.join(PROFILES)}")
    return PROFILES[name]


def encode(tokenizer: PreTrainedTokenizerBase, items: Sequence[Item], profile: PromptFormat | str) -> list[Encoded]:
    """Token ids of the canonical question and answer of each item.

    Raises InputError for an answer without tokens, and for a tokenizer without the chat template that the profile
    `chat` needs.
    """
    profile = profile_named(profile) if isinstance(profile, str) else profile
    prompts = prompt_ids(tokenizer, [item.question for item in items], profile)
    answers = tokenizer([item.answer.strip() for item in items], add_special_tokens=False)["input_ids"] if items else []
    end = (turn_end(tokenizer),) if profile.chat else ()
    for item, ids in zip(items, answers, strict=True):
        if not ids:
            raise InputError(f"item {item.id}: the answer {item.answer!r} has no tokens; remove the row")
    return [Encoded(tuple(prompt), tuple(ids), end) for prompt, ids in zip(prompts, answers, strict=True)]


def prompt_ids(tokenizer: PreTrainedTokenizerBase, questions: Sequence[str], profile: PromptFormat) -> list[list[int]]:
    """Token ids up to where the answer starts, one list per question."""
    if not questions:
        return []
    if profile.chat:
        chats = [[("system", profile.system), ("user", question)] for question in questions]
        texts = [render(tokenizer, chat) for chat in chats]
        return [list(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]
    return [list(ids) for ids in tokenizer(list(questions), add_special_tokens=True)["input_ids"]]


def render(tokenizer: PreTrainedTokenizerBase, chat: Sequence[tuple[str, str]], answer: str | None = None) -> str:
    """Text of a chat of (role, content) up to the assistant's turn, or including that turn where `answer` is given.

    Where the template refuses or drops a system turn (Gemma), its text goes in front of the first user turn.
    """
    template = getattr(tokenizer, "chat_template", None)
    if not template:
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
    if getattr(tokenizer, "chat_template", None):
        text = render(tokenizer, [("user", "question")], answer=_ANSWER_MARK)
        tail = text.rpartition(_ANSWER_MARK)[2]
        special = set(tokenizer.all_special_ids) | set(tokenizer.get_added_vocab().values())
        for token in tokenizer(tail, add_special_tokens=False)["input_ids"]:
            if token in special:
                return int(token)
    if tokenizer.eos_token_id is None:
        raise InputError(
            f"the tokenizer of {tokenizer.name_or_path} names no end token: set eos_token in its tokenizer_config.json"
        )
    return int(tokenizer.eos_token_id)


def read_split(
    path: Path | str, paraphrases: Path | str | None = None, *, split: str = "", relations: Sequence[str] = ()
) -> list[Item]:
    """Rows of a Parquet, CSV, JSON or JSON-lines file with at least the columns question and answer.

    The published columns (subjectLabel, relation, pop_sum) and ours are both understood. `paraphrases` is a table with
    the columns question and paraphrase, joined by question. `split` and `relations` select rows by the columns split
    and relation. Values of a CSV file are taken as text, unchanged; it cannot hold the lists `answers` and
    `paraphrases_test`. Raises InputError that names what is missing or has the wrong type.
    """
    path = Path(path)
    wanted = {"split": [split] if split else [], "relation": list(relations)}
    filters = {name: values for name, values in wanted.items() if values}
    frame = _read_table(path, ("question", "answer", *filters)).with_row_index(_ROW, offset=1)
    for name, values in filters.items():
        texts = frame[name].cast(pl.String)
        if unknown := set(values) - set(texts.to_list()):
            known = ", ".join(texts.drop_nulls().unique().sort().to_list()) or "none"
            raise InputError(f"{path}: no row of {name} {', '.join(sorted(unknown))}; it has {known}")
        frame = frame.filter(texts.is_in(values))
    by_question = _paraphrases(Path(paraphrases)) if paraphrases is not None else {}
    items: list[Item] = []
    seen: dict[str, int] = {}
    for row in frame.iter_rows(named=True):
        location = f"{path}: row {row[_ROW]}"
        if _is_empty(row["question"]) or _is_empty(row["answer"]):
            raise InputError(f"{location} has no question or no answer")
        item = _item(row, by_question, location)
        seen[item.id] = seen.get(item.id, 0) + 1
        items.append(item if seen[item.id] == 1 else item._replace(id=f"{item.id}.{seen[item.id]}"))
    if not items:
        raise InputError(f"{path}: the table is empty")
    return items


def _read_table(path: Path, required: Sequence[str]) -> pl.DataFrame:
    """A table with at least the `required` columns, whose values are not nested."""
    frame = read_table(path)
    if missing := set(required) - set(frame.columns):
        raise InputError(f"{path}: no column {' and '.join(sorted(missing))}; found {', '.join(frame.columns)}")
    if nested := [name for name in required if frame.schema[name].is_nested()]:
        raise InputError(f"{path}: column {nested[0]} holds {frame.schema[nested[0]]}; write one text per row")
    return frame


def _paraphrases(path: Path) -> dict[str, list[str]]:
    columns = ("question", "paraphrase")
    by_question: dict[str, list[str]] = {}
    for question, text in _read_table(path, columns).select(columns).drop_nulls().unique(maintain_order=True).rows():
        by_question.setdefault(str(question), []).append(str(text))
    return by_question


def _item(row: Mapping[str, Any], paraphrases: Mapping[str, list[str]], location: str) -> Item:
    question, answer = str(row["question"]), str(row["answer"])
    return Item(
        id=str(row.get("fact_id") or digest(f"{question}\n{answer}")),
        question=question,
        answer=answer,
        answers=_unique([answer, *_texts(row, "answers", location)]),
        subject=str(row.get("subject") or row.get("subjectLabel") or row.get("subject_label") or ""),
        relation=str(row.get("relation") or row.get("property_id") or ""),
        popularity=_popularity(row, location),
        paraphrases=_unique([*_texts(row, "paraphrases_test", location), *paraphrases.get(question, [])]),
        kind=kind_of(row.get("object_kind")),
    )


def _is_empty(value: Any) -> bool:
    return value is None or value == ""


def _texts(row: Mapping[str, Any], column: str, location: str) -> list[str]:
    value = row.get(column)
    if _is_empty(value):
        return []
    # A string may be one answer or several with a separator: a wrong guess would change scores silently.
    if not isinstance(value, list) or any(isinstance(text, list | dict) for text in value):
        raise InputError(
            f"{location}: {column} is {str(value)[:40]!r}, not a list of texts: write a list (in Parquet or JSON "
            "lines; a CSV file cannot hold one), or leave the column out"
        )
    return [str(text) for text in value if text is not None]


def _popularity(row: Mapping[str, Any], location: str) -> float | None:
    for name in POPULARITY:
        value: Any = row.get(name)
        if _is_empty(value):
            continue
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise InputError(
                f"{location}: {name} is {str(value)[:40]!r}, not a number: correct it, or leave it empty"
            ) from None
        if not math.isnan(number):  # what pandas writes for an empty cell
            return number
    return None


def _unique(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text))


def data_hash(items: Sequence[Item]) -> str:
    """Hash of the rows, in order: part of a cell's identity."""
    return digest(json.dumps(items, ensure_ascii=False))


def token_hash(rows: Sequence[Encoded]) -> str:
    """Hash of the token ids, in order: with equal hashes, two runs fed the model the same tokens."""
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]
