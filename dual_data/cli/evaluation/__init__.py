"""`dual-data eval`."""
