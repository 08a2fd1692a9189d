"""Training of several cells at once on one frozen base.

train        cells -> their traces; training_run: its state and steps, and what happened to a cell
optimisation settings of training; schedule: the order of rows, and the learning rate at each step
limits       when a cell is stopped early
lora  full   what is trained: low-rank adapters, or all weights
method_code  calls of a method's code; trial: what is checked of it, on made-up outputs before a model is loaded
reference    outputs of the model before unlearning for the rows, computed once
forward      hidden states of packed rows; optimiser: AdamW over all cells
cuda_graph   steps recorded and replayed
fine_tune    the loss of training stages and of relearning
"""
