"""Attacks: ways to elicit facts that a model should have forgotten, and to detect that they were removed."""
