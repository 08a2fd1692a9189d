"""Settings of training; without torch, so that `dual-data check` can read them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from dual_data.config import Strict, each_once

# A list that would be empty is left out: an empty one would silently run nothing, or all that it could name.
Names = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(each_once)]

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
"""The layers that adapters are trained on unless others are named."""


class LoraSpec(Strict):
    """Shape of an adapter (LoRA)."""

    rank: int = Field(default=32, ge=1)
    """Rank of the product that is added to a weight."""
    alpha: float = Field(default=64.0, gt=0)
    """The product is multiplied by alpha / rank."""
    targets: Names = ATTENTION
    """The linear layers that have one, by the last component of their names."""

    @property
    def scaling(self) -> float:
        """Factor of the low-rank product."""
        return self.alpha / self.rank


class Optimisation(Strict):
    """Settings of training; a preset fixes these, and the methods with their options."""

    epochs: int = Field(default=2, ge=1)
    """Passes over the forget rows; of a stage, over all its rows."""
    batch: int = Field(default=32, ge=1)
    """Forget rows per optimiser step, and as many retain rows where the method has any; of a stage, rows."""
    micro_batch: int = Field(default=0, ge=0)
    """The same per forward pass; 0 for the whole batch. The loss depends on it only with normalise = micro_batch."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """How the learning rate goes on after the warm-up: it stays, or falls to 0 along a line or half a cosine."""
    warmup_epochs: float = Field(default=0.0, ge=0)
    """Epochs, or parts of one, in which the learning rate grows from 0 in equal steps."""
    clip: float = Field(default=1.0, ge=0)
    """Largest norm of a step's gradient; 0 for no clipping."""
    weight_decay: float = Field(default=0.0, ge=0)
    """That of AdamW."""
    normalise: Literal["batch", "micro_batch", "sequence"] = "batch"
    """How a step's loss is the mean over labels (answer tokens). batch: over all of the step; micro_batch: of the
    micro-batches' means, as transformers did before 4.46; sequence: of the rows' means."""
    forget_kl: float = Field(default=0.0, ge=0)
    """Weight of KL(reference || model), a mean over all positions of the forget rows but padding (of a stage, of its
    rows); the reference is the model before this training."""
    stop_forget_nll: float = Field(default=0.0, ge=0)
    """A cell stops when the mean forget loss of a step exceeds this, in nats a label; 0 for never. Not for stages."""
    diverged_nll: float = Field(default=2.0, ge=0)
    """A cell has diverged, and stops, when the mean loss of a step's rows to keep (of a stage and TaskVector, to learn)
    exceeds this many times ln(vocabulary), the loss of guessing; 0 for never. The cell is then measured as it is; a
    stage fails. A high forget loss is no divergence: gradient ascent is meant to raise it, and a destroyed model is a
    result."""
    diverged_norm: float = Field(default=1e6, ge=0)
    """The same when the norm of a step's gradient before clipping exceeds this."""

    @model_validator(mode="after")
    def _reaches_the_rate(self) -> Optimisation:
        self.expect_warm()
        return self

    def expect_warm(self) -> None:
        """Raise ValueError where the warm-up is not over before the epochs are: no step would have the rate."""
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs = {self.warmup_epochs:g} leaves nothing of the training, epochs = {self.epochs}"
            )

    def without_effect(self) -> set[str]:
        """Settings that change no number of a cell with these values, and so are no part of its identity."""
        # The size of micro-batches changes numbers only where the loss is normalised over them.
        return {"micro_batch"} if self.normalise != "micro_batch" else set()
