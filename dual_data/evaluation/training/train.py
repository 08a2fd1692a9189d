"""Training of K cells at once: the same method on the same base and rows, each cell with its own learning rate.

On a GPU the first steps run eagerly as a warm-up, then the step is recorded as a CUDA graph and replayed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from dual_data.errors import UsageError
from dual_data.evaluation.device.memory import OutOfMemory, if_it_fits, release
from dual_data.evaluation.device.sharding import anywhere, can_record, stay_in_step
from dual_data.evaluation.methods.base import Method
from dual_data.evaluation.models.loading import Loaded
from dual_data.evaluation.rows.encoding import TrainingRows
from dual_data.evaluation.training.cuda_graph import WARM_UP, Replayed
from dual_data.evaluation.training.optimisation import Optimisation
from dual_data.evaluation.training.optimiser import Trainable
from dual_data.evaluation.training.reference import References
from dual_data.evaluation.training.training_run import Trace, TrainingRun

Result = TypeVar("Result")
OnEpoch = Callable[[int], None]
"""Called after each epoch, with its number from 0."""


def check_dtype(model: str, dtype: str) -> None:
    """Raise UsageError for float16, the only type here in which small gradients become 0."""
    if dtype == "float16":
        raise UsageError(
            f"{model}: training in float16 loses small gradients, since losses are not scaled here: use bfloat16 or "
            "float32 (`dtype` in the grid file, or --dtype)"
        )


def train(
    loaded: Loaded,
    trainable: Trainable,
    method: Method,
    data: TrainingRows,
    lrs: Sequence[float],
    optimisation: Optimisation,
    *,
    options: Mapping[str, Any] | None = None,
    graphs: bool | None = None,
    plain: bool | None = None,
    on_epoch: OnEpoch | None = None,
    references: References | None = None,
) -> list[Trace]:
    """Train cell k of `trainable` at the rate `lrs[k]`. Out of memory raises torch's own error; see `halving`.

    `graphs` is whether steps are replayed as CUDA graphs; None for yes where the model is on a GPU. `plain` is whether
    rows are padded rather than packed; None for only where the model needs it. `references` are those of earlier runs
    from the same base.
    """
    check_dtype(loaded.info.spec, loaded.info.dtype)
    if len(lrs) != trainable.count:
        raise ValueError(f"{len(lrs)} learning rates for {trainable.count} cells trained at once")
    run = TrainingRun(loaded, trainable, method, data, lrs, optimisation, options or {}, plain, references)
    record = can_record(loaded.device) if graphs is None else graphs
    if record and run.plain:  # without a mask the model reads the positions on the host
        run.fall_back("recorded")
        record = False
    step = Replayed(run, method.name) if record and run.steps_planned > WARM_UP else run.step
    for epoch, count in enumerate(run.epoch_steps):
        for _ in range(count):
            step()
        run.end_epoch(epoch, last=epoch + 1 == len(run.epoch_steps))
        if on_epoch is not None:
            on_epoch(epoch)
        if not anywhere(not run.all_stopped):
            break
    run.end()
    return run.traces()


def halving(
    attempt: Callable[[Optimisation], Result],
    optimisation: Optimisation,
    notes: list[str],
    *,
    rows: int,
    undo: Callable[[], None],
) -> Result:
    """The result of `attempt`, called with micro-batches of half the size until memory suffices; noted in `notes`.

    `undo` restores what a failed call has trained. `rows` is the number of forget rows, which the batch may exceed, as
    `micro_batch` may the batch. The loss does not depend on the size of micro-batches unless it is normalised over
    them; then nothing is halved. Raises OutOfMemory where nothing smaller can be tried.
    """
    while True:
        if (result := if_it_fits(attempt, optimisation)) is not None:
            return result
        release()
        stay_in_step()
        if optimisation.normalise == "micro_batch":
            raise OutOfMemory(
                "out of memory, and smaller micro-batches would change a loss that is normalised over them "
                '(normalise = "micro_batch"): set a smaller `micro_batch`, or use fewer cells at once (--cells-at-once)'
            )
        rows = min(rows, optimisation.batch, optimisation.micro_batch or rows)
        if rows == 1:
            raise OutOfMemory(
                "out of memory with a single row a forward pass: use a narrower dtype, a smaller model, "
                "or fewer cells at once (--cells-at-once)"
            )
        optimisation = optimisation.model_copy(update={"micro_batch": rows // 2})
        undo()
        notes.append(f"out of memory: forward passes of {rows // 2} rows in place of {rows}")
