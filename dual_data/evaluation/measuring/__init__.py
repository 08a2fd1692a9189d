"""A cell's answers and their likelihoods: every question of every set in one pass.

measure      a workload through an engine -> rows with scores, and their means (metrics/ has the formulas)
open_engine  which engine serves a model: fast, or plain, through the model's own `generate`
fast         prompts once, then teacher_forcing (given answers) and decoding (greedy ones) on their static_cache
score        from logits to figures of a token; hidden, embedding: from hidden states and sentences
"""
