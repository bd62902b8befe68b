"""One line for every lease that ended, for those who have to answer for what was lent: who, how much, why, when.

Lender and borrower each write theirs, as one JSON object, to the logger `ramshare.audit`, whatever the log level, and
publish it as the event `lease-ended`. Neither holds a secret: an event has no place for one.
"""

import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from ramshare.bus.api import Bus
from ramshare.messages.events import Event, EventKind, LeaseOutcome
from ramshare.messages.state import Mode
from ramshare.topics import role

LOGGER = "ramshare.audit"
log = logging.getLogger(LOGGER)


@dataclass(frozen=True)
class EndedLease:
    """What is known of it on one side."""

    lease: str
    peer: str
    """The other side's client name."""
    size_bytes: int
    mode: Mode
    outcome: LeaseOutcome
    reason: str
    """Why it ended, a sentence."""
    volume: str | None = None
    """What it was for; its borrower knows."""
    granted_at: datetime | None = None
    """None if an earlier run of this agent got it, and that is written nowhere."""


def lease_ended(bus: Bus, ended: EndedLease) -> None:
    """Write the line and publish the event."""
    now = datetime.now(UTC)
    lender, borrower = (bus.client, ended.peer) if role(bus.client) == "lender" else (ended.peer, bus.client)
    sentence = f"{ended.size_bytes >> 20} MiB of {lender} for {borrower}: {ended.outcome}, {ended.reason}"
    event = Event.model_validate({"kind": EventKind.LEASE_ENDED, "sentence": sentence, **vars(ended)})
    line = {
        "lease": ended.lease,
        "lender": lender,
        "borrower": borrower,
        "volume": ended.volume,
        "size_bytes": ended.size_bytes,
        "mode": ended.mode,
        "granted_at": None if ended.granted_at is None else ended.granted_at.isoformat(),
        "ended_at": now.isoformat(),
        "outcome": ended.outcome,
        "reason": event.reason,
        "told_by": bus.client,
    }
    log.info("%s", json.dumps(line))  # ASCII: what a peer wrote into a reason cannot act on a terminal
    bus.event(EventKind.LEASE_ENDED, event)
