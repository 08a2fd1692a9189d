"""Prompts and answers run in parts of similar length give the same results as in one pass."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dual_data.evaluation.measuring import fast as stream
from dual_data.evaluation.measuring import teacher_forcing as forced
from dual_data.evaluation.measuring.fast import FastEngine
from dual_data.evaluation.measuring.score import Reference
from dual_data.evaluation.measuring.static_cache import answers_mask, prompt_seen
from dual_data.evaluation.models.tiny import tiny
from dual_data.evaluation.rows.encoding import encode
from dual_data.evaluation.rows.request import Answer, Outcome, Request, request_of
from dual_data.evaluation.training.lora import Adapters
from tests.evaluation.questions import cities
from tests.evaluation.training.oracle import SPEC, disturb


@pytest.mark.parametrize("cells", [1, 3])
def test_prompts_in_parts_give_what_one_pass_gives(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = tiny("llama")
    rows = encode(loaded.tokenizer, cities(), "chat")
    requests = [request_of(row) for row in rows]
    # The prompts of the first group share a prefix, those of the second nothing.
    alone = [
        Request((token, *request.prompt[-token:]), request.answers, group="x")
        for token, request in enumerate(requests, 3)
    ]
    adapters = Adapters(loaded.model, SPEC, seeds=range(cells))
    disturb(adapters)
    runs: list[list[list[Outcome]]] = []
    references: list[Reference] = []
    for most in (1, 3):
        monkeypatch.setattr(stream, "_LEAST_TOKENS", 1)
        monkeypatch.setattr(stream, "_MOST_PARTS", most)
        references.append(Reference())
        engine = FastEngine(loaded, adapters, rows=7, max_new_tokens=4)
        runs.append(engine.run([*requests, *alone], keep=references[-1]))
    for whole_cell, parted_cell in zip(*runs, strict=True):
        for whole, parted in zip(whole_cell, parted_cell, strict=True):
            assert whole.generation == parted.generation
            assert whole.scores[0].log_p == pytest.approx(parted.scores[0].log_p, abs=1e-5)
    for index, hidden in references[0].hidden.items():
        assert torch.allclose(hidden, references[1].hidden[index], atol=1e-5)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(1, 4))
def test_parts_hold_every_row_once_and_the_longest_together(sizes: list[int], cells: int) -> None:
    stream_parts = stream._parts([size * 100 for size in sizes], cells)
    assert sorted(row for part in stream_parts for row in part) == list(range(len(sizes)))
    for shorter, longer in pairwise(stream_parts):
        assert max(sizes[row] for row in shorter) <= min(sizes[row] for row in longer)


@given(st.lists(st.lists(st.integers(1, 9), max_size=3), min_size=1, max_size=30))
def test_scored_rows_of_a_part_have_less_than_twice_the_tokens_of_the_shortest(lengths: list[list[int]]) -> None:
    answers = [[Answer(tuple(range(size)), size) for size in sizes] for sizes in lengths]
    parts = list(forced._parts(answers))
    assert sorted(row for part in parts for row in part) == [
        row for row, row_answers in enumerate(answers) if row_answers
    ]
    for part in parts:
        fed = [sum(len(answer.ids) - 1 for answer in answers[row]) for row in part]
        assert max(fed) < 2 * min(fed) or max(fed) == 0


def test_an_answer_sees_the_prompt_and_itself() -> None:
    seen = prompt_seen(1, torch.tensor([1]), 2)
    assert seen.tolist() == [[True, False, True]]
    mask = answers_mask(seen, torch.tensor([[0, 0, 1, -1]]))[0, 0]
    assert mask[:, :3].all(0).tolist() == [True, False, True]
    own = mask[:, 3:].int().tolist()
    assert own == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
