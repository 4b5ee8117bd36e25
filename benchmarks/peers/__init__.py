"""Other stream processors, which count the same usage events: `python -m benchmarks.peers`.

Each has its own module, `with_*.py`, which runs in an environment of its own, as their dependencies
exclude one another.
"""
