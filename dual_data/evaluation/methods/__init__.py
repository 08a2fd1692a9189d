"""Unlearning methods: one small file each, and this table."""

from collections.abc import Mapping

from dual_data.errors import UsageError
from dual_data.evaluation.methods import (
    adapop,
    dpo,
    grad_ascent,
    grad_diff,
    grad_diff_kl,
    jensun,
    npo,
    rmu,
    simnpo,
    undial,
    wga,
)
from dual_data.evaluation.methods.base import Method

METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        grad_ascent.METHOD,
        grad_diff.METHOD,
        grad_diff_kl.METHOD,
        npo.METHOD,
        simnpo.METHOD,
        dpo.DPO,
        dpo.IDK_DPO,
        rmu.METHOD,
        undial.METHOD,
        wga.METHOD,
        adapop.METHOD,
        jensun.METHOD,
    )
}


def method_named(name: str) -> Method:
    """The method of that name. Raises UsageError naming the known ones."""
    if name not in METHODS:
        raise UsageError(f"unknown method {name!r}; known: {', '.join(METHODS)}")
    return METHODS[name]
