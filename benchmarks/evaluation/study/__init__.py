"""A study of which country a city is in: facts that a small model learned in pretraining, and what unlearning does."""
