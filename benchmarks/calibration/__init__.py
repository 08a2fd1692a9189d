"""How often the intervals of the report hold the truth."""
