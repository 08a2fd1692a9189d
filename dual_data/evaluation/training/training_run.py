"""The state of a training run and its steps.

A step is a fixed sequence of device operations on tensors of fixed shape and never waits for the device.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dual_data.errors import UsageError
from dual_data.evaluation.device.devices import rows_per_bin
from dual_data.evaluation.device.repeatable import is_refused, repeatable
from dual_data.evaluation.methods.base import Controller, LabelOutputs, Loss, Method, divergence
from dual_data.evaluation.models.decoder import head
from dual_data.evaluation.models.loading import Loaded
from dual_data.evaluation.rows.encoding import TrainingRows
from dual_data.evaluation.rows.packing import Layout, Packed, Rows, Source, pack
from dual_data.evaluation.training.forward import hidden_at, layer_hidden, packs
from dual_data.evaluation.training.limits import Limit, limits_of, why_stopped
from dual_data.evaluation.training.method_code import (
    arguments,
    constants_of,
    factor_of,
    facts_of,
    first_state,
    next_state,
    noise_of,
    sources_of,
    telling,
)
from dual_data.evaluation.training.optimisation import Optimisation
from dual_data.evaluation.training.optimiser import AdamW, Trainable
from dual_data.evaluation.training.reference import ReferenceFigures, References
from dual_data.evaluation.training.schedule import factors, plan


class Trace(NamedTuple):
    """What happened to one cell."""

    steps: int
    """Optimiser steps taken before the cell ended or was stopped."""
    losses: list[float]
    parts: dict[str, list[float]]
    """By name, one value per step."""
    norms: list[float]
    """Norm of the gradient before clipping, one per step."""
    stopped: str
    """Why the cell was stopped early; empty where it was not."""
    tokens: int
    """Tokens that went through the model for all cells together, padding included."""
    notes: dict[str, float]
    fallbacks: tuple[str, ...] = ()
    """Ways that training did not take (packed, recorded, repeatable), and why where an error says it."""


class TrainingRun:
    """State of a training run: everything that a step reads or writes, at fixed addresses on the device."""

    def __init__(
        self,
        loaded: Loaded,
        trainable: Trainable,
        method: Method,
        data: TrainingRows,
        lrs: Sequence[float],
        optimisation: Optimisation,
        options: Mapping[str, Any],
        plain: bool | None,
        references: References | None = None,
    ) -> None:
        options = method.options(options)
        method = method.bound(options)
        self.model, self._trainable, self._method = loaded.model, trainable, method
        self._optimisation = optimisation
        self.device = device = loaded.device
        self._deterministic = True
        self._fallbacks: list[str] = []
        facts = facts_of(data, loaded.tokenizer)
        with telling(method, "notes function"):
            self._notes = method.notes(facts) if method.notes else {}
        sources = sources_of(method, data, constants_of(method, facts), optimisation)
        epochs = plan({kind: source.sizes() for kind, source in sources.items()}, optimisation, data.seed)
        self._micro_batches_of_step = [len(step) for epoch in epochs for step in epoch]
        self.epoch_steps = [len(epoch) for epoch in epochs]
        self.steps_planned = len(self._micro_batches_of_step)
        longest = max(len(source.tokens(index)) for source in sources.values() for index in range(len(source.rows)))
        loaded.room.expect(longest, f"the longest row that {method.name} trains on")
        self.plain = self._has_to_pad(loaded, longest) if plain is None else plain
        self._packed: Packed = pack(
            [micro_batch for epoch in epochs for step in epoch for micro_batch in step],
            sources,
            cells=len(lrs),
            rows_per_bin=rows_per_bin(device.type, loaded.info.parameters),
            plain=self.plain,
            device=device,
        )
        self._layer: int | None = None
        if method.at_layer:  # the last one where the model has fewer
            self._notes["layer"] = self._layer = min(int(options["layer"]), loaded.info.layers - 1)
        self._references = self._references_from(references or References(), sources)
        if (noise := noise_of(method)) is not None:
            trainable.perturb(*noise)  # only now, since the reference of all weights has none
        with telling(method, "controller"):
            self._controllers: list[Controller] = [method.controller() for _ in lrs if method.controller]
        states = first_state(method, self._controllers)
        names = states[0] if states else {}
        self._state = {name: torch.tensor([state[name] for state in states], device=device) for name in names}
        self._optimiser = AdamW(
            trainable,
            lrs,
            factors(optimisation, self.epoch_steps),
            clip=optimisation.clip,
            most_norm=optimisation.diverged_norm,
            weight_decay=optimisation.weight_decay,
        )
        self._micro_number = torch.zeros(1, dtype=torch.long, device=device)
        self._losses = torch.zeros(self.steps_planned, len(lrs), device=device)
        self._parts: dict[str, Tensor] = {}
        self._steps_done = 0
        self.all_stopped = False

    def step(self) -> None:
        """One optimiser step."""
        for _ in range(self.advance()):
            self.micro_batch()
        self.update()

    def advance(self) -> int:
        """Count a step. Returns its number of micro-batches."""
        self._steps_done += 1
        return self._micro_batches_of_step[self._steps_done - 1]

    def micro_batch(self) -> None:
        """Forward and backward of the next micro-batch."""
        layout, groups = self._packed.at(self._micro_number)
        loss = self._differentiate(layout, groups)
        step = self._optimiser.step_number
        self._losses.index_add_(0, step, loss.value.detach().float()[None])
        for name, value in loss.parts.items():
            if name not in self._parts:
                self._parts[name] = torch.zeros_like(self._losses)
            # A controller's state is one value per step, not a sum over micro-batches.
            table = self._parts[name]
            write = table.index_copy_ if name in self._state else table.index_add_
            write(0, step, value.detach().float()[None])
        self._micro_number.add_(1)

    def _differentiate(self, layout: Layout, groups: Mapping[str, Rows]) -> Loss:
        """The loss; its gradient is added to the optimiser's sums."""
        try:
            with repeatable(self.device, wanted=self._deterministic), warnings.catch_warnings():
                # Cells share one buffer, so the gradients of a layer are intentionally not contiguous.
                warnings.filterwarnings("ignore", message="grad and param do not obey the gradient layout contract")
                rows = [groups[kind] for kind in self._kinds]
                states = layer_hidden(self.model, layout, self._layer) if self._layer is not None else None
                loss = self._loss(groups, self._policy(rows, hidden_at(self.model, layout, rows, states)))
                if self._layer is not None and not loss.value.requires_grad:
                    raise UsageError(
                        f"{self._method.name} stops at layer {self._layer}, counted from 0, and nothing is trained up "
                        "to it: name other `targets` under lora, or another layer"
                    )
                self._backward(loss)
            return loss
        except RuntimeError as error:
            if not (self._deterministic and is_refused(error)):
                raise
            refusal = str(error).partition("\n")[0]
        # The first micro-batch uses all operations of a run, so only its own partial gradients are discarded.
        self._deterministic = False
        self.fall_back("repeatable", refusal)
        self._optimiser.discard()
        return self._differentiate(layout, groups)

    def _backward(self, loss: Loss) -> None:
        """Add the gradient of a loss, or those of its terms, to the optimiser's sums."""
        *_, last = differentiated = loss.differentiated
        for term, value in differentiated.items():
            value.sum().backward(retain_graph=term != last)  # type: ignore[no-untyped-call]
            self._optimiser.accumulate(term)

    def fall_back(self, way: str, why: str = "") -> None:
        """Note that training does not go that way, and the error because of which it does not."""
        self._fallbacks.append(f"training was not {way}{f': {why}' if why else ''}")

    def update(self) -> None:
        """The optimiser's part of a step."""
        step = self._optimiser.step_number
        keep = self._losses.index_select(0, step)[0].isfinite()  # its gradient may be finite all the same
        for limit in self._limits():
            keep &= self._parts[limit.part].index_select(0, step)[0] <= limit.most
        if self._method.gradient is not None:
            with telling(self._method, "gradient function"):
                self._optimiser.combine(self._method.gradient)
        self._optimiser.step(keep)

    def end_epoch(self, epoch: int, *, last: bool) -> None:
        """Update the controllers; the only place in an epoch that waits for the device."""
        self.all_stopped = not bool(self._optimiser.alive.any())
        if last or not self._controllers:
            return
        first = sum(self.epoch_steps[:epoch])
        for k, controller in enumerate(self._controllers):
            parts = {name: table[first : self._steps_done, k].tolist() for name, table in self._parts.items()}
            for name, value in next_state(self._method, controller, parts, self._state).items():
                self._state[name][k] = value

    def end(self) -> None:
        """Make what training changed the change that the method wants."""
        if (factor := factor_of(self._method)) != 1.0:
            self._trainable.multiply_change(factor)

    def traces(self) -> list[Trace]:
        """One trace per cell."""
        losses, norms = self._losses[: self._steps_done].cpu(), self._optimiser.norms[: self._steps_done].cpu()
        parts = {name: table[: self._steps_done].cpu() for name, table in self._parts.items()}
        limits, alive = self._limits(), self._optimiser.alive.tolist()
        micro_batches = sum(self._micro_batches_of_step[: self._steps_done])
        tokens = micro_batches * self._packed.layout.ids[0].numel()
        traces = []
        for k in range(self._trainable.count):
            of_cell = {name: table[:, k] for name, table in parts.items()}
            stopped, steps = "", self._steps_done
            if not alive[k]:
                stopped, steps = why_stopped(losses[:, k], norms[:, k], of_cell, limits, self._optimisation)
            traces.append(
                Trace(
                    steps,
                    losses[:steps, k].tolist(),
                    {name: values[:steps].tolist() for name, values in of_cell.items()},
                    norms[:steps, k].tolist(),
                    stopped,
                    tokens,
                    self._notes,
                    tuple(self._fallbacks),
                )
            )
        return traces

    def _limits(self) -> list[Limit]:
        vocabulary = int(self.model.config.get_text_config().vocab_size)
        return limits_of(self._optimisation, self._parts, self._method.name, vocabulary)

    def _has_to_pad(self, loaded: Loaded, longest: int) -> bool:
        """Whether the model cannot take packed rows; then noted in the result, since padding is slower."""
        with self._trainable.disabled():
            plain = not packs(loaded, longest)
        if plain:
            self.fall_back("packed")
        return plain

    @property
    def _kinds(self) -> list[str]:
        return list(self._packed.groups)

    def _references_from(self, references: References, sources: Mapping[str, Source]) -> dict[str, ReferenceFigures]:
        kinds = self._method.reference | (set(sources) & {"everywhere"})
        return {
            kind: references.figures(self.model, sources[kind], self._trainable, layer=self._layer, plain=self.plain)
            for kind in sorted(kinds)
        }

    def _policy(self, rows: Sequence[Rows], hidden: Sequence[Tensor]) -> dict[str, LabelOutputs]:
        """Outputs of the model by kind; the head runs once for all kinds."""
        if self._layer is not None:
            pairs = zip(self._kinds, rows, hidden, strict=True)
            return {kind: LabelOutputs(labels.targets, hidden=states.float()) for kind, labels, states in pairs}
        logits = head(self.model, torch.cat(list(hidden), dim=1))
        pieces = torch.split(logits, [states.shape[1] for states in hidden], dim=1)
        return {
            kind: LabelOutputs(labels.targets, logits=lambda piece=piece: piece)  # type: ignore[misc]
            for kind, labels, piece in zip(self._kinds, rows, pieces, strict=True)
        }

    def _loss(self, groups: Mapping[str, Rows], policy: Mapping[str, LabelOutputs]) -> Loss:
        head_of_reference = self._trainable.reference_head
        reference = {
            kind: figures.outputs(groups[kind], head_of_reference) for kind, figures in self._references.items()
        }
        batch, *outputs = arguments(groups, policy, reference, self._state)
        with telling(self._method, "loss"):  # that it is sound, `try_method` has seen
            loss = self._method.loss(batch, *outputs)
        if "everywhere" in groups:
            kl = divergence(reference["everywhere"].log_softmax, policy["everywhere"].log_softmax)
            drift = groups["everywhere"].token_mean(kl)
            value = loss.value + self._optimisation.forget_kl * drift
            loss = Loss(value, {**loss.parts, "forget_kl": drift}, loss.terms)
        return loss
