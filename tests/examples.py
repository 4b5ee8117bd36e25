"""How many examples Hypothesis draws: the profile of the run says it.

| profile | who uses it | part of a test's own number |
|---|---|---|
| `everyday` | `make test`; also where none is chosen | a tenth |
| `fast` | `make test-fast` | a twentieth, always the same examples |
| `all` | `make test-laws`, CI | all |
| `long` | `make laws` | all, and 4,000 where a test has no number of its own |
"""

from hypothesis import settings

ALL = 100
"""Hypothesis's own number, for a test that has none: the profiles are relative to it."""

settings.register_profile("everyday", max_examples=10)
settings.register_profile("fast", max_examples=5, derandomize=True, database=None)
settings.register_profile("all", max_examples=ALL)
settings.register_profile("long", max_examples=4_000, print_blob=True)


def use_everyday_profile() -> None:
    """Make `everyday` the profile, unless a plugin has chosen another already."""
    if settings.get_current_profile_name() == "default":
        settings.load_profile("everyday")


def examples(number: int) -> int:
    """The part of `number` that the profile allows: never more than `number`, and at least 1."""
    allowed = settings().max_examples
    return max(1, number * min(allowed, ALL) // ALL)
