"""Policies that are drawn: anything that an operator may write down."""

from datetime import timedelta

from hypothesis import strategies as st

from marketplace_worker.contract.policy_file import DURATION_MAX
from marketplace_worker.lifecycle.policy import (
    FEED_GAP_MIN,
    FLOOR,
    AzureReinstatement,
    Grace,
    Guard,
    Inactivity,
    MinimumDwell,
    NoticeLead,
    Policy,
    Reinstatement,
    Timeline,
)

TICK = timedelta(microseconds=1)
DURATIONS = st.timedeltas(TICK, DURATION_MAX) | st.integers(1, 400).map(
    lambda hours: timedelta(hours=hours)
)
VERSIONS = st.from_regex(r"[!-~]([ -~]{0,98}[!-~])?", fullmatch=True).filter(
    lambda version: version != "default"
)


@st.composite
def timelines(draw: st.DrawFn) -> Timeline:
    """Steps in order, the last one above the floor."""
    steps = sorted(draw(st.sets(DURATIONS, min_size=3, max_size=3)))
    last = max(steps[2], FLOOR, steps[1] + TICK)
    return Timeline(steps[0], min(steps[1], DURATION_MAX - TICK), min(last, DURATION_MAX))


POLICIES = st.builds(
    Policy,
    version=VERSIONS,
    payg=timelines(),
    commit=timelines(),
    minimum_dwell=st.builds(MinimumDwell, DURATIONS, DURATIONS, DURATIONS),
    notice=st.builds(NoticeLead, DURATIONS, DURATIONS, DURATIONS),
    inactivity=st.builds(
        Inactivity, DURATIONS, DURATIONS, st.timedeltas(FEED_GAP_MIN, DURATION_MAX)
    ),
    reinstatement=st.builds(Reinstatement, st.booleans(), st.sampled_from(AzureReinstatement)),
    grace=st.builds(Grace, DURATIONS, DURATIONS),
    guard=st.builds(
        Guard,
        st.integers(0, 10**9),
        st.floats(0, 1),
        st.floats(0, 1),
        st.integers(0, 10**9),
        st.integers(0, 10**9),
    ),
).filter(lambda policy: not list(policy.problems()))
"""Policies that no loader refuses, of a version that a file may have."""
