"""Devices: which there are, what fits on them, and bitwise repeatable training.

devices      the devices that a user names, and how many rows and cells suit them
memory       out of memory: what says so, and what to try
repeatable   deterministic gradients; draws: random numbers that no device changes
sharding     processes that share a model on several devices
"""
