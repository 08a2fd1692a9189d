"""Training of several cells at once on one frozen base.

train        the loop: forward pass and loss of a method, backward pass, optimiser
lora  full   what is trained: low-rank adapters, or all weights
reference    outputs of the model before unlearning for the rows, computed once
cuda_graph   steps recorded and replayed
fine_tune    the loss of training stages and of relearning
"""
