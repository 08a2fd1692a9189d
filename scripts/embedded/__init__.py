"""The build of the data snapshot in dual_data.sources.embedded; see scripts/build_embedded.py."""
