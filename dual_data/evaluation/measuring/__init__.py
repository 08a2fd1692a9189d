"""A cell's answers and their likelihoods, for every question of every set.

workload     everything that a cell is asked: questions, paraphrases, distractors, attack prompts
measure      runs a workload through an engine -> rows with scores, and their means (metrics/ has the formulas)
open_engine  chooses the engine for a model: fast, or plain, which uses the model's own `generate`
fast         prompts once, then teacher_forcing (given answers) and decoding (greedy answers) on their static_cache
own_words    right answers where a model gave them, after the words that it put before
score        from logits to per-token figures; hidden, embedding: from hidden states and sentences
engine       what both engines share
local_model  a model as the probe and the judge of a build
"""
