"""The retained topics as a command shows them: with ages by the clock of the wall. Filled by `session.py`.

A command that has just connected hears replays only, so that when something was said is known by its stamp alone.
"""

from datetime import datetime

from ramshare.bus.api import StateArrived
from ramshare.messages.state import ManagerState, Offer
from ramshare.retained import Fact, Retained
from ramshare.topics import MANAGER

CLOCK_SLACK_S = 5.0
"""A message that is younger than now by more than this was stamped by a clock that is ahead of ours."""


class Snapshot(Retained):
    """Everything that is retained."""

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

    def offer(self, host: str) -> Offer | None:
        """Return what the lender of a host says it can lend."""
        return self.get(f"lender.{host}", "offer", Offer)

    def manager(self) -> ManagerState | None:
        """Return the manager's summary."""
        return self.get(MANAGER, "summary", ManagerState)


def age_s(fact: Fact, now: datetime) -> float:
    """Seconds since a fact was stamped; never negative, clocks differ."""
    return max(0.0, (now - fact.message.at).total_seconds())
