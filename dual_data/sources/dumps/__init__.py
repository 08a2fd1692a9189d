"""Wikidata and Wikipedia from their dumps: no endpoint, no limits.

    files      which dump a file is, and its text as a stream, whatever it is compressed with
    params     what a profile says about reading dumps
    sql        mysqldump's INSERT lines, exactly; sql_frames the same as frames, fast
    kept       what is kept of each SQL table
    triples    what is kept of N-Triples
    imports    every file once into sharded Parquet, whole or not at all, going on where it stopped
    manifests  what an import says about itself, sealed
    engines    the imported tables as lazy frames of polars or of Spark
    links      inbound links per item, from Wikipedia's tables
    wikidata   statements and entities, from Wikidata's truthy statements
    fetch      downloading: resumable, checked
    ahead      parsing the next blocks in threads

Relational logic is written once, in narwhals, and runs on both engines.
"""

MIRROR = "https://dumps.wikimedia.org"
