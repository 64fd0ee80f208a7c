"""A module per kind of connector, named like its type, whose `read` gives the rows of a source.

A reader is handed an `Opener` and opens nothing in any other way: what it reaches is granted to the
tenant. `include.ingestion.reading` numbers, filters and counts the rows it gives, and words what it
raises without secrets.
"""
