"""A row of the journal as text, as its hash covers it."""

from dataclasses import dataclass
from datetime import UTC, datetime

from marketplace_worker.lifecycle.vocabulary import marketplace_id

Chain = tuple[str, str]
"""Marketplace (empty for an organization) and id: whose rows are chained."""


@dataclass(frozen=True, slots=True)
class JournalRow:
    """A row as text, as its hash covers it; `fact` is None where it was erased."""

    source: str
    message_id: str
    kind: str
    organization: str | None
    marketplace: str | None
    subscription_id: str | None
    occurred_at: str
    decided_at: str
    policy_version: str
    outcome: str
    position: str | None
    readings: str
    fact: str | None

    @property
    def chain(self) -> Chain | None:
        """Whose chain it belongs to; None: it names neither an organization nor a subscription."""
        if self.organization is not None:
            return ("", self.organization)
        if self.marketplace is not None and self.subscription_id is not None:
            return (self.marketplace, self.subscription_id)
        return None

    @property
    def subject(self) -> Chain | None:
        """Whose register or aggregate its fact is folded into: its chain, but for the spelling that
        a subscription's id had before migration 0008.
        """
        if self.chain is None:
            return None
        marketplace, id_ = self.chain
        return (marketplace, marketplace_id(id_)) if marketplace else self.chain

    @property
    def lasting(self) -> tuple[str | None, ...]:
        """The part that stays when the fact is erased."""
        return (
            self.source,
            self.message_id,
            self.kind,
            self.organization,
            self.marketplace,
            self.subscription_id,
            self.occurred_at,
            self.decided_at,
            self.policy_version,
            self.outcome,
            self.position,
            self.readings,
        )


def as_text(moment: datetime) -> str:
    """A moment as the hash covers it, independent of its time zone."""
    return moment.astimezone(UTC).isoformat()
