"""Postgres: the only importer of asyncpg.

One .sql and one .py a table.  Locks are taken in one order everywhere: subscriptions by key, then
organizations by id.
"""
