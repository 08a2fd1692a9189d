"""A local model's answers depend on chat and seed, never on the batch; its probabilities are the model's own."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from dual_data.errors import UsageError
from dual_data.evaluation.measuring.local_model import LocalModel
from dual_data.evaluation.models.tiny import ARCHITECTURES, tiny
from dual_data.evaluation.rows.encoding import render
from dual_data.sources.chat.protocol import Chat, ChatModel, Sampling

CHATS = [Chat("Be terse.", f"Which country is {name} in?") for name in ("Lyon", "Osaka", "München", "Porto", "Turin")]
CHATS += [Chat("", "Hm?")]


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request: pytest.FixtureRequest) -> LocalModel:
    return LocalModel(tiny(request.param), batch=4)


def prompt_of(model: LocalModel, chat: Chat) -> torch.Tensor:
    tokenizer = model._loaded.tokenizer
    text = render(tokenizer, [("system", chat.system), ("user", chat.user)])
    return torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])


def test_greedy_answers_are_those_of_generate(model: LocalModel) -> None:
    answers = model.generate(CHATS, Sampling(max_new_tokens=12))
    inner: Any = model._loaded.model
    for chat, texts in zip(CHATS, answers, strict=True):
        ids = prompt_of(model, chat)
        with torch.no_grad():
            whole = inner.generate(ids, max_new_tokens=12, do_sample=False, attention_mask=torch.ones_like(ids))
        assert texts == [model._loaded.tokenizer.decode(whole[0, ids.shape[1] :], skip_special_tokens=True)]


def test_rows_that_end_early_leave_the_others_unchanged(model: LocalModel) -> None:
    inner: Any = model._loaded.model
    rows = []
    for chat in CHATS:
        ids = prompt_of(model, chat)
        whole = inner.generate(ids, max_new_tokens=12, do_sample=False, attention_mask=torch.ones_like(ids))
        rows.append(whole[0, ids.shape[1] :].tolist())
    stops = {rows[0][2], rows[1][5]}
    cut = [list(itertools.takewhile(lambda token: token not in stops, row)) for row in rows]
    assert len({len(row) for row in cut}) > 1
    ending = LocalModel(model._loaded._replace(info=model._loaded.info._replace(stop_ids=tuple(stops))), batch=4)
    expected = [[model._loaded.tokenizer.decode(row, skip_special_tokens=True)] for row in cut]
    assert ending.generate(CHATS, Sampling(max_new_tokens=12)) == expected


def test_samples_depend_on_seed_and_text_alone(model: LocalModel) -> None:
    sampling = Sampling(max_new_tokens=8, temperature=1.5, top_p=0.95, samples=3, seed=5)
    together = model.generate(CHATS, sampling)
    assert together == [model.generate([chat], sampling)[0] for chat in CHATS]
    assert together == model.generate(CHATS[::-1], sampling)[::-1]
    assert together != model.generate(CHATS, sampling._replace(seed=6))
    assert all(len(samples) == 3 for samples in together)
    assert len({text for samples in together for text in samples}) > len(CHATS)


def test_a_tiny_nucleus_is_greedy(model: LocalModel) -> None:
    narrow = model.generate(CHATS, Sampling(max_new_tokens=6, temperature=1.0, top_p=1e-6, samples=2, seed=1))
    greedy = model.generate(CHATS, Sampling(max_new_tokens=6))
    assert narrow == [texts * 2 for texts in greedy]


def test_log_probabilities_are_those_of_one_unpadded_row(model: LocalModel) -> None:
    answers = ["France", "Japan", "the Federal Republic of Germany", "Portugal", "Italy", "x"]
    log_ps = model.log_probabilities(CHATS, answers)
    inner: Any = model._loaded.model
    for chat, answer, log_p in zip(CHATS, answers, log_ps, strict=True):
        prompt = prompt_of(model, chat)
        target = model._loaded.tokenizer(answer, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logits = inner(torch.cat([prompt, torch.tensor([target])], 1)).logits[0].double().log_softmax(-1)
        start = prompt.shape[1] - 1
        expected = sum(float(logits[start + t, token]) for t, token in enumerate(target))
        assert log_p == pytest.approx(expected, abs=1e-4)
    with pytest.raises(UsageError, match="' ' has no tokens"):
        model.log_probabilities(CHATS[:1], [" "])


def test_labels_are_single_tokens(model: LocalModel) -> None:
    log_ps = model.label_log_probabilities(CHATS, ["a", "b", "c"])
    expected = model.log_probabilities(CHATS, ["b"] * len(CHATS))
    assert [row[1] for row in log_ps] == pytest.approx(expected, abs=1e-4)
    with pytest.raises(UsageError, match="does not write Zürich as one token"):
        model.label_log_probabilities(CHATS, ["a", "Zürich"])


def test_what_answers_depend_on_is_named() -> None:
    model: ChatModel = LocalModel(tiny())
    assert model.name == "tiny-llama-0"
    assert set(model.identity) == {"weights", "dtype", "template", "torch", "transformers", "tokenizers"}
    assert model.identity != LocalModel(tiny(seed=1)).identity
    assert model.generate([], Sampling(4)) == []
    assert model.log_probabilities([], []) == []
