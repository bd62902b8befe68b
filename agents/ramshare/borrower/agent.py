"""The borrower: on request gets leases and puts a live swap volume on them, shows progress, brings it home again.

This file puts the parts together; all of them run on the agent's loop and share the records in `charges.py`:
`requests.py` (what people and lenders ask), `asking.py` (memory from the manager), `cycle.py` (look, plan, apply one
step, follow it up), `releases.py` (leases go back), `telling.py` (events and states). What touches this machine is in
`host.py`, on the worker thread.
"""

from collections.abc import Collection

from ramshare.agent import Agent
from ramshare.borrower.asking import Asking
from ramshare.borrower.charges import Charges
from ramshare.borrower.cycle import Cycle
from ramshare.borrower.host import BorrowerHost
from ramshare.borrower.releases import Releases
from ramshare.borrower.requests import Requests
from ramshare.borrower.telling import Telling
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
    ) -> None:
        super().__init__(bus)
        self.host = host or BorrowerHost(runner, settings.directory, patience_s=settings.patience_s)
        self.charges = Charges(self)
        self._telling = Telling(self)
        self._asking = Asking(self, self.host, self.charges, self._telling, settings.ask_timeout_s)
        self._releases = Releases(self, self.host, self.charges, settings.directory, settings.ask_timeout_s)
        self._requests = Requests(self, self.host, self.charges, self._asking)
        self._cycle = Cycle(self, self.host, self.charges, self._asking, self._releases, self._telling)

    def begin(self) -> None:
        """Find the volumes that carry our tags and go on with them."""
        self.handlers = {
            BorrowVolume: self._requests.borrow,
            ReturnVolume: self._requests.send_home,
            Vacate: self._requests.vacate,
        }
        self._releases.start()
        self._cycle.start()

    def tick(self) -> float:
        """Resume what was left suspended, tell lenders what they are owed, look after the volume that is due first."""
        for device in self.host.resume_suspended(self.charges.volumes, self.clock()):
            self.say(EventKind.RESUMED_DEVICE, f"{device} was left suspended and has been resumed")
        self._releases.tell_lenders_if_due()
        self._cycle.turn()
        return TICK_S

    def true_paths(self) -> Collection[str] | None:
        """See `Agent`: known as soon as every volume with our tags was looked at."""
        return self._telling.paths if self.charges.all_seen else None
