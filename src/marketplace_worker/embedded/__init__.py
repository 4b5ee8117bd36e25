"""Postgres and Kafka as child processes, for the demo, for `run --embedded` and for the tests.

Nothing here is needed in production.  The binaries come with the extra `embedded`; a server keeps
everything in the folder it is given and lives only inside its `async with`.
"""
