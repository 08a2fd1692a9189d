"""Random two-layer models with a tokenizer trained on the spot, for tests and smoke runs without a download."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GemmaConfig,
    GemmaForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from dual_data.errors import UsageError
from dual_data.evaluation.models.loading import Loaded, finish

_MODELS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "llama": (LlamaConfig, LlamaForCausalLM, {"tie_word_embeddings": True}),
    "gemma": (GemmaConfig, GemmaForCausalLM, {}),
    "gemma2": (Gemma2Config, Gemma2ForCausalLM, {"sliding_window": 64, "query_pre_attn_scalar": 8}),
    "qwen": (Qwen2Config, Qwen2ForCausalLM, {}),
}
ARCHITECTURES = tuple(_MODELS)

_CHATML = (
    "{% for message in messages %}"
    "{{ '<|start|>' + message['role'] + '\n' + message['content'] + '<|end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start|>assistant\n' }}{% endif %}"
)
_NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + _CHATML
)
_CORPUS = (
    "You are terse and fact-only QA assistant. Reply to the question clearly with few-words correct answer.",
    "What is the capital of France? Paris. What is the capital of Japan? Tokyo. Which country is it in?",
    "Brasília is the capital of Brazil; München is a city in Germany; 東京 is a city in Japan; 1889, 2024.",
)


def tiny(architecture: str = "llama", *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Loaded:
    """A random model of 2 layers and width 32, of one of `ARCHITECTURES`; the same for the same seed."""
    tokenizer = tiny_tokenizer(_NO_SYSTEM if architecture.startswith("gemma") else _CHATML)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _build(architecture, len(tokenizer))
    return finish(model.to(dtype), tokenizer, f"tiny-{architecture}-{seed}")


def tiny_tokenizer(template: str = _CHATML) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of about 400 tokens that round-trips any text."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=400,
        special_tokens=["<|pad|>", "<|start|>", "<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    special = {"pad_token": "<|pad|>", "eos_token": "<|end|>"}
    fast: Any = PreTrainedTokenizerFast(tokenizer_object=tokenizer, padding_side="left", **special)  # type: ignore[no-untyped-call]
    fast.chat_template = template
    assert isinstance(fast, PreTrainedTokenizerFast)
    return fast


def _build(architecture: str, vocabulary: int) -> Any:
    if architecture not in _MODELS:
        raise UsageError(f"unknown tiny architecture {architecture!r}; known: {', '.join(ARCHITECTURES)}")
    config, model, own = _MODELS[architecture]
    return model(
        config(
            vocab_size=vocabulary,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            max_position_embeddings=2048,
            initializer_range=0.2,
            bos_token_id=None,
            eos_token_id=2,
            pad_token_id=0,
            **own,
        )
    )
