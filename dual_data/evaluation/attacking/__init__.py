"""Attacks that need the model, on the cells that a grid's report shows: relearning, quantisation, tasks of lm-eval.

targets    the cells to attack, and which attacks they lack
forecast   what these will take
run        loads each model once and every cell's adapter onto it
cell       the attacks on one cell
"""
