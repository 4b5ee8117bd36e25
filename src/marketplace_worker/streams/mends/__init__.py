"""Corrections of aiokafka and FastStream: everything that replaces, or reaches into, their
parts.

Each module says which version it corrects, the upstream issue where one exists, and when it can be
removed.  `membership.py` beside this package reads aiokafka's internal state, and changes nothing.

| module | corrects |
|---|---|
| `connections` | credentials that rotate, connections that break, refused tokens, created topics |
| `compression` | gzip at its slowest level |
| `record_batches`, `decompression` | batches that aiokafka cannot read, or that are too large |
| `partition_state` | positions that are reset without notice |
| `batch_message` | a commit that blocks, a nack that fails |
| `stopping` | stops without a bound |
| `admin` | missing requests of the admin client |
"""

CHECKED_WITH = {"aiokafka": "0.14.0", "faststream": "0.7.8"}
"""The versions with which all corrections were last checked; a test compares them with the lock
file. Before changing one, compare each module of this package with the new version.
"""
