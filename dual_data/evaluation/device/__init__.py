"""Devices: which there are, what fits on them, and bitwise repeatable training.

devices      the devices that a user names, and how many rows and cells suit them
memory       out of memory: try again with half the rows
repeatable   deterministic gradients
sharding     processes that share a model on several devices
"""
