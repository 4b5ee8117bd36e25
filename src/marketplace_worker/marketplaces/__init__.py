"""What the marketplaces say, in our words: one translator each, bytes in, facts out.

Each module has `translate(record)` and knows one marketplace; none knows another (marketplaces.md).
"""
