"""Runs a pipeline: its stages, the reasons why they must run, their tables and manifests."""
