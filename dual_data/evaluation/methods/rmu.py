"""RMU: steer the hidden states of forget rows to a random direction, keep those of retain rows."""

from functools import lru_cache

import torch
from torch import Tensor

from dual_data.evaluation.methods.base import Batch, Loss, Method, Outputs


def loss(
    batch: Batch,
    policy: Outputs,
    reference: Outputs,
    *,
    layer: int = 7,
    steering: float = 2.0,
    alpha: float = 1.0,
    direction_seed: int = 0,
) -> Loss:
    """L = mean_t MSE(h(x_f), steering u) + alpha mean_t MSE(h(x_r), h_ref(x_r)) at the answer tokens; h is the output
    of `layer`, and u the random unit vector of `direction_seed`.

    The components of u are drawn around 0; drawn from [0, 1), it would be nearly the same for every seed. Layers after
    `layer` are not run.
    """
    hidden = policy.forget.hidden
    target = steering * direction(hidden.shape[-1], direction_seed, hidden.device)
    forget = batch.forget.token_mean((hidden - target).square().mean(-1))
    retain = batch.retain.token_mean((policy.retain.hidden - reference.retain.hidden).square().mean(-1))
    return Loss(forget + alpha * retain, {"forget": forget, "retain": retain})


@lru_cache(maxsize=8)
def direction(width: int, seed: int, device: torch.device | None = None) -> Tensor:
    """A random unit vector [width], the same for a seed on any device.

    Drawn once and cached on the device: a recorded step can neither draw nor copy from the host.
    """
    vector = torch.randn(width, generator=torch.Generator().manual_seed(seed))
    unit: Tensor = vector / vector.norm()
    return unit.to(device)


METHOD = Method(
    "RMU",
    loss,
    "Li et al. 2024, arXiv 2403.03218; constants of open-unlearning",
    reference=frozenset({"retain"}),
    at_layer=True,
)
