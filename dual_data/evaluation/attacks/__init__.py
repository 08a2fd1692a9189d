"""Attacks: ways to elicit facts that a model should have forgotten, and to detect that they were removed.

relearning     quantisation: attacks that change the model; recovery: how much of what was forgotten they bring back
membership     posterior: attacks that read the scores of results
lm_eval_tasks  lm_eval_model: what unlearning cost, by tasks of lm-eval
files          the results of attacks on a cell
"""
