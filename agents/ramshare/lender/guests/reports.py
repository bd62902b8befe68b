"""What is reported by those on the lender's host: its guests' memory, and its own borrower's leases.

Guests are named in the settings or seen at the hypervisor (`host_guests.py`); only those that run here are listened to.
A guest's clock may be wrong by hours, so what counts is when a report arrived, on the lender's own clock. A report that
arrives a second time (a guest that reconnects sends its last one again) is as old as it was before; of one that the
broker had in store nobody knows the age, so there the guest's word must do until its next report.
"""

from collections.abc import Iterable, Iterator

from ramshare.bus.api import Bus, StateArrived
from ramshare.lender.guests.host_guests import HostGuests
from ramshare.messages.state import Lease, Memory
from ramshare.policy.model import GuestSample
from ramshare.topics import name, role


class LocalReports:
    """Owns the guests' reports and the knowledge of this host's own leases."""

    def __init__(self, bus: Bus, host: str, by_hand: Iterable[str], guests: HostGuests) -> None:
        """`guests` are those that the hypervisor sees, `by_hand` names others."""
        self._bus = bus
        self._host = host
        self.by_hand = frozenset(by_hand)
        self.guests = guests
        self.said = GuestReports()
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
            self._bus.watch_state(f"guest.{guest}", "memory")
        self._bus.watch_state(f"borrower.{self._host}", "lease/+")

    def take(self, arrived: StateArrived, wall_s: float) -> None:
        """Take a guest's report that arrived at `wall_s`, or note that this host's own swap is remote."""
        if role(arrived.client) == "borrower":
            if arrived.message is None:
                self._own_leases.discard(arrived.path)
            elif isinstance(arrived.message, Lease):
                self._own_leases.add(arrived.path)
        elif isinstance(arrived.message, Memory):
            self.said.take(name(arrived.client), arrived.message, wall_s, stored=arrived.retained)
        else:
            self.said.forget(name(arrived.client))

    def listen(self) -> bool:
        """Hear those that run here now, and nobody else; a guest that migrates merely changes its listener.

        Returns whether any came or went.
        """
        wanted, before = self.guests.names | self.by_hand, self.heard
        for guest in sorted(wanted - before):
            self._bus.watch_state(f"guest.{guest}", "memory")
        for guest in sorted(before - wanted):
            self._bus.unwatch_state(f"guest.{guest}", "memory")
            self.said.forget(guest)
        self.heard = wanted
        return wanted != before


class GuestReports:
    """What the guests of one host said last."""

    def __init__(self) -> None:
        self._samples: dict[str, GuestSample] = {}
        self._stamps: dict[str, tuple[str, float]] = {}
        """Run of the monitor and its own time of the last report: together they tell a repetition."""

    def take(self, guest: str, memory: Memory, now_s: float, *, stored: bool) -> None:
        """Note a report that arrived at `now_s`; `stored` if the broker had kept it."""
        stamp = (memory.instance, memory.at.timestamp())
        if guest in self._samples and self._stamps.get(guest) == stamp:
            return
        self._stamps[guest] = stamp
        self._samples[guest] = GuestSample(
            guest=guest,
            at_s=stamp[1] if stored else now_s,
            capacity_bytes=memory.total_bytes,
            used_bytes=memory.used_bytes,
            swap_in_bytes_s=memory.swap_in_bytes_s,
            psi_some=memory.psi_some_avg10,
            refault_pages_s=memory.refaults_s,
        )

    def forget(self, guest: str) -> None:
        """Drop a guest that is gone."""
        self._samples.pop(guest, None)
        self._stamps.pop(guest, None)

    def __iter__(self) -> Iterator[GuestSample]:
        return iter([self._samples[guest] for guest in sorted(self._samples)])
