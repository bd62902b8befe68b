"""The retained topics as a command shows them: with ages by the clock of the wall. Filled by `session.py`.

A command that has just connected hears replays only, so that when something was said is known by its stamp alone.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import TypeVar

from ramshare.bus.api import StateArrived
from ramshare.messages.base import Message
from ramshare.messages.state import ManagerState, Offer, Status
from ramshare.retained import Fact, Retained
from ramshare.topics import MANAGER, role

M = TypeVar("M", bound=Message)

CLOCK_SLACK_S = 5.0
"""A message that is younger than now by more than this was stamped by a clock that is ahead of ours."""


class Snapshot(Retained):
    """Everything that is retained; or, of a large cluster, what was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow = False
        """Only a part was asked for: what is not here may yet be there."""

    def hear(self, arrived: StateArrived, now: datetime) -> None:
        """Fold one arrival in: a replay was said when its stamp says, what is live was said now."""
        stamped = arrived.message.at if arrived.retained and arrived.message is not None else now
        self.take(arrived, min(stamped, now).timestamp())

    def heard_age_s(self, client: str, now: datetime) -> float | None:
        """Seconds since the client last said anything; None if it is not known at all."""
        known = self.by_client.get(client)
        return None if known is None else known.silent_s(now.timestamp())

    def stale(self, client: str, now: datetime) -> bool:
        """Whether a client missed its heartbeats: what it said may no longer be true."""
        known = self.by_client.get(client)
        return known is None or known.stale(now.timestamp())

    def there(self, client: str, now: datetime) -> bool:
        """Whether a client is there: by its status, or, of guests that tell none (a large cluster), by its reports."""
        if role(client) == "guest" and self.get(client, "status", Status) is None:
            return not self.stale(client, now)
        return self.online(client)

    def offer(self, host: str) -> Offer | None:
        """Return what the lender of a host says it can lend."""
        return self.get(f"lender.{host}", "offer", Offer)

    def manager(self) -> ManagerState | None:
        """Return the summary of the manager that makes loans."""
        return self.get(self.leader(), "summary", ManagerState)

    def leader(self) -> str:
        """Return the manager to go by: of those online the one that is active (the newest claim counts), if any is."""

        def worth(client: str) -> tuple[bool, bool, int]:
            told = self.get(client, "summary", ManagerState)
            return self.online(client), told is not None and told.active, told.generation if told else 0

        return max(self.clients(MANAGER), key=worth, default=MANAGER)

    def standbys(self) -> list[str]:
        """Return the managers that are online beside the one to go by."""
        leader = self.leader()
        return [client for client in self.clients(MANAGER) if client != leader and self.online(client)]

    def recorded(self, kind: type[M]) -> Iterator[tuple[Fact, M]]:
        """Yield the records of the manager to go by; another's may be left from when it was active."""
        leader = self.leader()
        return ((fact, record) for fact, record in self.of_kind(kind) if fact.client == leader)


def age_s(fact: Fact, now: datetime) -> float:
    """Seconds since a fact was stamped; never negative, clocks differ."""
    return max(0.0, (now - fact.message.at).total_seconds())
