"""Whether the packages of an extra are installed, told without importing them."""

from __future__ import annotations

import importlib.util

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
