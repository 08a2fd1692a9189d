"""Training stages before unlearning: an adapter is trained once, stored by content address, and made part of the base.

`pretrained` changes nothing. `sft` learns the facts; controls separate the effects that it mixes: `sft_format` learns
other subjects in the same format, `sft_long` the same facts for longer, `sft_new` facts that can only have been learned
here, `sft_retain` all facts except those to forget.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from filelock import FileLock
from torch import Tensor, nn

from dual_data.errors import DualDataError
from dual_data.evaluation.device.sharding import ALONE, Ranks, held
from dual_data.evaluation.grid.cells import Cell, Grid
from dual_data.evaluation.models.loading import Loaded, ModelInfo
from dual_data.evaluation.results import stages_folder, write_json
from dual_data.evaluation.rows.data import Item, data_hash
from dual_data.evaluation.rows.encoding import PromptFormat, TrainingRows, encode
from dual_data.evaluation.settings import StageSettings
from dual_data.evaluation.training import fine_tune
from dual_data.evaluation.training.lora import Adapters, is_whole
from dual_data.evaluation.training.optimisation import Optimisation
from dual_data.evaluation.training.train import OnEpoch, halving, train
from dual_data.evaluation.training.training_run import Trace
from dual_data.ids import digest

_LAYOUT = 2


class Prepared(NamedTuple):
    """A stage's adapter, and what its training took, in this process or another."""

    folder: Path
    apply: str
    """How it becomes part of the base; see `StageSettings.apply`."""
    seconds: float
    gpu_hours: float
    notes: tuple[str, ...]
    """Such as a halved batch."""


def stage_key(info: ModelInfo, stage: StageSettings, rows: Sequence[Item], seed: int, profile: PromptFormat) -> str:
    """Content address of a stage's adapter."""
    model = info.weights, info.dtype, digest(info.template)
    parts = [_LAYOUT, *model, stage.recipe(), data_hash(rows), seed, profile]
    return digest(json.dumps(parts, sort_keys=True, ensure_ascii=False))


def prepare_for(
    grid: Grid, cell: Cell, loaded: Loaded, ranks: Ranks = ALONE, on_epoch: OnEpoch | None = None
) -> Prepared | None:
    """The adapter of the stage that a cell starts from, as `prepare` gives it; None where the stage trains nothing."""
    if (stage := grid.stages[cell.stage]) is None:
        return None
    rows, folder = grid.sets[cell.stage].trained(stage), stages_folder(grid.folder)
    return prepare(
        loaded, stage, rows, seed=cell.seed, profile=grid.profile, folder=folder, ranks=ranks, on_epoch=on_epoch
    )


def prepare(
    loaded: Loaded,
    stage: StageSettings,
    rows: Sequence[Item],
    *,
    seed: int,
    profile: PromptFormat,
    folder: Path,
    ranks: Ranks = ALONE,
    on_epoch: OnEpoch | None = None,
) -> Prepared:
    """The stage's adapter below `folder`, trained unless it is there and complete; KEY.json records what training took.

    Two processes that need the same stage train it once; processes that share a base train it together. Raises
    DualDataError where training ends early.
    """
    key = stage_key(loaded.info, stage, rows, seed, profile)
    target = folder / key
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{key}.lock") if ranks.first else nullcontext():
        if ranks.agree(not (is_whole(target) and _training_record(target))):
            encoded = encode(loaded.tokenizer, rows, profile)
            data = TrainingRows(encoded, (), seed)
            _train(loaded, stage, data, target, ranks, on_epoch)
            ranks.wait()
    record = _training_record(target)
    return Prepared(target, stage.apply, record["seconds"], record["gpu_hours"], tuple(record["notes"]))


def _record_path(target: Path) -> Path:
    return target.with_name(f"{target.name}.json")


def _training_record(target: Path) -> dict[str, Any]:
    """What the training of a stage took; empty where the record is missing."""
    try:
        record: dict[str, Any] = json.loads(_record_path(target).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record


def _train(
    loaded: Loaded, stage: StageSettings, data: TrainingRows, target: Path, ranks: Ranks, on_epoch: OnEpoch | None
) -> None:
    """Train the stage's adapter; of processes that share the base, the first writes it."""
    began, notes = time.perf_counter(), list[str]()
    adapters = Adapters(loaded.model, stage.lora, seeds=(data.seed,))

    def attempt(optimisation: Optimisation) -> Trace:
        (trace,) = train(loaded, adapters, fine_tune.METHOD, data, [stage.lr], optimisation, on_epoch=on_epoch)
        return trace

    try:
        trace = halving(attempt, stage, notes, rows=len(data.forget), undo=adapters.reset)
        if trace.stopped:
            raise DualDataError(f"the training stage ended early: {trace.stopped}; lower its learning rate")
        if not ranks.first:
            return
        seconds = time.perf_counter() - began
        record = {
            "spec": loaded.info.spec,
            "device": loaded.device.type,
            "seconds": seconds,
            "gpu_hours": ranks.size * seconds / 3600 if loaded.device.type == "cuda" else 0.0,
            "steps": trace.steps,
            "tokens": trace.tokens,
            "loss": trace.losses,
            "notes": [*notes, *trace.fallbacks],
        }
        write_json(_record_path(target), record)  # before the adapter, with which the stage counts as complete
        adapters.save(target, base=loaded.info.spec)
    finally:
        adapters.remove()


@contextmanager
def applied(loaded: Loaded, stage: Prepared | None) -> Iterator[Adapters | None]:
    """Inside, the base has the stage's adapter, if there is a stage; afterwards it is restored bit for bit.

    Yields the adapter where it stays an adapter (`stack`), else None.
    """
    if stage is None:
        yield None
        return
    adapters = Adapters.read(loaded.model, stage.folder)
    saved: list[tuple[nn.Linear, Tensor, Tensor]] = []
    tied = loaded.model.config.tie_word_embeddings
    try:
        if stage.apply == "merge":
            linears = [slot.linear for slot in adapters.slots]
            saved = [(linear, linear.weight, held(linear.weight).detach().to("cpu", copy=True)) for linear in linears]
            adapters.merge()
            yield None
        else:
            adapters.freeze()
            yield adapters
    finally:
        adapters.remove()
        with torch.no_grad():
            for linear, weight, copy in saved:
                held(weight).copy_(copy)
                linear.weight = weight
        loaded.model.config.tie_word_embeddings = tied
