"""Causal language models by name, folder or GGUF file, with the traps of their tokenizers handled.

What a model lacks is either supplied (padding token, end token, system turn) or refused with advice.
"""

from __future__ import annotations

import hashlib
import pickle
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from huggingface_hub import constants as hub
from safetensors import SafetensorError
from torch import nn
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
from dual_data.evaluation.models.cache import (
    TOKENIZER_FILES,
    cache_folder,
    damaged_weights,
    dequantised,
    files_hash,
    random_weights,
    smollm2_folder,
)
from dual_data.evaluation.models.decoder import check_head, linear_layers
from dual_data.evaluation.models.hub import cached_commit, why_unreachable
from dual_data.evaluation.models.names import SMOLLM2, TINY, is_tiny
from dual_data.evaluation.models.norms import fuse_norms
from dual_data.evaluation.models.special_tokens import check_vocabulary, stop_ids
from dual_data.evaluation.rows.encoding import template_of
from dual_data.system.files import expanded

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

_NO_TOKENIZER = (
    "no tokenizer beside the weights: put the files there of the tokenizer that the model was trained with, as "
    "save_pretrained writes them (tokenizer.json, tokenizer_config.json and, with a chat template, chat_template.jinja)"
)


class ModelInfo(NamedTuple):
    """Identity of a loaded model in a result: with equal infos, outputs on one machine are equal."""

    spec: str
    revision: str
    """Commit of a Hub model; empty for local files."""
    weights: str
    """SHA-256 of the files of a local model, the commit of a Hub model, or SHA-256 of tensors built in memory."""
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
    packages: tuple[tuple[str, str], ...]


class Room(NamedTuple):
    """How many tokens a model takes."""

    spec: str
    tokens: int
    """0 or -1 for an architecture without a limit."""

    def expect(self, tokens: int, what: str) -> None:
        """Raise InputError where `what` has more tokens: the model's output would be meaningless."""
        if 0 < self.tokens < tokens:
            raise InputError(
                f"{what} has {tokens} tokens, but {self.spec} takes {self.tokens}: shorten the row or remove it"
            )


def _room(model: PreTrainedModel, spec: str) -> Room:
    return Room(spec, getattr(model.config.get_text_config(), "max_position_embeddings", None) or 0)


class Loaded(NamedTuple):
    """A model in eval mode on its device, its tokenizer, and what identifies them."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    info: ModelInfo

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    def text(self, ids: Sequence[int]) -> str:
        """The text of generated tokens, without special ones."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    @property
    def room(self) -> Room:
        """How many tokens the model takes."""
        return _room(self.model, self.info.spec)


def dtype_named(name: str) -> torch.dtype:
    """The torch dtype called `name`. Raises UsageError that lists the known ones."""
    if name not in DTYPES:
        raise UsageError(f"unknown dtype {name!r}; known: {', '.join(DTYPES)} (float16 not for training)")
    return DTYPES[name]


def load(
    spec: str | Path,
    dtype: torch.dtype | str = torch.float32,
    device: torch.device | str = "cpu",
    *,
    trust_remote_code: bool = False,
    revision: str | None = None,
) -> Loaded:
    """Load a model by Hub name, folder, GGUF file, folder with one GGUF file, "smollm2", or the name of a tiny one.

    GGUF weights are dequantised once into a checkpoint in the cache (DUAL_DATA_CACHE, else ~/.cache/dual-data). Code
    that ships with a model runs only with `trust_remote_code`. Raises UsageError with advice.
    """
    dtype = dtype_named(dtype) if isinstance(dtype, str) else dtype
    settle(device)
    if is_tiny(str(spec)):
        from dual_data.evaluation.models.tiny import tiny

        loaded = tiny(str(spec).removeprefix(TINY), dtype=dtype)
        loaded.model.to(device)  # type: ignore[arg-type]
        return loaded._replace(info=loaded.info._replace(spec=str(spec)))
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    with _pretrained_source(str(spec), trust_remote_code, revision) as (source, options):
        config = AutoConfig.from_pretrained(source, **options)
        if config.is_encoder_decoder:
            raise UsageError(f"{spec} is an encoder-decoder model; only causal language models can be evaluated")
        tokenizer = _tokenizer(source, spec, options)
        # To a GPU tensor by tensor, by several threads and into one allocation: `to` does it several times slower.
        # Onto a CPU nothing is copied, since the file is mapped.
        placed = {} if torch.device(device).type == "cpu" else {"device_map": {"": torch.device(device)}}
        # Weights of another shape would end loading without their names.
        options |= {"output_loading_info": True, "ignore_mismatched_sizes": True}
        read: Any = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, **placed, **options)
        model, report = read
        if reason := random_weights(model, report):
            raise UsageError(f"{spec}: {reason}. Save or download the whole model again, or correct its config.json")
        commit, weights = _origin(source, revision)
    return finish(model.to(device), tokenizer, str(spec), revision=commit, weights=weights)


class Unloaded(NamedTuple):
    """What is known of a model without loading its weights."""

    tokenizer: PreTrainedTokenizerBase
    weights: str
    """Hash of a local model's files, or the commit of a Hub model."""
    parameters: int
    body: int
    """Parameters without those of the embedding and the head."""
    head: int
    """Parameters of the head, also where it shares those of the embedding."""
    architecture: str
    linear: Counter[str]
    """By last component of the names of its linear layers, the sum of their inputs and outputs."""
    room: Room


def identify(spec: str, *, trust_remote_code: bool = False, revision: str | None = None) -> Unloaded:
    """Tokenizer, identity of the weights, and size of the model that `load` would load."""
    if is_tiny(spec):
        loaded = load(spec)
        return _unloaded(loaded.model, loaded.tokenizer, loaded.info.weights, spec)
    with _pretrained_source(spec, trust_remote_code, revision) as (source, options):
        config = AutoConfig.from_pretrained(source, **options)
        tokenizer = _tokenizer(source, spec, options)
        with torch.device("meta"):
            model: Any = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
                config, trust_remote_code=trust_remote_code
            )
        model.tie_weights()  # transformers 5.0 leaves them apart on this device
        commit, weights = _origin(source, revision)
    check_vocabulary(tokenizer, int(model.get_input_embeddings().weight.shape[0]), spec)
    return _unloaded(model, tokenizer, weights or commit, spec)


def _unloaded(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, weights: str, spec: str) -> Unloaded:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    embedding: Any = model.get_input_embeddings()
    output: Any = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    head = set(output.parameters()) if output is not None else set[nn.Parameter]()
    ends = {*embedding.parameters(), *head}  # which may share a table
    linear = Counter[str]()
    for name, layer in linear_layers(model).items():
        linear[name.rpartition(".")[2]] += layer.in_features + layer.out_features
    return Unloaded(
        tokenizer,
        weights,
        parameters,
        parameters - sum(weight.numel() for weight in ends),
        sum(weight.numel() for weight in head),
        type(model).__name__,
        linear,
        _room(model, spec),
    )


def _tokenizer(source: str, spec: str | Path, options: dict[str, Any]) -> PreTrainedTokenizerBase:
    """The tokenizer of a model. Raises UsageError for a folder without one, of which transformers may make one up."""
    folder = Path(source)
    if folder.is_dir() and not any(file for pattern in TOKENIZER_FILES for file in folder.glob(pattern)):
        raise UsageError(f"{spec}: {_NO_TOKENIZER}")
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(source, padding_side="left", **options)
    if not tokenizer.get_vocab().keys() - {*tokenizer.get_added_vocab(), *tokenizer.all_special_tokens}:
        raise UsageError(f"{spec}: {_NO_TOKENIZER}")  # made up by transformers 5.0 from an empty configuration
    return tokenizer


@contextmanager
def _pretrained_source(
    spec: str, trust_remote_code: bool, revision: str | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name or folder for `from_pretrained` and its options; errors inside become UsageError with advice.

    Where the Hub cannot be reached, only its cache is used.
    """
    source = _local_source(spec)
    unreachable = "" if Path(source).is_dir() else why_unreachable(source)
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    options |= {"local_files_only": True} if unreachable else {}
    options |= {"revision": revision} if revision is not None else {}
    try:
        yield source, options
    except (OSError, ValueError, KeyError, EOFError, ImportError, SafetensorError, pickle.UnpicklingError) as error:
        raise UsageError(_damage(Path(source), spec, error) or _explain(spec, error, unreachable)) from error
    except Exception as error:  # a damaged pytorch_model.bin can raise anything, but so do a full device and our caller
        if not (damaged := damaged_weights(Path(source))):
            raise
        raise UsageError(damaged) from error


def _origin(source: str, revision: str | None) -> tuple[str, str]:
    """(commit of a Hub model that was just loaded, hash of a local model's files); the other is empty."""
    return ("", files_hash(Path(source))) if Path(source).is_dir() else (cached_commit(source, revision), "")


def finish(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    spec: str,
    *,
    revision: str = "",
    weights: str = "",
) -> Loaded:
    """Put a model in eval mode, set its special tokens and describe it."""
    model.train(False)
    if getattr(model.config.get_text_config(), "attn_logit_softcapping", None) is not None:
        # Torch's attention has no soft cap, and older transformers choose it for Gemma 2 all the same.
        model.set_attn_implementation("eager")
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    embedding: Any = model.get_input_embeddings()
    end = check_vocabulary(tokenizer, int(embedding.weight.shape[0]), spec)
    stops = stop_ids(model, tokenizer, end)
    # Pure greedy decoding: some models come with a repetition penalty, which `generate` would apply.
    model.generation_config = GenerationConfig(eos_token_id=list(stops))  # type: ignore[no-untyped-call]
    info = ModelInfo(
        spec=spec,
        revision=revision,
        weights=weights or revision or tensor_hash(model),
        dtype=str(next(model.parameters()).dtype).removeprefix("torch."),
        architecture=type(model).__name__,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        layers=int(model.config.get_text_config().num_hidden_layers),
        template=template_of(tokenizer),
        end_id=end,
        stop_ids=stops,
        packages=tuple((name, version(name)) for name in ("torch", "transformers", "tokenizers")),
    )
    if embedding.weight.is_cuda:  # a CPU has no such kernel
        fuse_norms(model)
    check_head(model)
    return Loaded(model, tokenizer, info)


def _local_source(spec: str) -> str:
    """A folder that transformers can read, or the spec itself for a Hub name."""
    if spec == SMOLLM2:
        return str(dequantised(next(smollm2_folder().glob("*.gguf"))))
    path = expanded(spec)
    if path.is_file() and path.suffix == ".gguf":
        return str(dequantised(path))
    if path.is_dir() and not (path / "config.json").exists():
        files = sorted(path.glob("*.gguf"))
        if len(files) == 1:
            return str(dequantised(files[0]))
        raise UsageError(
            f"{path} holds {len(files)} GGUF files and no config.json: "
            + ("name one of them" if files else "it is not a model folder")
        )
    if (path.is_absolute() or spec.startswith("~")) and not path.exists():
        raise UsageError(f"{path}: no such model folder or file")
    return str(path) if path.is_dir() else spec


def _damage(folder: Path, spec: str, error: Exception) -> str:
    """Which file is damaged and how to get it whole, where the error shows it: of weights, or of a converted model."""
    if folder.parent == cache_folder() and not isinstance(error, ImportError):
        return f"{folder}: not readable: {_first_line(error)}. Delete this folder: the GGUF file is converted again"
    if folder.is_dir():
        return "" if isinstance(error, ImportError) else damaged_weights(folder)
    if not isinstance(error, SafetensorError | EOFError | pickle.UnpicklingError):
        return ""
    return (
        f"{spec}: not readable in the Hub's cache, {hub.HF_HUB_CACHE}: {_first_line(error)}. Delete it there and "
        "download it again"
    )


def _explain(spec: str, error: Exception, reason: str) -> str:
    message = str(error)
    if "trust_remote_code" in message:
        return f"{spec} ships its own code, which is not run unless you ask for it: --trust-remote-code"
    if "backend tokenizer" in message:  # The message lists classes of transformers, from its second line on.
        return f"{spec}: {_NO_TOKENIZER}"
    if isinstance(error, ImportError):
        return f"{spec}: a package is missing: {message}"
    if isinstance(error, OSError) and reason:
        return (
            f"{spec}: no folder or file here, not complete in the Hub's cache ({hub.HF_HUB_CACHE}), and the Hub at "
            f"{hub.ENDPOINT} cannot be reached: {reason}. Correct the name or the path, or connect; HF_ENDPOINT names "
            "a mirror"
        )
    if isinstance(error, OSError) and not Path(spec).exists():
        return (
            f"{spec}: neither a model folder nor a model that the Hub provided: {_first_line(error)}. Correct the "
            "name or the revision; for a private or gated model log in (hf auth login)"
        )
    return f"{spec}: cannot be loaded: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")


def tensor_hash(model: nn.Module) -> str:
    """Hash of the weights in memory."""
    sha = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        sha.update(name.encode())
        sha.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()
