"""Unlearning methods, one small file each. A method needs no more than its file in this folder to be known by name."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from pkgutil import iter_modules

from dual_data.errors import UsageError
from dual_data.evaluation.methods.base import Method


def _discover() -> Iterator[Method]:
    for module in sorted(iter_modules(__path__)):
        for value in vars(import_module(f"{__name__}.{module.name}")).values():
            if isinstance(value, Method):
                yield value


METHODS: Mapping[str, Method] = {method.name: method for method in _discover()}
"""All methods that modules of this package define, by name."""


def method_named(name: str) -> Method:
    """The method called `name`. Raises UsageError that lists the known ones."""
    if name not in METHODS:
        raise UsageError(f"unknown method {name!r}; known: {', '.join(METHODS)}")
    return METHODS[name]
