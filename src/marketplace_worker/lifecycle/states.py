"""The states of an organization and what each allows (lifecycle.md section 1)."""

from enum import StrEnum

from marketplace_worker.lifecycle.values import dataclass


class State(StrEnum):
    """In the order of a cancellation; none is skipped on the way down."""

    ACTIVE = "active"
    CANCELED = "canceled"
    CONTROL_PLANE_LOSS = "control_plane_loss"
    SUSPENDED = "suspended"
    DEACTIVATED = "deactivated"

    @property
    def next_step(self) -> "State | None":
        """The next state of a cancellation; None if no deadline leads further."""
        return _NEXT[self]

    @property
    def in_cancellation(self) -> bool:
        """Canceled and on the way down, but not yet beyond return."""
        return self.next_step is not None

    @property
    def capabilities(self) -> "Capabilities":
        """The capabilities of the organization in this state."""
        return _CAPABILITIES[self]


_NEXT = {
    State.ACTIVE: None,
    State.CANCELED: State.CONTROL_PLANE_LOSS,
    State.CONTROL_PLANE_LOSS: State.SUSPENDED,
    State.SUSPENDED: State.DEACTIVATED,
    State.DEACTIVATED: None,
}


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What downstream services enforce: manage (control plane), data plane, API keys, log in."""

    manage: bool
    data: bool
    api_keys: bool
    login: bool


_CAPABILITIES = {
    State.ACTIVE: Capabilities(manage=True, data=True, api_keys=True, login=True),
    State.CANCELED: Capabilities(manage=True, data=True, api_keys=True, login=True),
    State.CONTROL_PLANE_LOSS: Capabilities(manage=False, data=True, api_keys=True, login=True),
    State.SUSPENDED: Capabilities(manage=False, data=False, api_keys=False, login=True),
    State.DEACTIVATED: Capabilities(manage=False, data=False, api_keys=False, login=False),
}
