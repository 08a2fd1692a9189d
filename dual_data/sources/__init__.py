"""Where facts, counts and judgements come from: the only users of the services' clients.

wikidata/    statements from a SPARQL endpoint        wikipedia/   inbound links from the Action API
tables/      triplets from CSV or Parquet files       dumps/       both of them from dumps, without a service
embedded/    a small graph that ships                 chat/        models that answer, on a server or in this process
assembly     statements and entities of any source -> facts; values: their objects
etiquette    who asks, and how long to wait when told to
"""
