"""Postgres and Kafka as child processes, for the demo, for `run --embedded` and for the tests.

Not needed in production.  The extra `embedded` brings the binaries.  A server writes only to the
folder that it is given, and runs only inside its `async with`.
"""
