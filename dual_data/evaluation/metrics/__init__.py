"""Metrics as pure functions on strings and numbers; none of them imports torch."""
