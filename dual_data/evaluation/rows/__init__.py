"""Rows of questions and answers, and their way into tensors.

data         questions, answers, token ids, and where the answer begins
schedule     in which order rows are trained on, and how the learning rate runs
packing      rows of a training step side by side, without padding
panel        questions about other things: what is left of a model
workload     all that a cell is asked: questions, paraphrases, distractors, attack_prompts -> request
"""
