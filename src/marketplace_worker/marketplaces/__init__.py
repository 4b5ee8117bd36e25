"""The translators of the marketplaces' notifications to facts.

Each module has `recognize(fields)` and `translate(payload)`, and knows one marketplace
(marketplaces.md).
"""
