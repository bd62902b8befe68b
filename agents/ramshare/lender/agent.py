"""The lender: decides what its host can spare, exports it on request, and takes it back when it is needed.

It has the last word: the manager may be wrong about what is free, it is not. This file puts the parts together and says
when each acts; all of them run on the agent's loop: `requests.py` (what others ask), `ledger.py` (what is lent),
`guests/reports.py` (guests, this host's own borrower), `surplus.py` (samples, policy, balloons), `offer.py` (the offer
and its reason), `reclaim.py` (leases come back). What it owns (images, records, targets) is handled by
`exports/store.py` on the worker thread.
"""

import logging
import socket
from collections.abc import Collection
from functools import partial

from ramshare.agent import REAL, Agent, Runtime
from ramshare.bus.api import Bus, StateArrived
from ramshare.lender.exports.ledger import Ledger
from ramshare.lender.exports.records import ExportRecord
from ramshare.lender.exports.store import Exports
from ramshare.lender.guests.host_guests import HostGuests
from ramshare.lender.guests.reports import Neighbours
from ramshare.lender.learnt import FILE_NAME, Learnt
from ramshare.lender.offer import Offering
from ramshare.lender.reclaim import Reclaim
from ramshare.lender.requests import Requests
from ramshare.lender.surplus import Surplus
from ramshare.linux.hypervisor import Hypervisor, NullHypervisor
from ramshare.linux.pressure_watch import NoWatch, Watch
from ramshare.linux.ramdisk import Ramdisk
from ramshare.linux.run import Runner, require_root, require_tools
from ramshare.linux.sampling import MemorySampler
from ramshare.linux.tgt import Tgt
from ramshare.messages.requests import Drain, ExportLease, ReleaseLease, Undrain
from ramshare.policy.model import Policy
from ramshare.policy.registry import DEFAULT_POLICY, make_policy
from ramshare.settings import BrokerSettings, HostSettings, LenderSettings, load

log = logging.getLogger(__name__)

LOOK_S = 2.0
"""Between two looks at tgtd's sessions."""
START_AGAIN_S = 5.0
"""After a start that failed (tgtd's port taken, no RAM file system) it is tried again, and said again."""


class Lender(Agent):
    """See the module."""

    sweeps = True

    def __init__(
        self,
        bus: Bus,
        host_settings: HostSettings,
        settings: LenderSettings,
        runner: Runner,
        exports: Exports | None = None,
        sampler: MemorySampler | None = None,
        watch: Watch | None = None,
        hypervisor: Hypervisor | None = None,
        policy: Policy | None = None,
        runtime: Runtime = REAL,
    ) -> None:
        super().__init__(bus, runtime)
        host = host_settings.host
        self._interval_s = host_settings.sample_interval_s
        portal = f"{settings.address or _own_address()}:{settings.port}"
        self._exports = exports or Exports(
            Ramdisk(runner, settings.directory), Tgt(runner, settings.control_port), host, portal
        )
        self._watch = watch or NoWatch()
        self._ledger = Ledger(self, self._exports, host, portal)
        vms = HostGuests(hypervisor or NullHypervisor(), self.post)
        self.neighbours = Neighbours(self, host, settings.guests, vms)
        self._policy = policy or make_policy(
            settings.policy or DEFAULT_POLICY, settings.policy_caution, settings.policy_pace
        )
        self._learnt = Learnt(self._exports.marker.with_name(FILE_NAME))
        sampler = sampler or MemorySampler(self._interval_s)
        self._surplus = Surplus(self, settings, self._ledger, self.neighbours, sampler, self._policy)
        self._offering = Offering(self, settings, self._ledger, self.neighbours, self._surplus)
        self._reclaim = Reclaim(
            self, self._exports, self._ledger, self._surplus, self._offering, settings.vacate_within_s
        )
        self._requests = Requests(
            self, self._exports, self._ledger, self._offering, self._reclaim, settings.reserve_bytes
        )
        self._looking = False
        self._next_sample_s = self._next_look_s = self._start_again_s = self._next_guests_s = 0.0

    def begin(self) -> None:
        """Check the machine, hear this host's guests, and bring records and targets in line."""
        require_root("a lender")
        require_tools(("tgtd", "tgtadm", "mount"))
        self.handle(ExportLease, self._requests.export)
        self.handle(ReleaseLease, self._requests.release)
        self.handle(Drain, partial(self._requests.drain, draining=True))
        self.handle(Undrain, partial(self._requests.drain, draining=False))
        self.neighbours.start()
        self._watch.start(lambda: self.post(self._decide_soon))
        self.neighbours.vms.start(self._look_at_guests)
        self._start()

    def end(self) -> None:
        """Keep what was learnt; exports stay."""
        self._watch.stop()
        self.neighbours.vms.stop()
        if self._ledger.ready:
            self._learnt.save(self._policy)

    def on_state(self, arrived: StateArrived) -> None:
        """Take a guest's report, or note that this host's own swap is remote."""
        self.neighbours.take(arrived)
        self._decide_soon()

    def true_paths(self) -> Collection[str] | None:
        """See `Agent`: known as soon as the RAM file system was read."""
        return {"memory", "offer", "decisions", *self._ledger.paths} if self._ledger.ready else None

    def tick(self) -> float:
        """Sample, decide, offer, look at sessions, reclaim: what is due."""
        now_s = self.clock()
        if now_s >= self._next_sample_s:
            self._next_sample_s = now_s + self._interval_s
            self._surplus.sample()
            self._surplus.balance()
            self._offering.offer()
        if now_s >= self._next_guests_s:
            self._look_at_guests()
        if not self._ledger.ready and now_s >= self._start_again_s:
            self._start()
        if self._ledger.ready:
            if now_s >= self._next_look_s and not self._looking:
                self._looking = True
                self.work(self._exports.look, self._looked)
            self._reclaim.reclaim()
            self._learnt.save_if_due(self._policy, now_s)
        return min(1.0, self.neighbours.vms.look_again_s)

    def _decide_soon(self) -> None:
        """Something changed, or this host's memory gets short: decide now, not at the next interval."""
        self._next_sample_s = 0.0
        self.soon()

    def _look_at_guests(self) -> None:
        self._next_guests_s = self.clock() + self.neighbours.vms.look_again_s
        self.neighbours.vms.look(self._guests_seen)

    def _guests_seen(self) -> None:
        if self.neighbours.listen():
            self._decide_soon()
        self._surplus.balance()

    def _start(self) -> None:
        self._start_again_s = float("inf")
        self.work(self._exports.start, self._started)

    def _started(self, records: dict[str, ExportRecord] | Exception) -> None:
        if isinstance(records, Exception):
            log.error("cannot serve: %s", records)
            self._start_again_s = self.clock() + START_AGAIN_S
            return
        self._learnt.restore(self._policy)
        self._ledger.open(records)
        self._decide_soon()

    def _looked(self, connected: dict[str, bool] | Exception) -> None:
        self._looking = False
        self._next_look_s = self.clock() + LOOK_S
        if isinstance(connected, Exception):
            log.error("cannot look at tgtd: %s", connected)
            return
        self._ledger.note_sessions(connected)


def _own_address() -> str:
    """The address of the route to the broker: what borrowers on the same network reach."""
    broker = load(BrokerSettings)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((broker.broker_host, broker.broker_port))
        return str(probe.getsockname()[0])
