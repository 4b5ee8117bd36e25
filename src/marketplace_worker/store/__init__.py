"""Postgres: the only importer of asyncpg.

One .sql and one .py a table; `working_set` puts together what one transaction decides on.  Locks
are taken in one order everywhere: how far activity was counted, billing accounts, subscriptions by
key, organizations by id, activity by organization, and last the safeguards.
"""
