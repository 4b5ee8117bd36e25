"""Postgres and Kafka as child processes, for the demo, for `run --embedded` and for the tests.

Not needed in production.  The extra `embedded` provides the binaries.  A server writes only to its
own folder, and runs only inside its `async with`.
"""
