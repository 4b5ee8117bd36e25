"""The journal as values: its rows, the hash chain over them, and what they come to when replayed.

Pure; the table is in `store.journal`.
"""
