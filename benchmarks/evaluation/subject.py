"""What is measured: a model in a folder, and the rows of one cell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoModelForCausalLM, GenerationConfig, LlamaConfig, PreTrainedModel, PreTrainedTokenizerBase

from dual_data.errors import DualDataError
from dual_data.evaluation.device.memory import release
from dual_data.evaluation.models.loading import Loaded, dtype_named, finish, identify, load
from dual_data.evaluation.models.tiny import tiny_tokenizer
from dual_data.evaluation.rows.data import Item, read_split

SHAPES: dict[str, dict[str, Any]] = {
    "llama-3.1-8b": {
        "vocab_size": 128256,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "rope_theta": 500000.0,
        "tie_word_embeddings": False,
    },
    "llama-3.2-1b": {
        "vocab_size": 128256,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "rope_theta": 500000.0,
        "tie_word_embeddings": True,
    },
    "llama-135m": {
        "vocab_size": 49152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "rope_theta": 100000.0,
        "tie_word_embeddings": True,
    },
    "llama-22m": {
        "vocab_size": 49152,
        "hidden_size": 256,
        "intermediate_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "tie_word_embeddings": True,
    },
    "llama-1m": {
        "vocab_size": 49152,
        "hidden_size": 64,
        "intermediate_size": 192,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "tie_word_embeddings": True,
    },
}
"""Shapes that are filled with random weights: time does not depend on what the weights are."""

SMOLLM2 = "smollm2"
SMALL = (SMOLLM2, "llama-135m")
"""The small model, and its shape: many of its rows fit at once."""


class Work(NamedTuple):
    """One cell: its rows, method and sizes."""

    forget: list[Item]
    retain: list[Item]
    source: str
    """Where the rows come from, for the record."""
    method: str = "GradAscent"
    lr: float = 1e-5
    seed: int = 0
    epochs: int = 2
    batch: int = 32
    new_tokens: int = 64
    distractors: int = 4


def config_of(shape: str) -> LlamaConfig:
    """The configuration of one of `SHAPES`; sequences up to 2048 tokens."""
    return LlamaConfig(**SHAPES[shape], max_position_embeddings=2048, bos_token_id=None)


def tokenizer_of() -> PreTrainedTokenizerBase:
    """SmolLM2's tokenizer if its package is installed, else a tiny one: the weights are random, so either will do."""
    try:
        return identify(SMOLLM2).tokenizer
    except DualDataError:
        return tiny_tokenizer()


def random_model(shape: str, dtype: str, device: str) -> Loaded:
    """Random weights of a shape, made on the device."""
    tokenizer = tokenizer_of()
    with torch.device(device):
        torch.manual_seed(0)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config_of(shape), dtype=dtype_named(dtype))  # type: ignore[no-untyped-call]
    return finish(model, tokenizer, f"random {shape}", weights=f"random {shape}")


def checkpoint(name: str, dtype: str, device: str, folder: Path) -> Path:
    """A folder with the model and its tokenizer, from which both sides start; written if it is not there yet."""
    target = folder / f"{name}-{dtype}"
    if not target.exists():
        partial = folder / f".{target.name}"  # so that an interrupted call leaves no incomplete checkpoint
        loaded = load(name, dtype, device) if name not in SHAPES else random_model(name, dtype, device)
        loaded.model.save_pretrained(partial)
        loaded.tokenizer.save_pretrained(partial)
        partial.rename(target)
        del loaded
        release()
    return target


def stop_ids(checkpoint: Path) -> tuple[int, ...]:
    """Every token at which generation stops, read from a folder of `checkpoint` without its weights."""
    return tuple(GenerationConfig.from_pretrained(checkpoint).eos_token_id)


def published(folder: Path) -> tuple[list[Item], list[Item], str]:
    """Rows to forget and to retain from the published splits."""
    forget = read_split(folder / "city_forget_popular_5.parquet")
    return forget, read_split(folder / "city_fast_retain_500.parquet"), "published popular and retain"


def made_up(forget: int, retain: int) -> tuple[list[Item], list[Item], str]:
    """Rows about invented places, of about the same lengths, for machines without the published splits."""
    items = [_place(index) for index in range(forget + retain)]
    return items[:forget], items[forget:], "made up"


def first(items: Sequence[Item], limit: int) -> list[Item]:
    """The first `limit` rows; all for 0."""
    return list(items[: limit or None])


_STARTS = ("Bel", "Kor", "Mar", "Tal", "Ves", "Dun", "Ost", "Pel", "Ran", "Sel")
_ENDS = ("burg", "ville", "ton", "grad", "stadt", "field", "mouth", "haven", "minster", "bridge")
_LANDS = ("Avaria", "Borduna", "Caldovia", "Dravonia", "Estovakia", "Florania")


def _place(index: int) -> Item:
    name = f"{_STARTS[index % 10]}{_STARTS[index // 10 % 10].lower()}{_ENDS[index // 100 % 10]} {index // 1000 or ''}"
    land = _LANDS[(index * 7 + index // 6) % 6]
    name = name.strip()
    return Item(f"place-{index}", f"Which country is the city of {name} in?", land, (land,), name, "country")
