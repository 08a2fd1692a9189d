"""Which packages are installed, and in which versions, told without importing them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

from dual_data.errors import MissingExtra


def expect_installed(extra: str, *packages: str) -> None:
    """Raise MissingExtra for the first of `packages`, which are names to import, that is not installed."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package.replace("_", "-"), extra)


def not_installed(extra: str, *packages: str) -> str:
    """The message of that error; empty where all are installed."""
    try:
        expect_installed(extra, *packages)
    except MissingExtra as error:
        return str(error)
    return ""


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions by name of the packages that are installed."""
    installed = {}
    for name in packages:
        with suppress(PackageNotFoundError):
            installed[name] = version(name)
    return installed
