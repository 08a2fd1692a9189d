"""Facts from tables of triplets that a user has.

files        a folder of CSV or Parquet files, read strictly
triplets     tables as statements, with Wikidata ids or with labels alone
resolution   ids for labels, where there is no doubt
"""

SOURCES = ("tables", "labels", "resolve")
"""Values of `source` under [facts] of a profile whose facts are in such tables."""
