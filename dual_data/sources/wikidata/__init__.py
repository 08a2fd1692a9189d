"""Facts from Wikidata, or any SPARQL endpoint with its data model.

statements   statements and entities of topics and relations
queries      their SPARQL, in batches that halve themselves; asking: batches through the call log
sparql       one query in, whole and checked rows out
"""
