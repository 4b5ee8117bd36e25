"""Reports for operators, read from the database in one snapshot.  Nothing is written.

Each module answers one question with values; the commands print them.
"""
