"""Maintainers' scripts; none of them is installed."""
