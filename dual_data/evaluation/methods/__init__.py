"""Unlearning methods: one small file each. A file in this folder is all that a method needs to be known by its name."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from pkgutil import iter_modules

from dual_data.errors import UsageError
from dual_data.evaluation.methods.base import Method


def _found() -> Iterator[Method]:
    for module in sorted(iter_modules(__path__)):
        for value in vars(import_module(f"{__name__}.{module.name}")).values():
            if isinstance(value, Method):
                yield value


METHODS: Mapping[str, Method] = {method.name: method for method in _found()}
"""By name; whatever the modules of this package define."""


def method_named(name: str) -> Method:
    """The method of that name. Raises UsageError naming the known ones."""
    if name not in METHODS:
        raise UsageError(f"unknown method {name!r}; known: {', '.join(METHODS)}")
    return METHODS[name]
