"""Modules of a checkout of open-unlearning, for tests that compare with them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from dual_data.evaluation.rows.encoding import Encoded
from tests.reference import OPEN_UNLEARNING

_NO_LABEL = -100


@contextmanager
def their_packages(
    monkeypatch: pytest.MonkeyPatch, packages: Sequence[str], stubs: Mapping[str, Mapping[str, Any]]
) -> Iterator[None]:
    """Make modules of `packages` importable without running the packages' own files, which import all the others.

    `stubs` are the names in modules that take the place of theirs, or of libraries that need not be installed.
    """
    before = set(sys.modules)
    sources = Path(OPEN_UNLEARNING) / "src"
    monkeypatch.syspath_prepend(str(sources))
    for package in packages:
        module = ModuleType(package)
        module.__path__ = [str(sources / package.replace(".", "/"))]
        monkeypatch.setitem(sys.modules, package, module)
    for name, content in stubs.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    yield
    roots = {name.split(".")[0] for name in (*packages, *stubs)}
    for name in set(sys.modules) - before:
        if name.split(".")[0] in roots:
            del sys.modules[name]


def padded(rows: Sequence[Encoded]) -> dict[str, Tensor]:
    """Rows as their collator gives them: filled up on the right, with labels at the answers."""
    width = max(len(row.prompt_ids + row.answer_ids + row.end_ids) for row in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, _NO_LABEL)
    for number, row in enumerate(rows):
        tokens = torch.tensor(row.prompt_ids + row.answer_ids + row.end_ids)
        ids[number, : len(tokens)] = tokens
        mask[number, : len(tokens)] = 1
        labels[number, len(row.prompt_ids) : len(tokens)] = tokens[len(row.prompt_ids) :]
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}
