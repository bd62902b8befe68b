"""The lender: decides what its host can spare, exports it on request, and takes it back when it is needed.

It has the last word: the manager may be wrong about what is free, it is not. This file puts the parts together and says
when each acts; all of them run on the agent's loop: `requests.py` (what others ask), `exports/ledger.py` (what is
lent), `guests/reports.py` (guests, this host's own borrower), `surplus.py` (policy, balloons), `offer.py` (the offer
and its reason), `reclaim.py` (leases come back). What it owns (images, records, targets) is handled by
`exports/store.py` on the worker thread, by way of `exports/changes.py`.
"""

import contextlib
import logging
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

from ramshare.agent import REAL, Agent, Runtime
from ramshare.bus.api import Bus, StateArrived
from ramshare.generation import Generation
from ramshare.lender.exports.changes import ExportChanges
from ramshare.lender.exports.ledger import Ledger
from ramshare.lender.exports.records import ExportRecord
from ramshare.lender.guests.host_guests import HostGuests
from ramshare.lender.guests.reports import LocalReports
from ramshare.lender.hands import Hands
from ramshare.lender.learnt import FILE_NAME, Learnt
from ramshare.lender.offer import PublishedOffer
from ramshare.lender.reclaim import Reclaim
from ramshare.lender.requests import Requests
from ramshare.lender.surplus import Surplus
from ramshare.linux.memory import MemoryUnreadableError
from ramshare.messages.events import EventKind
from ramshare.messages.requests import Drain, ExportLease, ReleaseLease, Undrain
from ramshare.messages.state import SealingKey
from ramshare.settings import HostSettings, LenderSettings

log = logging.getLogger(__name__)

LOOK_S = 2.0
"""Between two looks at tgtd's sessions."""
START_AGAIN_S = 5.0
"""After a start that failed (tgtd's port taken, no RAM file system) it is tried again, and said again."""


@dataclass(frozen=True)
class _Found:
    """What an earlier run left on the RAM file system."""

    records: dict[str, ExportRecord]
    draining: bool
    newest: Generation
    learnt: Any


class Lender(Agent):
    """Owns the parts, and the times at which each is due."""

    sweeps = True

    def __init__(
        self, bus: Bus, host_settings: HostSettings, settings: LenderSettings, hands: Hands, runtime: Runtime = REAL
    ) -> None:
        super().__init__(bus, runtime)
        self._interval_s = host_settings.sample_interval_s
        self._wall = runtime.wall
        self._hands = hands
        self._guests = HostGuests(hands.hypervisor, self.post, runtime.wall, runtime.worker("hypervisor"))
        self.reports = LocalReports(bus, host_settings.host, settings.guests, self._guests)
        self._learnt = Learnt(settings.directory / FILE_NAME, hands.policy)
        self._ledger = Ledger(bus, host_settings.host, hands.portal)
        self._surplus = Surplus(settings, self._ledger, self.reports, hands.policy, hands.share_bytes)
        self._offer = PublishedOffer(bus, self._ledger, self._surplus, runtime.wall)
        changes = ExportChanges(self, bus, hands.exports, self._ledger, settings.reserve_bytes)
        self._reclaim = Reclaim(self, bus, self._ledger, changes, settings.vacate_within_s)
        self._requests = Requests(self.desk, self._ledger, self._offer, changes)
        self._looking = False
        self._next_sample_s = self._next_look_s = self._start_again_s = self._next_guests_s = 0.0

    def begin(self) -> None:
        """Hear this host's guests, and bring records and targets in line."""
        self.handle(ExportLease, self._requests.export)
        self.handle(ReleaseLease, self._requests.release)
        self.handle(Drain, partial(self._requests.drain, draining=True))
        self.handle(Undrain, partial(self._requests.drain, draining=False))
        self._ledger.listen(self._ledger_changed)
        self.reports.start()
        self.bus.watch_state(path="key")
        self._hands.watch.start(lambda: self.post(self._decide_soon))
        self._guests.start(self._look_at_guests)
        self._start()

    def end(self) -> None:
        """Keep what was learnt; exports stay."""
        self._hands.watch.stop()
        self._guests.stop()
        if self._ledger.ready:
            self._learnt.write(self._learnt.snapshot())

    def on_state(self, arrived: StateArrived) -> None:
        """Take a guest's report, a borrower's key, or note that this host's own swap is remote."""
        if arrived.path == "key":
            key = arrived.message if isinstance(arrived.message, SealingKey) else None
            self._ledger.hear_key(arrived.client, key)
            return
        self.reports.take(arrived, self._wall())
        self._decide_soon()

    def true_paths(self) -> Collection[str] | None:
        """Return what is shown: known as soon as the RAM file system was read."""
        return {"memory", "offer", "decisions", *self._ledger.paths} if self._ledger.ready else None

    def tick(self) -> float:
        """Sample, decide, offer, look at sessions, reclaim: what is due."""
        now_s = self.clock()
        if now_s >= self._next_sample_s:
            self._next_sample_s = now_s + self._interval_s
            self._decide()
        if now_s >= self._next_guests_s:
            self._look_at_guests()
        if not self._ledger.ready and now_s >= self._start_again_s:
            self._start()
        if self._ledger.ready:
            if now_s >= self._next_look_s and not self._looking:
                self._looking = True
                self.work(self._look, self._looked)
            if self._offer.known:
                self._reclaim.turn(self._offer.plan)
            if self._learnt.due(now_s):
                self.work(partial(self._learnt.write, self._learnt.snapshot()), lambda _outcome: None)
        return min(1.0, self._guests.look_again_s)

    # --- deciding

    def _decide_soon(self) -> None:
        """Something changed, or this host's memory gets short: decide now, not at the next interval."""
        self._next_sample_s = 0.0
        self.soon()

    def _decide(self) -> None:
        try:
            memory = self._hands.sampler.sample()
        except MemoryUnreadableError as error:
            self._surplus.hold(str(error))
            self._offer.update()
            return
        self.bus.set_state("memory", memory)
        self._surplus.decide(memory, self._wall())
        self._balance()
        self._offer.update()

    def _balance(self) -> None:
        for sentence in self._surplus.balance(self.clock(), self._wall()):
            self.say(EventKind.FAILED, sentence)

    def _ledger_changed(self) -> None:
        """Offer what is left, and have reclaim look at what is lent."""
        if self._surplus.outdated:
            with contextlib.suppress(MemoryUnreadableError):
                self._surplus.measure(self._hands.sampler.sample())
        self._offer.update()
        self.soon()

    def _look_at_guests(self) -> None:
        self._next_guests_s = self.clock() + self._guests.look_again_s
        self._guests.look(self._guests_seen)

    def _guests_seen(self) -> None:
        if self.reports.listen():
            self._decide_soon()
        self._balance()

    # --- the exports

    def _start(self) -> None:
        self._start_again_s = float("inf")
        self.work(self._find, self._started)

    def _find(self) -> _Found:
        """On the worker."""
        records = self._hands.exports.start()
        return _Found(records, self._hands.exports.draining(), self._hands.exports.newest(), self._learnt.read())

    def _started(self, found: _Found | Exception) -> None:
        self._ledger.note_place(self._hands.exports.misplaced)
        if isinstance(found, Exception):
            log.error("cannot serve: %s", found)
            self._start_again_s = self.clock() + START_AGAIN_S
            return
        self._learnt.restore(found.learnt)
        self._ledger.open(found.records, found.draining, found.newest)
        self._decide_soon()

    def _look(self) -> tuple[dict[str, ExportRecord], dict[str, bool]]:
        """On the worker."""
        connected = self._hands.exports.look()
        return dict(self._hands.exports.records), connected

    def _looked(self, seen: tuple[dict[str, ExportRecord], dict[str, bool]] | Exception) -> None:
        self._looking = False
        self._next_look_s = self.clock() + LOOK_S
        self._ledger.note_place(self._hands.exports.misplaced)
        if isinstance(seen, Exception):
            log.error("cannot look at tgtd: %s", seen)
            return
        self._ledger.note_sessions(*seen)
