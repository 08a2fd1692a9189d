"""Builds the data snapshot that ships in dual_data.sources.embedded; see scripts/build_embedded.py."""
