"""Question-answer rows and how they become tensors.

data         questions and answers, read from a table; encoding: their token ids, and where the answer begins
packing      the rows of a training step in shared sequences, with little padding
panel        questions about other topics: what a model can still do; attack_prompts: a fact's question in other words
request      what a model is asked, and what it answered
"""
