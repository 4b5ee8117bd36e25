"""Compares the results of two runs of a story, and shows the differences."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from difflib import unified_diff
from typing import Any

from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.inactivity import LastSeen
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.subscription import Subscription
from marketplace_worker.lifecycle.vocabulary import OrganizationId

Json = dict[str, Any]


def by_subject(events: Iterable[bytes]) -> dict[str, list[Json]]:
    """The published events of each subject, in order."""
    events_of: dict[str, list[Json]] = defaultdict(list)
    for event in map(json.loads, events):
        events_of[event["subject"]].append(event)
    return dict(events_of)


def differing_events(
    want: Mapping[str, Sequence[Json]], got: Mapping[str, Sequence[Json]]
) -> list[str]:
    """For each subject whose events differ: the names of all its events, and the differing fields.

    `-` expected, `+` actual; empty without differences.
    """
    lines: list[str] = []
    for subject in sorted(want.keys() | got.keys()):
        wanted, came = want.get(subject, ()), got.get(subject, ())
        if wanted != came:
            lines += [f"{subject}:", *_diff(_lines(wanted), _lines(came))]
    return lines


def differing_states(want: Mapping[str, object], got: Mapping[str, object]) -> list[str]:
    """The differing values of two results of `standing`."""
    lines: list[str] = []
    for name in sorted(want.keys() | got.keys()):
        if want.get(name) != got.get(name):
            lines += [f"- {name}: {want.get(name)}", f"+ {name}: {got.get(name)}"]
    return lines


def standing(fleet: Fleet, due_at: Mapping[OrganizationId, datetime | None]) -> dict[str, object]:
    """The final state, by name.

    Left out is what was only locked or looked up, and the number of an organization's snapshots,
    which `simulate` does not take.
    """
    stands: dict[str, object] = {"safeguards": fleet.safeguards}
    for id_, organization in fleet.organizations.items():
        stands |= _fields(organization, Organization(id_))
        stands |= {f"{id_}: due": due_at[id_]} if due_at.get(id_) else {}
    for key, subscription in fleet.subscriptions.items():
        stands |= _fields(subscription, Subscription(key))
    stands |= {f"{id_}: seen": seen for id_, seen in fleet.seen.items() if seen != LastSeen()}
    for feed, days in fleet.feeds.days.items():
        stands |= {f"{feed}: {day}": days_used for day, days_used in days.items()}
    return stands


def _fields(what: Organization | Subscription, blank: Organization | Subscription) -> Json:
    """The fields that differ from the initial state."""
    name = what.id if isinstance(what, Organization) else what.key
    values = {each.name: getattr(what, each.name) for each in fields(what)}
    values.pop("revision", None)
    return {
        f"{name}: {field}": value
        for field, value in values.items()
        if value != getattr(blank, field)
    }


def _diff(want: Iterable[str], got: Iterable[str]) -> Iterator[str]:
    """The lines with the events' names, and those that differ."""
    wanted, came = list(want), list(got)
    _, _, _, *diff = unified_diff(wanted, came, lineterm="", n=len(wanted) + len(came))
    return (line for line in diff if line[0] != " " or ": " not in line)


def _lines(events: Iterable[Json]) -> Iterator[str]:
    """The name of each event, then its fields; each line names its event."""
    for event in events:
        number = event["sequence"].lstrip("0")
        yield f"{number} {event['type']} at {event['time']}"
        for name, value in (event | event["data"]).items():
            if name != "data":
                yield f"{number}   {name}: {json.dumps(value)}"
