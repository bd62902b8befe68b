"""Who lives on the lender's host: its guests, which report their memory, and its own borrower.

Guests are named in the settings or seen at the hypervisor (`guests.py`); only those that run here are listened to.
Used by the lender's agent.
"""

import time
from collections.abc import Iterable

from ramshare.agent import Agent
from ramshare.bus.api import StateArrived
from ramshare.lender.guests import HostGuests
from ramshare.lender.reports import GuestReports
from ramshare.messages.state import Lease, Memory
from ramshare.topics import name, role


class Neighbours:
    """Owns the guests' reports and the knowledge of this host's own leases."""

    def __init__(self, agent: Agent, host: str, by_hand: Iterable[str], vms: HostGuests) -> None:
        """`by_hand` names guests that no hypervisor is asked about."""
        self._agent = agent
        self._host = host
        self.by_hand = frozenset(by_hand)
        self.vms = vms
        self.reports = GuestReports()
        self.heard = self.by_hand
        """The guests that are listened to."""
        self._own_leases: set[str] = set()

    @property
    def borrowing(self) -> bool:
        """Whether this host's own swap is remote."""
        return bool(self._own_leases)

    def start(self) -> None:
        """Listen to the guests that were named, and to this host's borrower."""
        for guest in sorted(self.by_hand):
            self._agent.bus.watch_state(f"guest.{guest}", "memory")
        self._agent.bus.watch_state(f"borrower.{self._host}", "lease/+")

    def take(self, arrived: StateArrived) -> None:
        """Take a guest's report, or note that this host's own swap is remote."""
        if role(arrived.client) == "borrower":
            if arrived.message is None:
                self._own_leases.discard(arrived.path)
            elif isinstance(arrived.message, Lease):
                self._own_leases.add(arrived.path)
        elif isinstance(arrived.message, Memory):
            self.reports.take(name(arrived.client), arrived.message, time.time(), stored=arrived.retained)
        else:
            self.reports.forget(name(arrived.client))

    def listen(self) -> bool:
        """Hear those that run here now, and nobody else; a guest that migrates merely changes its listener.

        Returns whether any came or went.
        """
        wanted, before = self.vms.names | self.by_hand, self.heard
        for guest in sorted(wanted - before):
            self._agent.bus.watch_state(f"guest.{guest}", "memory")
        for guest in sorted(before - wanted):
            self._agent.bus.unwatch_state(f"guest.{guest}", "memory")
            self.reports.forget(guest)
        self.heard = wanted
        return wanted != before
