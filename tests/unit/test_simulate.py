"""`simulate`: the scenario, its clock, and what it says of bad input (events.md section 4)."""

import json
from collections.abc import Iterable

import pytest
from stories import DAY_0, FEEDS, HASH, check_story, moment

from marketplace_worker.contract.scenario import read_scenario
from marketplace_worker.errors import Malformed, Misconfigured
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.record import Record
from marketplace_worker.simulate import Simulation

CREATED = {
    "specversion": "1.0",
    "id": "1",
    "source": "/t",
    "type": "io.marketplace-worker.organization.created.v1",
    "subject": "acme",
    "time": "2026-01-01T00:00:00Z",
    "data": {"tier": "free", "owner_email": "a@x.org"},
}


def line(day: str = "0", topic: str = "organizations.changes", **fields: object) -> bytes:
    """A line of a scenario."""
    line = {"at": moment(day).isoformat(), "topic": topic, "value": CREATED}
    return json.dumps(line | fields).encode()


def refused(lines: Iterable[bytes]) -> list[str]:
    """What is reported on standard error."""
    reports: list[str] = []

    def refuse(record: Record, problem: Malformed) -> None:
        reports.append(f"{record.position} {problem}")

    list(Simulation(Policy(), FEEDS, HASH, refuse).run(read_scenario(lines, FEEDS)))
    return reports


# --- the scenario ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ([b"{"], "line 1"),
        ([b"", line(), b"[]"], "line 3"),
        ([line(), b'{"topic": "x", "value": null}'], "line 2, at: is required"),
        ([b'{"at": "2026-01-01T00:00:00Z", "topic": "x"}'], "line 1, value: is required"),
        ([line(at="yesterday")], "line 1, at: must be an RFC 3339 time"),
        ([line(at="2026-01-01T00:00:00")], "line 1, at: must be an RFC 3339 time"),
        ([line(topic="elsewhere")], "line 1, topic: must be one of identity.logins, market"),
        ([line(colour="red")], "line 1, colour: "),
        ([line(key=5)], "line 1, key: must be a valid string"),
        ([line(headers={"a": 5})], "line 1, headers.a: must be a valid string"),
        ([line("5"), line("4")], "line 2, at: must not be before the line above"),
    ],
)
def test_an_unusable_line_is_named_with_its_field(lines: list[bytes], problem: str) -> None:
    """An operator must know which line to mend."""
    with pytest.raises(Misconfigured) as caught:
        list(read_scenario(lines, FEEDS))
    assert str(caught.value).startswith(problem)


def test_a_line_becomes_the_record_that_the_worker_would_get() -> None:
    """Offsets count per topic; key and headers are what Kafka carries."""
    logins = line(topic="identity.logins", key="acme", headers={"ce_id": "1"}, value={"a": 1})
    _, first, second = read_scenario([line(), logins, b"  ", logins], FEEDS)
    assert first == Record("identity.logins", 0, 0, DAY_0, b"acme", b'{"a":1}', (("ce_id", b"1"),))
    assert second.offset == 1


# --- dead letters ---------------------------------------------------------------------------------


def test_what_goes_to_the_dead_letters_is_reported_and_the_rest_goes_on() -> None:
    """Each with its position and its reason."""
    aws = "marketplace.aws.notifications"
    reports = refused([line(value={}), line(), line(topic=aws, value={"a": 1})])
    assert [report.partition(" ")[0] for report in reports] == [
        "organizations.changes/0/0",
        "marketplace.aws.notifications/0/0",
    ]


@pytest.mark.parametrize("topic", sorted(FEEDS))
def test_a_tombstone_is_a_dead_letter_and_no_crash(topic: str) -> None:
    """A null value stands on any topic sooner or later."""
    assert len(refused([line(topic=topic, value=None)])) == 1


# --- the clock ------------------------------------------------------------------------------------


def test_the_clock_stops_at_until() -> None:
    """What is due at that very moment still comes; what is received after it does not."""
    check_story(
        """
        day | input                                  | events
        0   | acme created                           |
        0   | acme links gcp:e-1 payg                |
        0   | gcp:e-1 ENTITLEMENT_CANCELLED          | canceled unknown by marketplace, payg
        0   |                                        | final_report_due gcp:e-1 0+1h
        1   |                                        | control_plane_lost
        4   |                                        | notice_given: suspended 7
        5   | gcp:e-1 ENTITLEMENT_DELETED            |
        7   |                                        | suspended
        8   | acme commits c-1 from=8 to=99999       |
        """,
        until="7",
    )


def test_without_until_the_clock_runs_until_nothing_is_due() -> None:
    """A commitment of nine years is seen to its end."""
    events = check_story("""
        day  | input                              | events
        0    | acme created                       |
        0    | acme commits c-1 from=0 to=3300    |
        3300 |                                    | canceled commit_expired by system, commit
        3303 |                                    | control_plane_lost
        3311 |                                    | notice_given: suspended 3314
        3314 |                                    | suspended
        3367 |                                    | notice_given: deactivated 3374
        3374 |                                    | deactivated
    """)
    assert events[-1].kind == "resources.deletion_requested"


def test_at_one_instant_messages_come_before_deadlines() -> None:
    """All of them: what is received at the last moment still counts, in whichever order."""
    check_story("""
        day | input                                  | events
        0   | acme created                           |
        0   | acme commits c-1 from=0 to=5           |
        5   | acme tier plus                         |
        5   | acme commits c-2 from=5 to=99999       |
    """)


@pytest.mark.parametrize(
    "ends",
    [
        "gcp:e-1 ENTITLEMENT_PENDING_CANCELLATION ends=5",
        "aws:a-1 Agreement Amended renews=no end=5",
    ],
)
def test_an_announced_end_is_ahead_while_messages_of_its_instant_are_read(ends: str) -> None:
    """Section 11: nobody reported it, so it comes by itself."""
    subject = ends.partition(" ")[0]
    check_story(f"""
        day | input                                  | events
        0   | acme created plus                      |
        0   | acme links {subject} payg              |
        1   | {ends}                                 |
        5   | acme tier plus                         |
        5   | acme commits c-2 from=5 to=99999       |
    """)


def test_an_end_with_the_time_of_its_message_is_in_the_past() -> None:
    """Section 11: only what ends by itself is still ahead."""
    check_story("""
        day | input                                 | events
        0   | acme created plus                     |
        0   | acme links gcp:e-1 payg               |
        5   | gcp:e-1 ENTITLEMENT_DELETED           | canceled unknown by marketplace, payg
        5   | acme commits c-2 from=5 to=99999      | reinstated
    """)


def test_at_one_instant_messages_come_in_the_order_of_the_lines() -> None:
    """The other way round nobody is canceled."""
    check_story("""
        day | input                                  | events
        0   | acme created                           |
        0   | acme commits c-1 from=0 to=5           |
        5   | acme commits c-2 from=5 to=99999       |
        5   | acme tier plus                         |
    """)


def test_the_same_message_twice_is_one_message() -> None:
    """By its identity, whatever else it says: the second link here is the first one's id again."""
    check_story("""
        day | input                                  | events
        0   | acme created                           |
        0   | acme links gcp:e-1 payg                |
        2   | acme links gcp:e-1 commit line=1       |
        3   | gcp:e-1 ENTITLEMENT_CANCELLED          | canceled unknown by marketplace, payg
        3   |                                        | final_report_due gcp:e-1 3+1h
        3   | acme commits c-1 from=3 to=99999       | reinstated
        9   | gcp:e-1 ENTITLEMENT_CANCELLED line=3   |
    """)


def test_logins_are_read_and_change_nothing() -> None:
    """Activity has no event of its own."""
    login = CREATED | {"type": "io.marketplace-worker.identity.user.logged_in.v1"}
    assert (
        refused([line(), line(topic="identity.logins", value=login | {"data": {"user_id": "u"}})])
        == []
    )
