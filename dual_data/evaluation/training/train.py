"""Training of K cells at once: the same method on the same base, each with its own rows, learning rate and seed.

A step is a fixed sequence of device operations on tensors of fixed shape, with no wait for the device in it: on a GPU
the first steps run eagerly and warm up, then the step is recorded as a CUDA graph and replayed.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dual_data.errors import UsageError
from dual_data.evaluation.device.repeatable import is_refused, repeatable
from dual_data.evaluation.device.sharding import anywhere, can_record
from dual_data.evaluation.methods.base import Answers, Batch, Controller, Facts, Loss, Method, Outputs, divergence
from dual_data.evaluation.models.context import check_tokens
from dual_data.evaluation.models.loading import Loaded, head
from dual_data.evaluation.rows.data import Encoded
from dual_data.evaluation.rows.packing import Layout, Micro, Packed, Rows, Source, pack
from dual_data.evaluation.rows.schedule import Optimisation, Plan, factors, plan
from dual_data.evaluation.training.cuda_graph import WARM_UP, Replayed
from dual_data.evaluation.training.forward import hidden_at, layer_hidden, packs
from dual_data.evaluation.training.optimiser import AdamW, Trainable
from dual_data.evaluation.training.reference import Cache, ReferenceFigures, compute


class CellData(NamedTuple):
    """The rows of one cell and what distinguishes it from those trained beside it."""

    forget: Sequence[Encoded]
    retain: Sequence[Encoded]
    lr: float
    seed: int
    refusal: Sequence[Encoded] = ()
    """For each forget row, the same prompt with the answer to prefer."""
    popularity: Sequence[float | None] = ()


class Trace(NamedTuple):
    """What happened to one cell."""

    steps: int
    """Optimiser steps taken before it ended or was stopped."""
    losses: list[float]
    parts: dict[str, list[float]]
    """By name, one value a step."""
    norms: list[float]
    """Norm of the gradient before clipping, one a step."""
    stopped: str
    """Why it did not run to its end; empty where it did."""
    tokens: int
    """Tokens that went through the model for all cells together, padding included."""
    notes: dict[str, float]


def ways_not_taken(notes: Mapping[str, float]) -> list[str]:
    """From the notes of a trace: that training went another way than asked, which is slower or in no fixed order."""
    return [f"training was not {name}" for name in ("packed", "recorded", "repeatable") if notes.get(name) == 0.0]


def train(
    loaded: Loaded,
    trainable: Trainable,
    method: Method,
    cells: Sequence[CellData],
    optimisation: Optimisation,
    *,
    options: Mapping[str, Any] | None = None,
    train_end: bool = True,
    graphs: bool | None = None,
    plain: bool | None = None,
    on_epoch: Callable[[int], None] | None = None,
) -> list[Trace]:
    """Train cell k of `trainable` on `cells[k]`. Out of memory is torch's own error, for the caller to retry smaller.

    `graphs` is whether steps are replayed as CUDA graphs; None for whenever the model is on a GPU. `plain` is whether
    rows are padded and not packed; None for only where the model needs it.
    """
    if len(cells) != trainable.count:
        raise ValueError(f"{len(cells)} cells for {trainable.count} trained at once")
    run = TrainingRun(
        loaded,
        trainable,
        method,
        cells,
        optimisation=optimisation,
        options=options or {},
        train_end=train_end,
        plain=plain,
    )
    wanted = can_record(loaded.device) if graphs is None else graphs
    if wanted and run.plain:  # without a mask the model looks at the positions, on the host
        run.note("recorded", 0.0)
        wanted = False
    step = Replayed(run) if wanted and run.steps_planned > WARM_UP else run.step
    for epoch, count in enumerate(run.epoch_steps):
        for _ in range(count):
            step()
        run.end_epoch(epoch, last=epoch + 1 == len(run.epoch_steps))
        if on_epoch is not None:
            on_epoch(epoch)
        if not anywhere(not run.all_stopped):
            break
    return run.traces()


class TrainingRun:
    """State of a training run: everything a step reads or writes, at fixed places on the device."""

    def __init__(
        self,
        loaded: Loaded,
        trainable: Trainable,
        method: Method,
        cells: Sequence[CellData],
        *,
        optimisation: Optimisation,
        options: Mapping[str, Any],
        train_end: bool,
        plain: bool | None,
    ) -> None:
        self.model, self._trainable, self._method = loaded.model, trainable, method
        self._optimisation = optimisation
        self.device = device = loaded.device
        self._ordered = True
        self._options = method.options(options)
        self._method_loss = method.bind(method.loss, self._options)
        facts = [_facts(cell, loaded, train_end) for cell in cells]
        self._notes = [method.bind(method.notes, self._options)(fact) if method.notes else {} for fact in facts]
        sources = [self._sources(cell, fact, train_end) for cell, fact in zip(cells, facts, strict=True)]
        planned = [
            plan({kind: source.sizes() for kind, source in by.items()}, optimisation, cell.seed)
            for by, cell in zip(sources, cells, strict=True)
        ]
        self._micros_of_step = [len(step) for epoch in planned[0] for step in epoch]
        self.epoch_steps = [len(epoch) for epoch in planned[0]]
        self.steps_planned = len(self._micros_of_step)
        micros, longest = _micros(planned), _longest(sources)
        check_tokens(loaded, longest, f"the longest row that {method.name} trains on")
        self.plain = self._has_to_pad(loaded, longest) if plain is None else plain
        self._packed: Packed = pack(micros, sources, plain=self.plain, pad_id=loaded.info.pad_id, device=device)
        self._layer = self._chosen_layer(loaded.info.layers) if method.at_layer else None
        self._references = self._compute_references(sources, loaded.info.pad_id)
        self._controllers: list[Controller] = [
            method.bind(method.controller, self._options)() for _ in cells if method.controller
        ]
        started = [controller.start() for controller in self._controllers]
        names = started[0] if started else {}
        self._state = {name: torch.tensor([one[name] for one in started], device=device) for name in names}
        self._optimiser = AdamW(
            trainable,
            [cell.lr for cell in cells],
            factors(optimisation, self.epoch_steps),
            clip=optimisation.clip,
            most_norm=optimisation.diverged_norm,
            weight_decay=optimisation.weight_decay,
        )
        self._micro_number = torch.zeros(1, dtype=torch.long, device=device)
        self._losses = torch.zeros(self.steps_planned, len(cells), device=device)
        self._parts: dict[str, Tensor] = {}
        self._done = 0
        self.all_stopped = False

    def step(self) -> None:
        """One optimiser step."""
        for _ in range(self._micros_of_step[self._done]):
            self.micro()
        self.update()
        self._done += 1

    def advance(self) -> int:
        """Count a step that was replayed; returns how many micro-batches it has."""
        self._done += 1
        return self._micros_of_step[self._done - 1]

    def micro(self) -> None:
        """Forward and backward of the next micro-batch."""
        layout, groups = self._packed.at(self._micro_number)
        loss = self._differentiate(layout, groups)
        self._optimiser.accumulate()
        step = self._optimiser.step_number
        self._losses.index_add_(0, step, loss.value.detach()[None])
        for name, value in loss.parts.items():
            if name not in self._parts:
                self._parts[name] = torch.zeros_like(self._losses)
            # A controller's state is one value a step and not a sum over micro-batches.
            table = self._parts[name]
            write = table.index_copy_ if name in self._state else table.index_add_
            write(0, step, value.detach()[None])
        self._micro_number.add_(1)

    def _differentiate(self, layout: Layout, groups: Mapping[str, Rows]) -> Loss:
        """The loss, whose gradient is added to what the optimiser reads."""
        try:
            with repeatable(self.device, wanted=self._ordered), warnings.catch_warnings():
                # Cells lie beside each other in one buffer, so a layer's gradients are not contiguous: that is meant.
                warnings.filterwarnings("ignore", message="grad and param do not obey the gradient layout contract")
                rows = [groups[kind] for kind in self._kinds]
                states = layer_hidden(self.model, layout, self._layer) if self._layer is not None else None
                loss = self._loss(groups, self._policy(rows, hidden_at(self.model, layout, rows, states)))
                loss.value.sum().backward()  # type: ignore[no-untyped-call]
            return loss
        except RuntimeError as error:
            if not (self._ordered and is_refused(error)):
                raise
        # The first micro-batch has all operations of a run, so what it left half done is all that there is.
        self._ordered = False
        self.note("repeatable", 0.0)
        for buffer in self._trainable.buffers:
            buffer.gradient.zero_()
        return self._differentiate(layout, groups)

    def note(self, name: str, value: float) -> None:
        """Put a figure into the result of every cell."""
        for notes in self._notes:
            notes[name] = value

    def update(self) -> None:
        """The optimiser's part of a step."""
        keep = None
        for part, most, _ in self._limits():
            within = self._parts[part].index_select(0, self._optimiser.step_number)[0] <= most
            keep = within if keep is None else keep & within
        self._optimiser.step(keep)

    def end_epoch(self, epoch: int, *, last: bool) -> None:
        """Let controllers see the epoch; the one place in an epoch that waits for the device."""
        self.all_stopped = not bool(self._optimiser.alive.any())
        if last or not self._controllers:
            return
        first = sum(self.epoch_steps[:epoch])
        for k, controller in enumerate(self._controllers):
            seen = {name: table[first : self._done, k].tolist() for name, table in self._parts.items()}
            for name, value in controller.after_epoch(seen).items():
                self._state[name][k] = value

    def traces(self) -> list[Trace]:
        """What happened, one a cell."""
        losses, norms = self._losses[: self._done].cpu(), self._optimiser.norms[: self._done].cpu()
        parts = {name: table[: self._done].cpu() for name, table in self._parts.items()}
        found = []
        for k in range(self._trainable.count):
            stopped, steps = self._why_stopped(k, losses[:, k], norms[:, k])
            found.append(
                Trace(
                    steps,
                    losses[:steps, k].tolist(),
                    {name: table[:steps, k].tolist() for name, table in parts.items()},
                    norms[:steps, k].tolist(),
                    stopped,
                    self._packed.tokens,
                    self._notes[k],
                )
            )
        return found

    def _why_stopped(self, k: int, losses: Tensor, norms: Tensor) -> tuple[str, int]:
        if bool(self._optimiser.alive[k]):
            return "", self._done
        norm = self._optimisation.diverged_norm
        over = [
            (~(losses.isfinite() & norms.isfinite()), "loss or gradient not finite"),
            (norms > (norm or math.inf), f"diverged: gradient norm above {norm:g}"),
        ]
        over += [(~(self._parts[part][: self._done, k].cpu() <= most), why) for part, most, why in self._limits()]
        step, why = min(
            ((int(found.nonzero()[0]), why) for found, why in over if bool(found.any())), key=lambda e: e[0]
        )
        return f"{why} at step {step + 1}", step

    def _limits(self) -> list[tuple[str, float, str]]:
        """Parts of the loss, the most that each may be at a step, and what is said where it is more."""
        how, found = self._optimisation, list[tuple[str, float, str]]()
        if how.stop_forget_nll:
            if "forget_nll" not in self._parts:
                raise UsageError(f"{self._method.name} computes no forget loss to stop at: it takes no stop_forget_nll")
            found.append(("forget_nll", how.stop_forget_nll, f"forget loss above {how.stop_forget_nll:g}"))
        if how.diverged_nll:
            most = how.diverged_nll * math.log(self.model.config.get_text_config().vocab_size)
            said = f"above {most:.3g}, {how.diverged_nll:g} times what guessing gives,"
            kept = {"retain_nll": "retain loss", "nll": "loss"}
            found += [(part, most, f"diverged: {name} {said}") for part, name in kept.items() if part in self._parts]
        return found

    def _has_to_pad(self, loaded: Loaded, longest: int) -> bool:
        """Whether the model takes no packed rows: it is slower, and nobody asked for it, so the result says it."""
        with self._trainable.disabled():
            plain = not packs(loaded, longest)
        if plain:
            self.note("packed", 0.0)
        return plain

    def _chosen_layer(self, layers: int) -> int:
        """The layer that the loss reads, counted from 0: the last one where the model has not as many as asked for."""
        layer = int(self._options["layer"])
        if layer < 0:
            raise UsageError(f"{self._method.name}.layer: {layer} is no layer; they are counted from 0")
        self.note("layer", min(layer, layers - 1))
        return min(layer, layers - 1)

    @property
    def _kinds(self) -> list[str]:
        return list(self._packed.groups)

    def _sources(self, cell: CellData, facts: Facts, train_end: bool) -> dict[str, Source]:
        method = self._method
        made = method.bind(method.constants, self._options)(facts) if method.constants else {}
        rows = {"forget": cell.forget, "retain": cell.retain, "refusal": cell.refusal}
        found = {
            kind: Source(rows[kind], train_end, made if kind == "forget" else {}, at_label=method.at_layer)
            for kind in method.kinds
        }
        if self._optimisation.forget_kl:
            if method.at_layer:
                raise UsageError(f"{method.name} stops at a layer and has no distributions: it takes no forget_kl")
            found["everywhere"] = Source(cell.forget, train_end, everywhere=True)
        return found

    def _compute_references(self, sources: Sequence[Mapping[str, Source]], pad_id: int) -> dict[str, ReferenceFigures]:
        wanted = set(self._method.reference | self._method.reference_rows) | (set(sources[0]) & {"everywhere"})
        found = {}
        for kind in sorted(wanted):
            caches: dict[int, Cache] = {}
            for by in sources:
                if (rows := id(by[kind].rows)) not in caches:
                    caches[rows] = compute(
                        self.model, by[kind], self._trainable, pad_id=pad_id, layer=self._layer, plain=self.plain
                    )
            which = [list(caches).index(id(by[kind].rows)) for by in sources]
            every = list(caches.values())
            found[kind] = ReferenceFigures(every, which, self._trainable, at_layer=self._layer is not None)
        return found

    def _policy(self, rows: Sequence[Rows], hidden: Sequence[Tensor]) -> dict[str, Answers]:
        """Answers by kind; the head runs once for all of them."""
        if self._layer is not None:
            pairs = zip(self._kinds, rows, hidden, strict=True)
            return {kind: Answers(one.targets, hidden=states.float()) for kind, one, states in pairs}
        logits = head(self.model, torch.cat(list(hidden), dim=1))
        parts = torch.split(logits, [states.shape[1] for states in hidden], dim=1)
        return {
            kind: Answers(one.targets, logits=lambda part=part: part)  # type: ignore[misc]
            for kind, one, part in zip(self._kinds, rows, parts, strict=True)
        }

    def _loss(self, groups: Mapping[str, Rows], policy: Mapping[str, Answers]) -> Loss:
        reference = {
            kind: self._references[kind].answers(rows) if kind in self._references else Answers(rows.targets)
            for kind, rows in groups.items()
        }
        forget = groups["forget"]
        batch = Batch(forget, groups.get("retain", forget), groups.get("refusal", forget), self._state)
        sides = [
            Outputs(*(side.get(kind, side["forget"]) for kind in ("forget", "retain", "refusal")))
            for side in (policy, reference)
        ]
        loss = self._method_loss(batch, *sides)
        if "everywhere" in groups:
            kl = divergence(reference["everywhere"].log_softmax, policy["everywhere"].log_softmax)
            drift = groups["everywhere"].token_mean(kl)
            value = loss.value + self._optimisation.forget_kl * drift
            loss = Loss(value, {**loss.parts, "forget_kl": drift})
        return loss


def _micros(planned: Sequence[Plan]) -> list[list[Micro]]:
    """The micro-batches of each cell in their order."""
    flat = [[micro for epoch in one for step in epoch for micro in step] for one in planned]
    if len({len(micros) for micros in flat}) > 1:
        raise ValueError("cells trained together need the same number of rows")
    return flat


def _longest(sources: Sequence[Mapping[str, Source]]) -> int:
    """Tokens of the longest row."""
    return max(len(source.tokens(i)) for by in sources for source in by.values() for i in range(len(source.rows)))


def _facts(cell: CellData, loaded: Loaded, train_end: bool) -> Facts:
    tokenizer = loaded.tokenizer

    def encode(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    return Facts(
        [[*row.answer_ids, *(row.end_ids if train_end else ())] for row in cell.forget],
        [len(row.answer_ids) for row in cell.forget],
        cell.popularity or [None] * len(cell.forget),
        encode,
    )
