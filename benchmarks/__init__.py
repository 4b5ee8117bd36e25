"""Benchmarks of the worker, with two baselines on the same servers: `python -m benchmarks`.

For each workload three contenders run in turn: `ours` (the product's own command), `floor` (the
least code that reads and writes the same rows and bytes, without any rule) and `naive` (one
message, one handler, one transaction).
"""
