"""A cell's answers and their likelihoods: every question of every set in one pass.

measure      a workload through an engine -> rows with scores, and their means (metrics/ has the formulas)
engine       which engine serves a model: stream, the fast one, or plain, through the model's own `generate`
stream       prompts once, then forced (given answers) and generate (greedy ones) from their keys and values
score        from logits to figures of a token; hidden, embedding: from hidden states and sentences
"""
