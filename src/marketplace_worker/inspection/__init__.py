"""What operators ask the database: it is read, at one moment, and never written.

Each module answers one question with values; the commands print them.
"""
