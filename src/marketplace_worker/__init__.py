"""marketplace-worker: acts on what happens to customers' marketplace subscriptions.

The architecture in one page: docs/architecture.md.
"""
