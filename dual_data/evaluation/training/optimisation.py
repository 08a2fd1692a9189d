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
    """Passes over the forget rows, or over all rows of a stage."""
    batch: int = Field(default=32, ge=1)
    """Forget rows per optimiser step; a method with retain rows takes as many of those."""
    micro_batch: int = Field(default=0, ge=0)
    """Forget rows per forward pass; 0 for the whole batch. The loss depends on it only with normalise = micro_batch."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """How the learning rate goes on after the warm-up: linear and cosine decay to 0."""
    warmup_epochs: float = Field(default=0.0, ge=0)
    """Epochs, or parts of one, in which the learning rate grows from 0."""
    clip: float = Field(default=1.0, ge=0)
    """Largest norm of a cell's gradient; 0 for no clipping."""
    weight_decay: float = Field(default=0.0, ge=0)
    """That of AdamW."""
    normalise: Literal["batch", "micro_batch", "sequence"] = "batch"
    """The mean over labels: over all labels of the step, of the micro-batches' means (as transformers did before 4.46),
    or over rows of each row's mean."""
    forget_kl: float = Field(default=0.0, ge=0)
    """Weight of KL(reference || model) over all positions of the forget rows except padding (preset `early`)."""
    stop_forget_nll: float = Field(default=0.0, ge=0)
    """A cell stops when the mean forget loss of a step exceeds this; 0 for never."""
    diverged_nll: float = Field(default=2.0, ge=0)
    """A cell has diverged, and stops, when the mean loss of the rows that it keeps or learns exceeds this many times
    ln(vocabulary), the loss of guessing; 0 for never. A high forget loss is no divergence: gradient ascent is meant to
    raise it, and a destroyed model is a result."""
    diverged_norm: float = Field(default=1e6, ge=0)
    """The same when the norm of a cell's gradient before clipping exceeds this; 0 for never."""

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
