"""Benchmarks: each package measures one part of the project and prints its tables."""
