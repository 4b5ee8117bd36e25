"""What all pages share: the database, who looks, and the templates."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib import resources
from typing import Any

import structlog
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse

from marketplace_worker.clock import system_clock
from marketplace_worker.console.sampled import Sampled
from marketplace_worker.explain.operators import moment
from marketplace_worker.explain.wording import distance, length
from marketplace_worker.inspection.calendar import Calendar, calendar
from marketplace_worker.inspection.fleet_view import Inspector
from marketplace_worker.inspection.status import Status, read_status
from marketplace_worker.lifecycle.states import State
from marketplace_worker.store import policies
from marketplace_worker.store.database import Pool, database_clock, one_moment
from marketplace_worker.store.dead_letters import BIGINT_MAX
from marketplace_worker.store.floors import Floors
from marketplace_worker.store.policies import PolicyBook
from marketplace_worker.terminal import visible

STATIC = resources.files(__package__).joinpath("static")

LABELS = {
    State.ACTIVE: "active",
    State.CANCELED: "canceled",
    State.CONTROL_PLANE_LOSS: "control plane loss",
    State.SUSPENDED: "suspended",
    State.DEACTIVATED: "deactivated",
}
"""What a page calls a state."""

VERSIONED = ("console.css", "copy.js", "htmx.min.js")
"""Files whose addresses in the pages contain their hash."""

NAVIGATION = (
    ("/", "Fleet"),
    ("/organizations", "Organizations"),
    ("/dead-letters", "Dead letters"),
    ("/policy", "Policy"),
)
"""The paths of the pages in the head of each page, with their names."""

log = structlog.get_logger(__name__)


class SignInRefused(Exception):
    """Somebody may not sign in, or send a form; the message is for them."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks.

    `id`: for the log, without an email address.  `name`: for the page.
    """

    id: str
    name: str


def _environment() -> Environment:
    """The templates.  All text is escaped, for HTML and for a terminal.  A missing value fails."""
    templates = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "moment": moment,
        "length": length,
        "number": _number,
    }
    templates.globals |= {
        "distance": distance,
        "label": LABELS.__getitem__,
        "navigation": NAVIGATION,
        "versions": {name: _version(name) for name in VERSIONED},
    }
    return templates


class PageContext:
    """The dependencies of the pages.

    Args:
        pool: the database, for reading.
        policies: has the policy that counts where no worker has ever used one.
    """

    def __init__(self, pool: Pool, policies: PolicyBook) -> None:
        self.policies = policies
        self.templates = _environment()
        self._floors = Floors()
        self.calendar = Sampled(self._calendar)
        self._pool = pool

    async def inspector(self) -> Inspector:
        """What the functions of inspection/ need, at the database's current time."""
        async with one_moment(self._pool) as conn:
            if in_force := await policies.in_force(conn):
                self.policies.current = in_force
            return Inspector(self._pool, self.policies, await database_clock(conn))

    async def status(self) -> Status:
        """Everything that can be wrong, as `marketplace-worker status` reads it."""
        return await read_status(await self.inspector(), system_clock(), self._floors)

    async def _calendar(self) -> Calendar:
        return await calendar(await self.inspector())


def context_of(request: Request) -> PageContext:
    """The dependencies, from the application's state."""
    context: PageContext = request.app.state.context
    return context


def viewer_of(request: Request) -> Viewer:
    """Who looks; the middleware has checked it."""
    viewer: Viewer = request.scope["viewer"]
    return viewer


def before_of(request: Request) -> int | None:
    """Before which row the page begins, by the address; None: at the newest.  Raises a 404."""
    given = request.query_params.get("before", "")
    if not given:
        return None
    if not given.isdecimal() or not given.isascii() or int(given[:20]) > BIGINT_MAX:
        raise HTTPException(404, "There is no such page")
    return int(given)


def render(
    request: Request,
    template: str,
    values: Mapping[str, Any],
    *,
    status: int = 200,
) -> HTMLResponse:
    """Fill a template: a whole page, or a part of one that htmx asked for."""
    text = context_of(request).templates.get_template(template)
    return HTMLResponse(
        text.render(
            **values,
            path=request.url.path,
            viewer=request.scope.get("viewer"),
            signs_out=request.app.state.signs_in,
            csrf=request.session.get("csrf", ""),
        ),
        status_code=status,
    )


def record_view(request: Request, organization: str) -> None:
    """Write a log line: who looked at which organization."""
    log.info("organization_viewed", organization=organization, viewer=viewer_of(request).id)


def _printable(value: object) -> object:
    """Text of others may contain characters that reverse or hide the text around them."""
    return visible(value) if type(value) is str else value


class _Figure(str):
    """Digits, whose narrow spaces `_printable` leaves as they are."""

    __slots__ = ()


def _number(value: int) -> _Figure:
    """`1 234 567`, with narrow spaces."""
    return _Figure(f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}"))


def _version(name: str) -> str:
    """A part of the file's hash: browsers keep a version for ever."""
    return sha256(STATIC.joinpath(name).read_bytes()).hexdigest()[:12]
