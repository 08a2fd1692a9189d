"""What is computed once a machine and kept: checkpoints from GGUF files, hashes of large weight files.

Imports neither torch nor transformers before it converts: the plan of a build asks here for the weights' hashes.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dual_data.engine.tables import file_hash
from dual_data.errors import MissingExtra
from dual_data.evaluation.models.hub import cached_commit
from dual_data.ids import digest

_GGUF_NAMES = {
    "bos": "bos_token_id",
    "eos": "eos_token_id",
    "unk": "unknown_token_id",
    "pad": "padding_token_id",
}
_LAYOUT = 1


def cache_folder() -> Path:
    """Where converted models are kept."""
    base = (
        os.environ.get("DUAL_DATA_CACHE")
        or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dual-data"
    )
    return Path(base) / "models"


def dequantised(gguf: Path) -> Path:
    """The checkpoint in float32 made from `gguf`, converted where it is not in the cache yet."""
    folder = _place(gguf)
    if folder.exists():
        return folder
    if importlib.util.find_spec("gguf") is None:
        raise MissingExtra("gguf", "eval")
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
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        if not folder.exists():
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


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
    """Hash of the weight files, remembered by size and time in the cache, since large ones take a while."""
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")])
    state = [[str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    note = cache_folder() / "hashes" / digest(json.dumps(state))
    if note.exists():
        return note.read_text()
    found = digest("".join(file_hash(path) for path in files), 64)
    note.parent.mkdir(parents=True, exist_ok=True)
    partial = note.with_name(f".{note.name}.{os.getpid()}")
    partial.write_text(found)
    partial.replace(note)
    return found


def weights_seen(spec: str) -> str | None:
    """What identifies the weights that `models.load` would load, as far as files on this machine tell.

    Nothing is loaded, fetched or converted. None where only loading tells: of a model that is built in memory, one that
    a package carries, and one that is not here.
    """
    try:
        return _seen(Path(spec).expanduser()) or cached_commit(spec) or None
    except (OSError, PackageNotFoundError):  # opening it says what is wrong
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
