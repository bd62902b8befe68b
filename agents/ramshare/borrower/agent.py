"""The borrower: on request gets leases and puts a live swap volume on them, shows progress, brings it home again.

This file puts the parts together; all of them run on the agent's loop and share the records in `volumes.py`:
`requests.py` (what people and lenders ask), `loans.py` (memory from the manager), `reconcile.py` (look, plan, apply one
step, follow it up), `releases.py` (leases go back), `publish.py` (events and states), `auto.py` (borrows and returns by
itself, where the owner allows it).

What touches this machine is in `machine/` and runs on the worker thread. The loop starts no process and reads no file;
the exceptions are looks at what the kernel makes up, once a second: the iSCSI sessions in sysfs (`sessions_changed`),
and what it counts of swap (`swap_watch`; see `machine/api.py`).
"""

from collections.abc import Collection
from functools import partial

from ramshare.agent import REAL, Agent, Runtime
from ramshare.borrower.auto import Auto
from ramshare.borrower.guest_requests import GuestRequests
from ramshare.borrower.guests import SwapGuests
from ramshare.borrower.loans import Loans
from ramshare.borrower.machine.api import Machine
from ramshare.borrower.publish import Publisher
from ramshare.borrower.reconcile import Reconciler
from ramshare.borrower.releases import Releases
from ramshare.borrower.requests import Requests
from ramshare.borrower.volumes import Volumes
from ramshare.bus.api import Bus, StateArrived
from ramshare.messages.events import EventKind
from ramshare.messages.requests import BorrowOwnSwap, BorrowVolume, ReturnOwnSwap, ReturnVolume, Vacate
from ramshare.messages.state import SealingKey
from ramshare.settings import BorrowerSettings
from ramshare.topics import name

TICK_S = 1.0
"""Sessions are watched this often."""


class Borrower(Agent):
    """The agent of a host whose guests swap; it looks after the volumes that carry our tags, whoever runs it."""

    sweeps = True

    def __init__(self, bus: Bus, settings: BorrowerSettings, machine: Machine, runtime: Runtime = REAL) -> None:
        super().__init__(bus, runtime)
        self._suspended = machine.suspended
        self._public_key = machine.public_key
        self._volumes = Volumes(self)
        hypervisor = runtime.worker("hypervisor") if machine.guest_disks.present else None
        self.guests = SwapGuests(self, bus, machine.guest_disks, hypervisor, self._guests_changed)
        self._publisher = Publisher(bus, self.guests.of)
        timeout_s, own_host = settings.ask_timeout_s, name(bus.client)
        loans = Loans(self, machine.host, self._volumes, self._publisher, timeout_s, own_host)
        self._loans = loans
        self._releases = Releases(self, machine, self._volumes, timeout_s)
        self._requests = Requests(
            self, self.desk, machine.host, self._volumes, loans, self._publisher, settings.mode.mode
        )
        self._guest_requests = GuestRequests(
            self, bus, self.desk, settings.guests, self.guests, self._volumes, self.ask_self
        )
        self._named = frozenset(settings.auto) | self._guest_requests.volumes
        """Volumes that the owner named, whose guests are heard before anything is lent."""
        self._auto = Auto(self, bus, settings, machine.swap_watch, self._volumes, self.ask_self, self.guests.reports)
        self._reconciler = Reconciler(self, machine, self._volumes, loans, self._releases, self._publisher)

    def begin(self) -> None:
        """Find the volumes that carry our tags and go on with them."""
        self.handle(BorrowVolume, self._requests.borrow)
        self.handle(ReturnVolume, self._requests.send_home)
        self.handle(Vacate, self._requests.vacate)
        self.handle(BorrowOwnSwap, self._guest_requests.serve)
        self.handle(ReturnOwnSwap, self._guest_requests.serve)
        self.bus.set_state("key", SealingKey(public_key=self._public_key))
        self.guests.start()
        self._suspended.start(lambda device: self.post(partial(self._resumed, device)))
        self._releases.start()
        self._reconciler.start()

    def end(self) -> None:
        """Stop watching; volumes stay as they are."""
        self.guests.stop()
        self._suspended.stop()

    def tick(self) -> float:
        """Tell lenders what they are owed, look after the volume that is due first."""
        self._suspended.mind(self._volumes.names)
        self._releases.tell_lenders_if_due()
        self._loans.turn()
        self.guests.turn({*self._volumes.names, *self._named})
        self._guest_requests.turn()
        self._reconciler.turn()
        self._auto.turn()
        return TICK_S

    def true_paths(self) -> Collection[str] | None:
        """See `Agent`: known as soon as every volume with our tags was looked at."""
        return (
            {"key", *self._publisher.paths, *self._auto.paths, *self._guest_requests.paths}
            if self._volumes.all_seen
            else None
        )

    def on_state(self, arrived: StateArrived) -> None:
        """Take a guest's report, or another borrower's claim of a guest."""
        self.guests.take(arrived)
        self._guest_requests.take(arrived)

    def _guests_changed(self) -> None:
        for managed in self._volumes:
            self._publisher.publish(managed)
        self._guest_requests.turn()

    def _resumed(self, device: str) -> None:
        self.say(EventKind.RESUMED_DEVICE, f"{device} was left suspended and has been resumed")
