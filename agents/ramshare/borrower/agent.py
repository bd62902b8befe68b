"""The borrower: on request gets leases and puts a live swap volume on them, shows progress, brings it home again.

This file puts the parts together; all of them run on the agent's loop and share the records in `volumes.py`:
`requests.py` (what people and lenders ask), `loans.py` (memory from the manager), `reconcile.py` (look, plan, apply one
step, follow it up), `releases.py` (leases go back), `publish.py` (events and states). What touches this machine is in
`machine/host.py`, on the worker thread.
"""

from collections.abc import Collection

from ramshare.agent import REAL, Agent, Runtime
from ramshare.borrower.loans import Loans
from ramshare.borrower.machine.host import BorrowerHost
from ramshare.borrower.publish import Publisher
from ramshare.borrower.reconcile import Reconciler
from ramshare.borrower.releases import Releases
from ramshare.borrower.requests import Requests
from ramshare.borrower.volumes import Volumes
from ramshare.bus.api import Bus
from ramshare.linux.run import Runner
from ramshare.messages.events import EventKind
from ramshare.messages.requests import BorrowVolume, ReturnVolume, Vacate
from ramshare.settings import BorrowerSettings, HostSettings

TICK_S = 1.0
"""Sessions are watched, and devices left suspended are found, this often."""


class Borrower(Agent):
    """See the module."""

    sweeps = True

    def __init__(
        self,
        bus: Bus,
        host_settings: HostSettings,
        settings: BorrowerSettings,
        runner: Runner,
        host: BorrowerHost | None = None,
        runtime: Runtime = REAL,
    ) -> None:
        super().__init__(bus, runtime)
        self.host = host or BorrowerHost(runner, settings.directory, patience_s=settings.patience_s)
        self.volumes = Volumes(self)
        self._publisher = Publisher(self)
        self._loans = Loans(self, self.host, self.volumes, self._publisher, settings.ask_timeout_s)
        self._releases = Releases(self, self.host, self.volumes, settings.directory, settings.ask_timeout_s)
        self._requests = Requests(self, self.host, self.volumes, self._loans)
        self._reconciler = Reconciler(self, self.host, self.volumes, self._loans, self._releases, self._publisher)

    def begin(self) -> None:
        """Find the volumes that carry our tags and go on with them."""
        self.handle(BorrowVolume, self._requests.borrow)
        self.handle(ReturnVolume, self._requests.send_home)
        self.handle(Vacate, self._requests.vacate)
        self._releases.start()
        self._reconciler.start()

    def tick(self) -> float:
        """Resume what was left suspended, tell lenders what they are owed, look after the volume that is due first."""
        for device in self.host.resume_suspended(self.volumes.names, self.clock()):
            self.say(EventKind.RESUMED_DEVICE, f"{device} was left suspended and has been resumed")
        self._releases.tell_lenders_if_due()
        self._reconciler.turn()
        return TICK_S

    def true_paths(self) -> Collection[str] | None:
        """See `Agent`: known as soon as every volume with our tags was looked at."""
        return self._publisher.paths if self.volumes.all_seen else None
