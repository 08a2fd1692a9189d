"""Calls of the code of a method: its constants."""

from __future__ import annotations

import pytest
import torch

from dual_data.errors import UsageError
from dual_data.evaluation.methods import METHODS
from dual_data.evaluation.methods.base import Facts, Method
from dual_data.evaluation.training.method_code import constants_of

FACTS = Facts([[5], [5, 6, 7]], [1, 2], [None, None], lambda _: [])


def _with_constants(expression: str) -> Method:
    return METHODS["NPO"]._replace(constants=lambda facts: {"one": eval(expression, {"torch": torch, "facts": facts})})


@pytest.mark.parametrize(
    "constants",
    ["[1.0] * len(facts.labels)", "[[1] * len(row) for row in facts.labels]", "torch.ones(len(facts.labels))"],
)
def test_a_constant_is_a_number_of_a_row_or_of_each_label(constants: str) -> None:
    made = constants_of(_with_constants(constants), FACTS)
    assert made == {"one": [[1.0], [1.0, 1.0, 1.0]]}


@pytest.mark.parametrize(
    "constants", ["[1.0]", "[1.0, None]", "[[1.0], 'abc']", "[[1.0], [1.0, 1.0]]", "[[1.0], [1.0, 1.0, None]]"]
)
def test_constants_of_another_shape_are_told(constants: str) -> None:
    message = "ValueError: one is neither one number per forget row nor one list per forget row with one number per"
    with pytest.raises(UsageError, match=message):
        constants_of(_with_constants(constants), FACTS)
