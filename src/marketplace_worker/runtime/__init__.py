"""What the steps share (the unit of work, parsing, counting) and what runs them (loops, probes).

It imports no step.
"""
