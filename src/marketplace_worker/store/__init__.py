"""Access to Postgres; the only package that imports asyncpg.

Each table has a .sql and a .py file; `working_set` loads everything that one transaction decides
on.  All transactions take locks in one order: the read progress of activity, billing accounts,
subscriptions by key, organizations by id, activity by organization, and last the safeguards.
"""
