"""What the retained topics say, and how old it is. Pure: filled by `session.py`, told by `report.py`."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from ramshare.bus.api import StateArrived
from ramshare.manager.cluster import STALE_AFTER_S
from ramshare.messages.base import Message
from ramshare.messages.state import ManagerState, Offer, Status
from ramshare.topics import MANAGER, name, role

M = TypeVar("M", bound=Message)

CLOCK_SLACK_S = 5.0
"""A message that is younger than now by more than this was stamped by a clock that is ahead of ours."""


@dataclass(frozen=True)
class Fact:
    """One retained topic: who says it, on which path, and what."""

    client: str
    path: str
    message: Message

    def age_s(self, now: datetime) -> float:
        """Seconds since it was said; never negative, clocks differ."""
        return max(0.0, (now - self.message.at).total_seconds())

    @property
    def host(self) -> str:
        """Name part of the client: the host of a lender or borrower."""
        return name(self.client)


@dataclass
class Snapshot:
    """The newest message of every retained topic. `complete` is False if the broker did not deliver all in time."""

    facts: dict[tuple[str, str], Message] = field(default_factory=dict)
    complete: bool = True
    heard: dict[str, datetime] = field(default_factory=dict)
    """When each client last said anything, by its own clock."""

    def take(self, arrived: StateArrived) -> None:
        """Fold one arrival in; an older message of the same run of an agent is ignored."""
        key = (arrived.client, arrived.path)
        old, new = self.facts.get(key), arrived.message
        if new is None:
            self.facts.pop(key, None)
        elif old is None or old.instance != new.instance or new.seq >= old.seq:
            self.facts[key] = new
            self.heard[arrived.client] = max(new.at, self.heard.get(arrived.client, new.at))

    def of_kind(self, kind: type[M]) -> Iterator[tuple[Fact, M]]:
        """Yield every fact whose message is of one kind, ordered by topic."""
        for (client, path), message in sorted(self.facts.items()):
            if isinstance(message, kind):
                yield Fact(client, path, message), message

    def get(self, client: str, path: str, kind: type[M]) -> M | None:
        """Return one topic's message, if it is there and of that kind."""
        found = self.facts.get((client, path))
        return found if isinstance(found, kind) else None

    def clients(self, of_role: str = "") -> list[str]:
        """Return everybody who says something, or those of one role."""
        return sorted({client for client, _ in self.facts if not of_role or role(client) == of_role})

    def online(self, client: str) -> bool:
        """Whether the client's status (its last will, if it died) says that it is there."""
        status = self.get(client, "status", Status)
        return status is not None and status.status == "online"

    def heard_age_s(self, client: str, now: datetime) -> float | None:
        """Seconds since the client last said anything; None if it is not known at all."""
        at = self.heard.get(client)
        return None if at is None else max(0.0, (now - at).total_seconds())

    def stale(self, client: str, now: datetime) -> bool:
        """Whether an agent missed its heartbeats: what it said may no longer be true."""
        age_s = self.heard_age_s(client, now)
        return age_s is None or age_s > STALE_AFTER_S

    def offer(self, host: str) -> Offer | None:
        """Return what the lender of a host says it can lend."""
        return self.get(f"lender.{host}", "offer", Offer)

    def manager(self) -> ManagerState | None:
        """Return the manager's summary."""
        return self.get(MANAGER, "summary", ManagerState)
