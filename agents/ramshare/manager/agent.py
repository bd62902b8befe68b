"""The manager: a matchmaker. It keeps the cluster's database and answers borrow requests by having lenders export.

It owns nothing: killed at any moment, it costs new loans only, and not even those where another stands by. A fresh one
hears what the broker has stored, serves with that, and asks everybody to announce by and by, unless another manager
does (`leadership.py`): then it listens, and takes note of what is asked for. Here is its listening; the course
of a loan is in `lending.py`, grants that nobody uses are in `unused_grants.py`, what all may read in `database.py`.
"""

import logging
from collections.abc import Collection

from ramshare.agent import REAL, Agent, Runtime
from ramshare.bus.api import Bus, StateArrived
from ramshare.manager.cluster import Cluster
from ramshare.manager.confirming import Confirming
from ramshare.manager.database import Database, not_heard
from ramshare.manager.leadership import Leadership
from ramshare.manager.lending import Lending
from ramshare.manager.office import Office
from ramshare.manager.unused_grants import UnusedGrants
from ramshare.messages.requests import Announce, BorrowMemory
from ramshare.settings import ManagerSettings
from ramshare.topics import EVERYBODY, MANAGER, mark_path, role

log = logging.getLogger(__name__)

LISTEN_S = 15.0
"""How long a fresh manager waits for the end of what is stored: 100,000 topics take that (9,000 a second, measured).
If it does not come, the broker has dropped some, and the mark with it."""
ANNOUNCED_PER_S = 500
"""Agents that say everything again in a second, so that neither the broker nor the manager falls behind."""
ANNOUNCED_WITHIN_S = 60.0
"""By then every heartbeat was heard anyway."""
TICK_S = 1.0
STANDBY_TICK_S = 0.25
"""Who waits for another to fall silent notices it soon; it has little else to do."""
LISTENING_TICK_S = 0.1

WATCHED = ("status", "offer", "export/+", "lease/+", "claim")
"""What of everybody's state the manager needs; memory reports are for lenders."""


class Manager(Agent):
    """Listens, and puts its parts together."""

    sweeps = True

    def __init__(self, bus: Bus, runtime: Runtime = REAL, settings: ManagerSettings | None = None) -> None:
        super().__init__(bus, runtime)
        self.cluster = Cluster()
        self.office = Office(bus, Leadership(bus.client), runtime)
        self._led = False
        self._generation = 0
        """The claim under which loans are made."""
        self._marks = 0
        self._all_heard = False
        """The broker sent all that it has stored."""
        self._confirming = Confirming(self, self.cluster)
        self._database = Database(self.cluster)
        self._unused_grants = UnusedGrants(self, bus, self.cluster, self.office)
        settings = settings or ManagerSettings()
        self._lending = Lending(
            self,
            bus,
            self.desk,
            self.cluster,
            self._database,
            self._unused_grants,
            self.office,
            self._confirming,
            settings,
        )

    @property
    def ready(self) -> bool:
        """Whether everybody was heard, so that loans are made."""
        return self.cluster.settled

    def begin(self) -> None:
        """Listen to everybody, and ask everybody to speak."""
        self.handle(BorrowMemory, self._lending.borrow)
        for path in WATCHED:
            self.bus.watch_state(path=path)
        self.on_connected()

    def on_connected(self) -> None:
        """Begin to listen; the mark comes back behind all that the broker has stored."""
        self.cluster.doubt()
        self.office.listen_again()
        self._all_heard = False
        self._listening_since_s = self.clock()
        self._marks += 1
        self.bus.set_state(mark_path(self._marks), None)
        self.soon()

    def on_state(self, arrived: StateArrived) -> None:
        """Fold in what an agent says of itself."""
        if role(arrived.client) == MANAGER:
            self._lending.forget(self.office.hear(arrived))
        else:
            self.cluster.take(arrived, self.clock())
            self.office.hear_lender(arrived)
        self.soon()

    def on_own_state(self, arrived: StateArrived) -> None:
        """The mark ends what is stored; an earlier run's claim is older than the next one must be."""
        if arrived.path == mark_path(self._marks) and arrived.message is None:
            self._all_heard = True
            self.soon()
        elif arrived.retained:
            self.office.hear_own(arrived)

    def true_paths(self) -> Collection[str] | None:
        """Return what the database shows, as soon as everybody was heard."""
        return {"claim", *self._database.published} if self.ready else None

    def tick(self) -> float:
        """Become ready, take back unused grants, publish the database."""
        now_s = self.clock()
        if not self.ready:
            self._listen(now_s - self._listening_since_s)
        led, self._led = self._led, self.office.turn(ready=self.ready)
        if self._led:
            self._unused_grants.take_back(self._lending.held(), now_s)
            self._lending.turn()
        if self._led and self._generation != self.office.generation:  # perhaps it gave way and claims again
            self._generation = self.office.generation
            self._lending.go_on()
        elif led and not self._led:
            self._lending.stand_by()
        self._lending.forget_late(now_s)
        if self.ready:
            for lender in self.cluster.gaps.due(now_s):
                log.warning("something of %s did not arrive: it is asked to say everything again", lender)
                self._confirming.ask(lender)
        self.cluster.forget_grants(now_s)
        self._publish(now_s)
        if not self.ready:
            return LISTENING_TICK_S
        return TICK_S if self._led else STANDBY_TICK_S

    def _listen(self, so_far_s: float) -> None:
        """Serve as soon as all that is stored was heard: it is confirmed when it is needed, and by and by."""
        if self._all_heard or so_far_s > LISTEN_S:
            self.cluster.settle()
            within_s = min(ANNOUNCED_WITHIN_S, len(self.cluster.presence.unheard) / ANNOUNCED_PER_S)
            self.bus.ask(EVERYBODY, Announce(within_s=within_s), ANNOUNCED_WITHIN_S)
            log.info("ready: %d agents known, %s", len(self.cluster.by_client), not_heard(self.cluster))

    def _publish(self, now_s: float) -> None:
        for path, message in self._database.changes(now_s, self.office.seat(), self._lending.waiting).items():
            self.bus.set_state(path, message)
