"""Measures the worker against yardsticks on the same servers: `python -m benchmarks`.

Of each work there are three contenders, which take turns: `ours` (the product's own command),
`floor` (the least code that reads and writes the same rows and bytes, without any rule) and `naive`
(one message, one handler, one transaction).
"""
