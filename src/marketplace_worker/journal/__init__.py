"""The journal as values: its rows, their hash chain, and the state that a replay of them yields.

Pure; the table is in `store.journal`.
"""
