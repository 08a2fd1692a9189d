"""How facts are asked: the wordings of a relation, and which of them give the answer away (leaks)."""
