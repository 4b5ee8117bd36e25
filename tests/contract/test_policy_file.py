"""Loading and writing the policy file: accepted values, and refusals by line and field."""

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from policies import POLICIES
from pydantic_core import PydanticCustomError

from marketplace_worker.contract.policy_file import (
    DURATION_MAX,
    format_duration,
    load_policy,
    parse_duration,
    policy_to_toml,
)
from marketplace_worker.errors import Misconfigured
from marketplace_worker.lifecycle.policy import AzureReinstatement, Guard, MinimumDwell, Policy

DEFAULT = """\
version = "2026-11-22"
[timeline.payg]
control_plane_loss = "P1D"
suspended = "P7D"
deactivated = "P37D"
[timeline.commit]
control_plane_loss = "P3D"
suspended = "P14D"
deactivated = "P74D"
[minimum_dwell]
canceled = "PT1H"
control_plane_loss = "P1D"
suspended = "P7D"
[notice]                       # lead before the step
suspended = "P3D"
deactivated = "P7D"
inactivity = "P7D"
[inactivity]
no_login_for = "P30D"
billing_cycle = "P30D"
feed_max_gap = "P3D"
[reinstatement]
sign_in_required = true        # AWS, Google
azure = "support"              # or "automatic"
[grace]
max_extension = "P90D"
successor_within = "P7D"       # a superseded plan without a successor
[guard]
minimum = 50                   # steps an hour
fraction = 0.01                # of the organizations that are not deactivated
control_plane_fraction = 0.05  # the same, for entries into control_plane_loss
requested_per_hour = 20        # deactivations asked for, over the fleet
requested_per_person = 10      # the same, by one requester
"""
"""The example of lifecycle.md section 3, word for word."""


def refusal(text: str) -> str:
    """The error message of a refused file; fails if the file is accepted."""
    with pytest.raises(Misconfigured) as caught:
        load_policy(text)
    return str(caught.value)


def test_the_file_of_the_documentation_is_the_built_in_policy() -> None:
    """The page and the code must agree."""
    assert load_policy(DEFAULT) == replace(Policy(), version="2026-11-22")


def test_omitted_fields_keep_their_defaults() -> None:
    """An operator's file should contain only the operator's decisions."""
    policy = load_policy('version = "v"\n[minimum_dwell]\ncanceled = "PT2H"\n')
    assert policy == replace(
        Policy(), version="v", minimum_dwell=MinimumDwell(canceled=timedelta(hours=2))
    )


def test_every_field_of_the_file_reaches_the_policy() -> None:
    """Changing any value of the documented file changes the policy."""
    changes = {
        '"2026-11-22"': '"v"',
        '"P1D"': '"P2D"',
        '"P7D"': '"P8D"',
        '"P37D"': '"P38D"',
        '"P3D"': '"P4D"',
        '"P14D"': '"P15D"',
        '"P74D"': '"P75D"',
        '"PT1H"': '"PT2H"',
        '"P30D"': '"P31D"',
        '"P90D"': '"P91D"',
        "true": "false",
        '"support"': '"automatic"',
        "50": "51",
        "0.01": "0.02",
        "0.05": "0.06",
        "20": "21",
        "10": "11",
    }
    lines = DEFAULT.splitlines()
    seen = [load_policy(DEFAULT)]
    for number, line in enumerate(lines):
        if "=" not in line:
            continue
        key, _, value = line.partition("=")
        old = value.split("#")[0].strip()
        changed = [*lines]
        changed[number] = f"{key}= {changes[old]}"
        policy = load_policy("\n".join(changed))
        assert policy not in seen, line
        seen.append(policy)
    assert len(seen) == 1 + 25


def test_the_azure_switch_is_read() -> None:
    """Its text is converted to the enum that the rules compare with."""
    policy = load_policy('version = "v"\n[reinstatement]\nazure = "automatic"')
    assert policy.reinstatement.azure is AzureReinstatement.AUTOMATIC


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("P7D", timedelta(days=7)),
        ("PT1H", timedelta(hours=1)),
        ("PT1.5S", timedelta(seconds=1.5)),
        ("P1DT2H", timedelta(days=1, hours=2)),
        ("P2W", timedelta(weeks=2)),
        ("PT36H15M", timedelta(hours=36, minutes=15)),
        ("PT0.000001S", timedelta(microseconds=1)),
        ("P36500D", timedelta(days=36_500)),
    ],
)
def test_durations_are_read(text: str, duration: timedelta) -> None:
    """ISO 8601, up to the maximum."""
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "value",
    [
        "P1M", "P1Y", "P", "PT", "P1DT", "P1H", "7D", "-P1D", "P-1D", "p1d", "P1.5D", "PT1.5H",
        "PT1,5S", "P 1D", "P1D ", "", "P36500DT1S", "P9999999W", "P٣D", 7, None, True,
    ],
)  # fmt: skip
def test_durations_of_variable_length_are_refused(value: object) -> None:
    """A month has 28 to 31 days, and deletion must not depend on which."""
    with pytest.raises(PydanticCustomError):
        parse_duration(value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('deactivated = "P37D"', 'deactivated = "P2M"', "line 5: timeline.payg.deactivated must"),
        ('deactivated = "P74D"', "deactivated = 74", "line 9: timeline.commit.deactivated must"),
        ('suspended = "P7D"', 'suspended = "P37D"',
         "line 5: timeline.payg.deactivated must come after suspended"),
        ('control_plane_loss = "P1D"', 'control_plane_loss = "P7D"',
         "line 4: timeline.payg.suspended must come after control_plane_loss"),
        ('deactivated = "P37D"', 'deactivated = "P29DT23H59M59.999999S"',
         "line 5: timeline.payg.deactivated must be at least P30D"),
        ('deactivated = "P74D"', 'deactivated = "P29D"',
         "line 9: timeline.commit.deactivated must be at least P30D"),
        ('feed_max_gap = "P3D"', 'feed_max_gap = "PT23H59M"',
         "line 21: inactivity.feed_max_gap must be at least P1D"),
        ('canceled = "PT1H"', 'canceled = "PT0S"',
         "line 11: minimum_dwell.canceled must be positive"),
        ('canceled = "PT1H"', 'cancelled = "PT1H"',
         "line 11: minimum_dwell.cancelled is not a field of the policy"),
        ('inactivity = "P7D"', "inactivity = []", "line 17: notice.inactivity must"),
        ("[grace]", "[graces]", "line 25: graces is not a field of the policy"),
        ("sign_in_required = true", 'sign_in_required = "yes"',
         "line 23: reinstatement.sign_in_required must be a valid boolean"),
        ('azure = "support"', 'azure = "never"',
         "line 24: reinstatement.azure must be 'support' or 'automatic'"),
        ("minimum = 50", "minimum = -1", "line 29: guard.minimum must not be negative"),
        ("minimum = 50", "minimum = true", "line 29: guard.minimum must be a valid integer"),
        ("minimum = 50", "minimum = 0.5", "line 29: guard.minimum must be a valid integer"),
        ("fraction = 0.01", "fraction = 1.01", "line 30: guard.fraction must be from 0 to 1"),
        ("fraction = 0.01", "fraction = nan", "line 30: guard.fraction must be from 0 to 1"),
        ("fraction = 0.05", "fraction = 1.01",
         "line 31: guard.control_plane_fraction must be from 0 to 1"),
        ("hour = 20", "hour = -1", "line 32: guard.requested_per_hour must not be negative"),
        ("person = 10", "person = -1", "line 33: guard.requested_per_person must not be negative"),
        ("person = 10", "person = 0.5",
         "line 33: guard.requested_per_person must be a valid integer"),
        ('version = "2026-11-22"', "", "line 1: version is required"),
        ('version = "2026-11-22"', 'version = ""', "line 1: version must be"),
        ('version = "2026-11-22"', "version = 2026-11-22", "line 1: version must be"),
        ('version = "2026-11-22"', 'version = "default"', "line 1: version must not be the name"),
        ('version = "2026-11-22"', 'version = "a\\u0000"', "line 1: version must be"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_line_and_the_field(old: str, new: str, message: str) -> None:
    """An operator who starts a fleet gets a message that is sufficient to correct the file."""
    assert old in DEFAULT
    refused = refusal(DEFAULT.replace(old, new, 1))
    assert refused.startswith(f"policy file, {message}"), refused
    assert "\n" not in refused


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('version = "v"\n[guard\n', 2),
        ('version = "v"\nversion = "w"\n', 2),
        ('version = "v"\n\n[guard]\nminimum = \n', 4),
        ('version = "v"\n[guard]\nminimum = [1,\n2\n', 4),
        ("version", 1),
        ('version = "v"\n[guard]\nminimum = ' + "9" * 5000, 3),
        ("a = " + "[" * 100_000, 1),
    ],
)
def test_invalid_toml_is_refused_with_its_line(text: str, line: int) -> None:
    """Also where the parser reports only that the document ended."""
    refused = refusal(text)
    assert refused.startswith(f"policy file, line {line}: is not TOML")


def test_all_problems_are_listed_in_the_order_of_their_lines() -> None:
    """So that an operator can correct all of them at once."""
    text = DEFAULT.replace('"P1D"', '"P1M"').replace("minimum = 50", "minimal = 50")
    upside_down = 'version = "v"\n[guard]\nminimum = "x"\n[notice]\nsuspended = "x"\n'
    assert [line.split(":")[0] for line in refusal(upside_down).splitlines()] == [
        "policy file, line 3",
        "policy file, line 5",
    ]
    assert [line.split(" must")[0] for line in refusal(text).splitlines()] == [
        "policy file, line 3: timeline.payg.control_plane_loss",
        "policy file, line 12: minimum_dwell.control_plane_loss",
        "policy file, line 29: guard.minimal is not a field of the policy",
    ]


def test_a_conflicting_default_is_reported_at_its_section() -> None:
    """The default is not in the file; the value that conflicts with it is below the section's
    header.
    """
    text = 'version = "v"\n\n[timeline.payg]\ncontrol_plane_loss = "P8D"\n'
    assert refusal(text) == (
        "policy file, line 3: timeline.payg.suspended must come after control_plane_loss"
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('version = "v"\n[timeline.payg]\nsuspended = "P37D"', 2),
        ('version = "v"\n[timeline]\npayg.suspended = "P37D"', 3),
        ('version = "v"\n[timeline]\npayg = { suspended = "P37D" }', 3),
        ('version = "v"\n\ntimeline.payg.suspended = "P37D"', 3),
        ('version = "v"\n\ntimeline = { payg = { suspended = "P37D" } }', 3),
        ('version = "v"\n[timeline.commit]\n[timeline.payg]\nsuspended = "P37D"', 3),
    ],
)  # fmt: skip
def test_an_omitted_step_in_conflict_is_reported_at_the_other_step(text: str, line: int) -> None:
    """However the timeline is written; the omitted step has no line."""
    assert refusal(text) == (
        f"policy file, line {line}: timeline.payg.deactivated must come after suspended"
    )


def test_the_minimum_values_are_accepted() -> None:
    """Both minimums are inclusive."""
    shortest = DEFAULT.replace('"P37D"', '"P30D"').replace('"P74D"', '"P30D"')
    policy = load_policy(shortest.replace('feed_max_gap = "P3D"', 'feed_max_gap = "P1D"'))
    assert policy.payg.deactivated == policy.commit.deactivated == timedelta(days=30)
    assert policy.inactivity.feed_max_gap == timedelta(days=1)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('version = "v"\nguard.minimum = -1', 2),
        ('version = "v"\nguard = { minimum = -1 }', 2),
        ('version = "v"\n["guard"]\n"minimum" = -1', 3),
        ('version = "v"\n[ guard ]\n  minimum=-1', 3),
        ('version = "v" # a\u2028b\n[guard]\nminimum = -1', 3),
        ('version = "v"\r\n[guard]\r\nminimum = -1\r\n', 3),
    ],
)
def test_the_line_is_found_however_the_key_is_written(text: str, line: int) -> None:
    """TOML has several spellings of one key."""
    assert refusal(text) == f"policy file, line {line}: guard.minimum must not be negative"


def test_a_section_that_is_not_a_table_is_refused() -> None:
    """The message contains the file's term, not pydantic's."""
    assert refusal('version = "v"\nguard = 5') == "policy file, line 2: guard must be a section"


# --- writing --------------------------------------------------------------------------------------


@given(POLICIES)
@example(replace(Policy(), version='a "quoted\\" # version = 1'))
@example(replace(Policy(), version="v", guard=Guard(0, 5e-324)))
def test_a_written_policy_is_read_back_equal(policy: Policy) -> None:
    """An operator may begin a file with the output of `policy show`."""
    assert load_policy(policy_to_toml(policy)) == policy


def test_the_default_policy_is_written_as_documented() -> None:
    """The same fields, order and spelling, without the comments."""
    bare = re.sub(" *#.*", "", DEFAULT)
    assert policy_to_toml(load_policy(DEFAULT)) == bare
    assert policy_to_toml(Policy()) == bare.replace("2026-11-22", "default")


@given(st.timedeltas(timedelta(0), DURATION_MAX))
def test_a_written_duration_is_read_back_equal(duration: timedelta) -> None:
    """To the microsecond."""
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(days=7), "P7D"),
        (timedelta(days=70), "P70D"),
        (timedelta(hours=1), "PT1H"),
        (timedelta(days=1, minutes=20), "P1DT20M"),
        (timedelta(seconds=10), "PT10S"),
        (timedelta(seconds=10.5), "PT10.5S"),
        (timedelta(milliseconds=100), "PT0.1S"),
        (timedelta(0), "P0D"),
    ],
)
def test_a_duration_is_written_as_a_person_would(duration: timedelta, text: str) -> None:
    """`P7D`, not `PT168H`."""
    assert format_duration(duration) == text
