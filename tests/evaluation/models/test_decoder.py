"""The parts of a model."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dual_data.errors import UsageError
from dual_data.evaluation.models.decoder import check_head, head, last_hidden
from dual_data.evaluation.models.tiny import ARCHITECTURES, tiny


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("rows", [1, 3])
def test_body_and_head_apart_give_the_models_own_logits(architecture: str, rows: int) -> None:
    model: Any = tiny(architecture).model
    ids = torch.arange(3, 3 + 8 * rows).view(rows, 8)
    assert torch.allclose(head(model, last_hidden(model, ids)), model(input_ids=ids).logits, atol=1e-5)


def test_a_model_that_does_more_to_its_logits_is_refused() -> None:
    model: Any = tiny().model
    model.lm_head.register_forward_hook(lambda module, args, output: output)
    model.register_forward_hook(lambda module, args, output: output.__setitem__("logits", output.logits.flip(-1)))
    with pytest.raises(UsageError, match="changes its logits in a way"):
        check_head(model)


def test_a_damaged_model_is_refused() -> None:
    model: Any = tiny().model
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[0] = torch.nan
    with pytest.raises(
        UsageError, match="gives logits that are no finite numbers before it is trained: its checkpoint"
    ):
        check_head(model)


def test_a_model_whose_body_is_not_found_is_refused() -> None:
    model: Any = tiny().model
    model.base_model_prefix = "language_model"  # as of Llama 4, which calls it `model`
    with pytest.raises(UsageError, match="LlamaForCausalLM keeps its body in an unknown place"):
        check_head(model)
