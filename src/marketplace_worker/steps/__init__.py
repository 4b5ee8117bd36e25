"""The steps of the worker: each is one transaction, which a loop repeats.

Steps do not import one another; they share state only through Postgres.  Parts that several steps
need are in `runtime`.
"""
