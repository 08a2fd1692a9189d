"""A key-value cache of fixed shape, and masks for rows that share a prefix and have padding after it.

Columns of a batch: [shared prefix | padding | own part of the prompt | answer]. Prompts are aligned at their right end,
so every row writes its next token to the same column; positions are passed explicitly, so padding changes nothing. CUDA
graphs need fixed shapes, and the prefix is computed once for all rows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class StaticCache:
    """Keys and values of every layer, [rows, heads, width, size]; allocated at the first write.

    It replaces the cache of transformers models, which call only `update` when mask and positions are given.
    """

    def __init__(self, rows: int, width: int) -> None:
        self.rows, self.width = rows, width
        self.stores: dict[tuple[int, str], Tensor] = {}
        """By layer, and "keys" or "values"."""
        self.columns = torch.zeros(1, dtype=torch.long)
        """Columns of the next write, one per token."""
        self.visible = width
        """Number of columns that attention sees, which must equal the mask's."""

    def at(self, columns: Tensor, visible: int) -> StaticCache:
        """This cache, set to write the next forward pass to `columns` and to show the first `visible` ones."""
        self.columns, self.visible = columns, visible
        return self

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write the new keys and values of a layer. Returns all visible ones."""
        return self._write((layer, "keys"), keys), self._write((layer, "values"), values)

    def _write(self, key: tuple[int, str], new: Tensor) -> Tensor:
        store = self._store(key, new).index_copy_(2, self.columns, new)
        return store if self.visible == self.width else store[:, :, : self.visible]

    def _store(self, key: tuple[int, str], like: Tensor) -> Tensor:
        """The keys or the values of a layer, allocated at the first write."""
        if key not in self.stores:
            self.stores[key] = like.new_zeros(self.rows, like.shape[1], self.width, like.shape[3])
        return self.stores[key]

    def clear(self) -> None:
        """Zero all keys and values in place. Masked columns matter too: NaN plus a mask, or times 0, is NaN.

        It costs one write of the memory that every decoding step reads.
        """
        for tensor in self.stores.values():
            tensor.zero_()

    def get_seq_length(self, *_: Any) -> int:
        """Called by transformers to position tokens; positions are always passed, so nothing depends on it."""
        return 0

    def take_prefix(self, prefix: StaticCache) -> None:
        """Fill the first columns of all rows from a cache with one row per cell; rows are grouped by cell."""
        for key, source in prefix.stores.items():
            target = self._store(key, source)
            target.view(len(source), -1, *target.shape[1:])[:, :, :, : prefix.width] = source[:, None]

    def take_rows(self, other: StaticCache, rows: Tensor) -> None:
        """Fill all rows from `rows` of another cache of the same width; this one may be its `beginning`."""
        for key, source in other.stores.items():
            picked = source.index_select(0, rows)
            if key in self.stores:
                self.stores[key].copy_(picked)
            else:
                self.stores[key] = picked

    def beginning(self, rows: int) -> StaticCache:
        """A cache that shares the memory of this one's first rows: writing to one writes to the other."""
        other = StaticCache(rows, self.width)
        other.stores = {key: store[:rows] for key, store in self.stores.items()}
        return other

    def branch(self, rows: Tensor, columns: int, more: int) -> StaticCache:
        """A new cache of `rows` with a copy of their first `columns` and space for `more`."""
        other = StaticCache(len(rows), columns + more)
        for key, source in self.stores.items():
            copy = source.new_empty(len(rows), source.shape[1], columns + more, source.shape[3])
            copy[:, :, :columns] = source[:, :, :columns].index_select(0, rows)
            other.stores[key] = copy
        return other

    def take_columns(self, other: StaticCache, rows: Tensor, start: int, column: int) -> None:
        """Copy the columns of another cache from `start` on into `rows` of this one, from `column` on."""
        for key, source in other.stores.items():
            target = self._store(key, source)
            target[:, :, column : column + other.width - start].index_copy_(0, rows, source[:, :, start:])


def prompt_mask(prefix: int, pads: Tensor, length: int) -> Tensor:
    """[rows, 1, length, prefix + length], true where a prompt's own token may attend: to the prefix and backwards.

    A padding token attends to itself, because a softmax row must not be empty; no other token attends to it.
    """
    query = torch.arange(length, device=pads.device)
    own = (query[None, :] <= query[:, None])[None] & (query[None, None, :] >= pads[:, None, None])
    own = own | torch.eye(length, dtype=torch.bool, device=pads.device)
    return torch.nn.functional.pad(own, (prefix, 0), value=True)[:, None]


def prompt_seen(prefix: int, pads: Tensor, length: int) -> Tensor:
    """[rows, prefix + length], true where a prompt has a token."""
    own = torch.arange(length, device=pads.device)[None, :] >= pads[:, None]
    return torch.nn.functional.pad(own, (prefix, 0), value=True)


def answers_mask(seen: Tensor, segments: Tensor) -> Tensor:
    """[rows, 1, answers, prompt + answers], true where a token may attend: to the prompt and its own answer.

    `seen` [rows, prompt] is true where the prompt has a token; `segments` [rows, answers] is each token's answer.
    """
    own = segments[:, :, None] == segments[:, None, :]
    causal = torch.ones(own.shape[1:], dtype=torch.bool, device=own.device).tril()
    return torch.cat([seen[:, None, :].expand(-1, own.shape[1], -1), own & causal], dim=2)[:, None]
