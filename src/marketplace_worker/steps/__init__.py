"""What the worker does, over and over: each step is one transaction.

The steps do not know one another; they meet only in Postgres.
"""
