"""A study of unlearning in which country a city is: facts that a small model knows from pretraining."""
