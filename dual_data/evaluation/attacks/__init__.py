"""Attacks: ways to get a fact out of a model that is said to have forgotten it, and to see that it was removed."""
