"""Attacks that need the model, on the cells that a grid's report shows: `dual-data eval attack`.

targets        the cells to attack, and which attacks they lack
forecast       what these will take
run            loads each model once and every cell's adapter onto it
runners        the attacks by name, each on one cell with its model
relearning     quantisation: attacks that change the model
lm_eval_tasks  lm_eval_model: what unlearning cost, by tasks of lm-eval

Elsewhere: attack prompts, which a grid asks when it measures a cell (rows/attack_prompts), attacks that read the
scores of results alone (membership and posterior in report/analysis), and the files of results (attack_results).
"""
