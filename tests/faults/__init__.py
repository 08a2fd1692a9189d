"""Faults on purpose: what real services do on a bad day."""
