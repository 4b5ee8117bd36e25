"""The business, whole and pure: facts in, decisions out.

No clock, no I/O, no settings, no log: what is needed is an argument, what is decided is returned.
"""
