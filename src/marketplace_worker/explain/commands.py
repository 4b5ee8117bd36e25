"""Commands for what can be done about the next change, to be copied into a shell.

A command is proposed only where nothing is lost by it.  Its reason is left empty, which the command
line refuses: somebody has to write one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from shlex import join

from marketplace_worker.explain.remedies import KillSwitch, Remedy, RequestToSupport
from marketplace_worker.explain.values import Explanation, OnHold, StepPostponed, StepWithheld
from marketplace_worker.explain.wording import length
from marketplace_worker.lifecycle.vocabulary import HoldKind, SupportRequestKind

GRANT = timedelta(days=14)
"""The proposed length of a grant."""

DAYS = 7
"""The proposed extension, if so much is left."""

_WHO_AND_WHY = """--by "$USER" --reason ''"""


@dataclass(frozen=True, slots=True)
class ShellCommand:
    """What a command does, and its line for a shell."""

    what: str
    line: str


def commands(explanation: Explanation) -> Iterator[ShellCommand]:
    """What can be done about the next change, and how to see more of the organization."""
    match explanation.next:
        case StepWithheld():
            yield ShellCommand(
                "Release the withheld steps of all organizations",
                f"marketplace-worker guard release --steps all {_WHO_AND_WHY}",
            )
        case OnHold(holds=holds):
            for hold in holds:
                yield _support(
                    explanation,
                    f"Release the {hold.kind} hold",
                    SupportRequestKind.RELEASE_HOLD,
                    ("--hold", hold.kind),
                )
        case StepPostponed(unread=unread) if unread:
            yield ShellCommand(
                "List the records that could not be read", "marketplace-worker dead-letters groups"
            )
        case _:
            pass
    for remedy in explanation.remedies:
        yield from _of_remedy(remedy, explanation)
    id_ = explanation.standing.organization
    yield ShellCommand(
        "Compare its state with its journal",
        _line("replay", "--verify", *(["--"] if id_.startswith("-") else []), id_),
    )
    yield ShellCommand("Follow its events", _line("tail", "--org", id_))


def _of_remedy(remedy: Remedy, explanation: Explanation) -> Iterator[ShellCommand]:
    match remedy:
        case RequestToSupport(request=SupportRequestKind.EXTEND_GRACE as request):
            days = min(remedy.days_max or DAYS, DAYS)
            yield _support(
                explanation,
                f"Put all steps off by {length(timedelta(days=days))}; {remedy.days_max} at most",
                request,
                ("--days", str(days)),
            )
        case RequestToSupport(request=SupportRequestKind.PLACE_HOLD as request):
            yield _support(
                explanation,
                "Take no step until the hold is released",
                request,
                ("--hold", HoldKind.COMMERCIAL),
            )
        case RequestToSupport(
            request=SupportRequestKind.REINSTATE_ORGANIZATION as request, grant_needed=True
        ):
            until = (explanation.now + GRANT).replace(microsecond=0)
            yield _support(
                explanation,
                f"Reinstate it without a plan, for {length(GRANT)}",
                request,
                ("--grant-until", until.isoformat()),
            )
        case RequestToSupport(request=SupportRequestKind.REINSTATE_ORGANIZATION as request):
            yield _support(explanation, "Complete its reinstatement", request)
        case RequestToSupport(request=SupportRequestKind.REACTIVATE_ORGANIZATION as request):
            yield _support(explanation, "Reactivate it", request)
        case KillSwitch():
            yield ShellCommand(
                "Withhold the steps of all organizations",
                f"marketplace-worker guard trip {_WHO_AND_WHY}",
            )
        case _:  # what a customer or a marketplace does
            pass


def _support(
    explanation: Explanation, what: str, request: SupportRequestKind, options: tuple[str, ...] = ()
) -> ShellCommand:
    """A request of Support, as `send support` writes it."""
    kind, id_ = request.replace("_", "-"), explanation.standing.organization
    line = _line("send", "support", kind, "--organization", id_, *options)
    return ShellCommand(what, f"{line} {_WHO_AND_WHY}")


def _line(*words: str) -> str:
    return join(("marketplace-worker", *words))
