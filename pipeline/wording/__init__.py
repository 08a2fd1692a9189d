"""How facts are asked: the wordings of a relation, and those that give their answer away (leaks)."""
