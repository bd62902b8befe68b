"""Messages that are not retained: what happened, for people, dashboards and audit."""

from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from ramshare.messages.base import Bytes, ClientName, LeaseId, Message, Moment, Sentence, VolumeName
from ramshare.messages.state import Mode


class EventKind(StrEnum):
    """Last part of an event's topic."""

    OFFER_CHANGED = "offer-changed"
    EXPORTED = "exported"
    RELEASED = "released"
    GRANTED = "granted"
    REFUSED = "refused"
    TAKEN_BACK = "taken-back"
    STEP = "step"
    ATTACHED = "attached"
    DETACHED = "detached"
    VACATED = "vacated"
    LEG_LOST = "leg-lost"
    REPAIRED = "repaired"
    PAGES_LOST = "pages-lost"
    RESUMED_DEVICE = "resumed-device"
    DEMAND = "demand"
    """A borrower borrows or returns by itself, or could not, and why."""
    GUEST_ASKED = "guest-asked"
    """A guest asked for its own swap, and what became of that."""
    FAILED = "failed"
    LEASE_ENDED = "lease-ended"
    """For audit: told by lender and borrower, each once for every lease, see `audit.py`."""


class LeaseOutcome(StrEnum):
    """How a lease ended."""

    RETURNED = "returned"
    """Its borrower gave it back."""
    UNUSED = "unused"
    """Nobody logged in to it; the manager had it taken back."""
    CUT_OFF = "cut-off"
    """Its lender took a mirror's lease away, because the borrower let the deadline pass."""
    LOST = "lost"
    """Its lender died, or came back without it."""


class Event(Message):
    """`event/<client>/<kind>`: one sentence that says what happened and why, and what it was about."""

    KIND: ClassVar[str] = "event/1"
    kind: EventKind
    sentence: Sentence
    lease: LeaseId | None = None
    volume: VolumeName | None = None
    peer: ClientName | None = None
    size_bytes: Bytes | None = Field(default=None)
    mode: Mode | None = Field(default=None, description="Of `lease-ended`.")
    outcome: LeaseOutcome | None = Field(default=None, description="Of `lease-ended`: how.")
    reason: Sentence = Field(default="", description="Of `lease-ended`: why.")
    granted_at: Moment | None = Field(default=None, description="Of `lease-ended`; null: not known any more.")
