"""A small Wikidata and Wikipedia for the real servers that the tests run."""
