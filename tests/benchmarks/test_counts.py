"""Work counted on tensors without content: the formulas, and the counts of our own steps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.evaluation import counted, subject
from benchmarks.evaluation.ceilings import Ceilings
from benchmarks.evaluation.count import H100, counting
from benchmarks.evaluation.count import counted as count
from benchmarks.evaluation.floor import floor
from benchmarks.evaluation.plain import workload_of
from benchmarks.evaluation.subject import Work, config_of, made_up
from dual_data.evaluation.models.tiny import tiny_tokenizer

SHAPE = {
    **subject.SHAPES["llama-1m"],
    "vocab_size": 512,
    "num_hidden_layers": 2,
}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(subject.SHAPES, "small", SHAPE)


def work(method: str = "GradAscent", **changes: Any) -> Work:
    forget, retain, source = made_up(12, 12)
    return Work(forget, retain, source, method=method, batch=8, new_tokens=4)._replace(**changes)


def test_a_product_is_counted_by_the_textbook() -> None:
    with counting() as meter:
        a, b = torch.zeros(3, 4), torch.zeros(4, 5)
        cost = count(meter, lambda: a @ b)
    assert cost.flops == 2 * 3 * 4 * 5
    assert cost.bytes == 4 * (3 * 4 + 4 * 5 + 3 * 5)
    assert cost.kernels == 1
    assert cost.seconds == pytest.approx(cost.bytes / H100.bytes)
    assert cost.slowest == [("mm", cost.seconds)]
    assert cost.eager_seconds() == H100.launch_seconds


def test_what_is_overwritten_is_not_read_and_what_is_not_gathered_is_not_touched() -> None:
    with counting() as meter:
        a, b, rows = torch.zeros(100, 10), torch.zeros(100, 10), torch.zeros(3, dtype=torch.long)
        for do, moved in (
            (lambda: a.copy_(b), 2000),
            (a.zero_, 1000),
            (lambda: a.fill_(1.0), 1000),
            (lambda: torch.zeros_like(a), 1000),
            (lambda: a.add_(b), 3000),
            (lambda: a[rows], 60),
        ):
            assert count(meter, do).bytes == 4 * moved


def test_views_cost_nothing_and_memory_is_what_is_alive() -> None:
    with counting() as meter:
        alive = torch.zeros(1000)

        def do() -> None:
            gone = alive.view(10, 100).t() + 1.0
            del gone
            other: Tensor = alive + 1.0
            del other

        cost = count(meter, do)
        assert cost.kernels == 2
        assert cost.peak_bytes == 8000
        assert meter.live == 4000


def test_attention_is_four_operations_a_pair_and_its_backward_ten() -> None:
    with counting() as meter:
        query = torch.zeros(2, 3, 5, 8, requires_grad=True)
        key = torch.zeros(2, 3, 7, 8)
        output: list[Tensor] = []
        forward = count(meter, lambda: output.append(torch.nn.functional.scaled_dot_product_attention(query, key, key)))
        assert forward.flops == 4 * 2 * 3 * 5 * 7 * 8
        backward = count(meter, lambda: output[0].backward(torch.zeros(2, 3, 5, 8)))  # type: ignore[no-untyped-call]
    assert backward.flops == 10 * 2 * 3 * 5 * 7 * 8


@pytest.mark.parametrize("method", ["GradAscent", "NPO"])
def test_a_step_does_not_wait_for_the_device(method: str) -> None:
    # Tensors without content cannot be read: a step that reads one on the host would raise an error.
    cost, weights = counted.step("small", tiny_tokenizer(), work(method), cells=3)
    assert cost.kernels > 100
    assert cost.peak_bytes > weights > 0


def test_cells_at_once_cost_no_more_kernels_than_one() -> None:
    single, _ = counted.step("small", tiny_tokenizer(), work())
    four, _ = counted.step("small", tiny_tokenizer(), work(), cells=4)
    assert four.kernels == single.kernels
    assert four.flops == pytest.approx(4 * single.flops)


def test_a_decoding_step_and_the_pass_before_it_do_not_wait_either() -> None:
    costs = counted.batch("small", tiny_tokenizer(), work(), rows=10)
    assert costs["decoding step"].kernels < costs["prompts and answers"].kernels
    assert costs["decoding step"].flops < costs["prompts and answers"].flops


def test_our_step_does_less_than_the_plain_one_and_more_than_the_floor() -> None:
    tokenizer = tiny_tokenizer()
    ours, _ = counted.step("small", tokenizer, work(batch=12))
    plain, _ = counted.plain_step("small", tokenizer, work(batch=12))
    least = floor(config_of("small"), tokenizer, work(epochs=1, batch=12))[1]
    assert least.name == "train"
    assert least.flops < ours.flops < plain.flops


def test_the_floor_has_no_logits_and_no_labels_twice() -> None:
    config, tokenizer, given = config_of("small"), tiny_tokenizer(), work("NPO", new_tokens=3)
    body = sum(layer.numel() for layer in _matrices(config) if len(layer) != config.vocab_size)
    head = config.vocab_size * config.hidden_size
    requests = workload_of(tokenizer, given).requests
    fed = sum(len(answer.ids) - 1 for request in requests for answer in request.answers)
    parts = {part.name: part for part in floor(config, tokenizer, given)}
    assert parts["scored answers"].flops == 2 * (body + head) * fed
    assert parts["generation"].flops == 2 * (body + head) * 2 * len(requests), "the prompt predicts the first token"
    (none,) = (part for part in floor(config, tokenizer, work(new_tokens=1)) if part.name == "generation")
    assert none.flops == none.bytes == 0
    long = [item._replace(answer=f"{item.answer} and {item.answer}") for item in given.retain]
    of_long = {part.name: part for part in floor(config, tokenizer, given._replace(retain=long))}
    assert of_long["train"].flops > parts["train"].flops
    assert of_long["reference"] == parts["reference"]


def _matrices(config: LlamaConfig) -> list[Tensor]:
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    model.tie_weights()  # transformers 5.0 does not tie those without content by itself
    return [weight for weight in model.parameters() if weight.dim() > 1]


def test_the_floor_of_a_part_is_its_larger_need() -> None:
    matrices = _matrices(config_of("small"))
    load, _, part, *_ = floor(config_of("small"), tiny_tokenizer(), work("NPO"))
    assert part.name == "reference"
    assert part.seconds(Ceilings(1.0, 1e12, 0.0)) == part.flops
    assert part.seconds(Ceilings(1e12, 1.0, 0.0)) == part.bytes
    assert load.sent == load.bytes == sum(2 * weight.numel() for weight in matrices)
    assert load.seconds(Ceilings(1.0, 100.0, 0.0, link=10.0)) == load.sent / 10
