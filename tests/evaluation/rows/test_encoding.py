"""Token boundaries by construction, and templates with their traps."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from dual_data.errors import InputError
from dual_data.evaluation.models.tiny import tiny, tiny_tokenizer
from dual_data.evaluation.rows.data import Item
from dual_data.evaluation.rows.encoding import encode, render, token_hash, turn_end
from dual_data.evaluation.rows.panel import Panel, tokenise_panel
from dual_data.prompts import SYSTEM_PROMPT
from tests.evaluation.questions import cities


def test_chat_rows_are_template_answer_and_one_end() -> None:
    tokenizer = tiny().tokenizer
    row = encode(tokenizer, cities(1), "chat")[0]
    text = tokenizer.decode(list(row.prompt_ids))
    assert text == (
        f"<|start|>system\n{SYSTEM_PROMPT}<|end|>\n"
        "<|start|>user\nWhich country is Lyon in?<|end|>\n<|start|>assistant\n"
    )
    assert tokenizer.decode(list(row.answer_ids)) == "France"
    assert row.end_ids == (tokenizer.eos_token_id,)


def test_the_boundary_stays_where_tokens_would_merge_over_it() -> None:
    tokenizer = tiny().tokenizer
    item = Item("a", "Is it the cap", "ital of France", ("ital of France",))
    row = encode(tokenizer, [item], "dual-raw")[0]
    whole = tokenizer(item.question + item.answer, add_special_tokens=False)["input_ids"]
    assert [*row.prompt_ids, *row.answer_ids] != whole
    assert tokenizer.decode(list(row.answer_ids)) == "ital of France"
    assert tokenizer.decode([*row.prompt_ids, *row.answer_ids]) == "Is it the capital of France"
    assert row.end_ids == ()


def test_a_prompt_has_the_start_token_of_its_tokenizer_and_no_end_token() -> None:
    tokenizer: Any = tiny_tokenizer()
    ids = tokenizer("Where?")["input_ids"]
    special = [("<|start|>", tokenizer.convert_tokens_to_ids("<|start|>")), ("<|end|>", tokenizer.eos_token_id)]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|start|> $A <|end|>", special_tokens=special
    )
    assert tokenizer("Where?")["input_ids"] == [special[0][1], *ids, special[1][1]]
    assert encode(tokenizer, [Item("x", "Where?", "There", ("There",))], "dual-raw")[0].prompt_ids == (
        special[0][1],
        *ids,
    )
    panel = tokenise_panel(tokenizer, Panel((), ("Where?",)))
    assert panel.requests[0].prompt + panel.requests[0].answers[0].ids == (special[0][1], *ids)


def test_text_after_the_end_of_the_turn_is_no_label() -> None:
    tokenizer: Any = tiny_tokenizer()
    tokenizer.chat_template = tokenizer.chat_template.replace("<|end|>\\n", "<|end|>\\n\\n")
    assert encode(tokenizer, cities(1), "chat")[0].end_ids == (tokenizer.eos_token_id,)


def test_the_end_is_read_off_the_template_and_not_from_a_wrong_eos() -> None:
    tokenizer: Any = tiny_tokenizer()
    tokenizer.eos_token = "<|start|>"
    assert tokenizer.decode([turn_end(tokenizer)]) == "<|end|>"
    tokenizer.chat_template = None
    assert tokenizer.decode([turn_end(tokenizer)]) == "<|start|>"


def test_a_template_without_system_turn_gets_it_in_the_question() -> None:
    text = render(tiny("gemma").tokenizer, [("system", "Be terse."), ("user", "Where?")])
    assert "<|start|>user\nBe terse.\n\nWhere?<|end|>" in text
    dropping: Any = tiny_tokenizer()
    dropping.chat_template = (
        "{% for m in messages if m['role'] != 'system' %}{{ '<|start|>' + m['content'] + '<|end|>' }}{% endfor %}"
    )
    assert "Be terse.\n\nWhere?" in render(dropping, [("system", "Be terse."), ("user", "Where?")])


def test_templates_do_not_see_the_clock() -> None:
    tokenizer: Any = tiny_tokenizer()
    tokenizer.chat_template = "{{ date_string }} {{ messages[0]['content'] }}"
    assert render(tokenizer, [("user", "Hm")]) == "10 Apr 2025 Hm"
    tokenizer.chat_template = (
        '{% set today = strftime_now("%d %B %Y") %}{{ today }} {% if strftime_now is defined %}'
        "{{ strftime_now( '%Y-%m-%d %H:%M' ) }}{% endif %} {{ messages[0]['content'] }}"
    )
    assert render(tokenizer, [("user", "Hm")]) == "10 April 2025 2025-04-10 00:00 Hm"
    tokenizer.chat_template = {"default": "{{ strftime_now('%d') }}{{ messages[0]['content'] }}", "tool_use": ""}
    assert render(tokenizer, [("user", "Hm")]) == "10Hm"
    for call in ("strftime_now(f)", "strftime_now('%d' + f)", "strftime_now(format='%d')"):
        tokenizer.chat_template = "{% set f = '%Y' %}{{ " + call + " }}{{ messages[0]['content'] + ('') }}"
        with pytest.raises(InputError, match="reads the clock in a way that is not known here"):
            render(tokenizer, [("user", "Hm")])


def test_a_model_that_thinks_is_asked_not_to() -> None:
    tokenizer: Any = tiny_tokenizer()
    tokenizer.chat_template += "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"
    assert render(tokenizer, [("user", "Hm")]).endswith("<think></think>")


def test_a_missing_template_and_empty_answers_are_refused_with_the_way_out() -> None:
    tokenizer: Any = tiny_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(InputError, match="choose the profile dual-raw"):
        encode(tokenizer, cities(1), "chat")
    assert encode(tokenizer, cities(1), "dual-raw")
    with pytest.raises(InputError, match=r"item x: the answer ' ' to 'Q\?' has no tokens"):
        encode(tokenizer, [Item("x", "Q?", " ", (" ",))], "dual-raw")


@pytest.mark.parametrize("profile", ["chat", "dual-raw"])
def test_an_answer_with_a_special_token_is_refused(profile: str) -> None:
    """As in generations that were saved with them: they would be trained on, and no generation could be right."""
    tokenizer = tiny_tokenizer()
    told = r"item x: the answer 'Lyon<\|end\|>' to 'Q\?' holds <\|end\|>, a special token of the model"
    with pytest.raises(InputError, match=told):
        encode(tokenizer, [Item("x", "Q?", "Lyon<|end|>", ("Lyon",))], profile)
    assert encode(tokenizer, [Item("x", "Q?", "<end> | Lyon", ("Lyon",))], profile)


def test_a_tokenizer_that_loses_parts_of_questions_is_refused() -> None:
    words = {"<unk>": 0, "Which": 1, "country": 2, "France": 3}
    backend = Tokenizer(WordLevel(words, unk_token="<unk>"))
    backend.pre_tokenizer = WhitespaceSplit()
    made: Any = PreTrainedTokenizerFast
    tokenizer = made(tokenizer_object=backend, unk_token="<unk>", name_or_path="it")
    told = "it reads 'Which country is Lyon in\\?' as 'Which country <unk> <unk> <unk>': it loses parts of most"
    with pytest.raises(InputError, match=told):
        encode(tokenizer, cities(1), "dual-raw")
    # A token that stands in the question is not lost.
    asked = [cities(1)[0]._replace(question="Which country is Lyon in, <unk> or France?")] * 2
    tokenizer.add_special_tokens({"pad_token": "Lyon"})
    words |= {"is": 4, "in,": 5, "or": 6, "France?": 7}
    backend.model = WordLevel(words, unk_token="<unk>")
    assert encode(tokenizer, asked, "dual-raw")


def test_the_hash_of_token_ids_follows_the_format() -> None:
    tokenizer, items = tiny().tokenizer, cities()
    assert token_hash(encode(tokenizer, items, "chat")) != token_hash(encode(tokenizer, items, "dual-raw"))
