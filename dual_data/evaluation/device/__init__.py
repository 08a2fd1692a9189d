"""What a device can do: how many there are, what fits, and what it repeats to the bit.

devices      the devices that a user names, and how many rows and cells suit them
memory       out of memory: again with half the rows
repeatable   gradients added in one order
sharding     one model over several devices
"""
