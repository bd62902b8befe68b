"""The manager: a matchmaker. It keeps the cluster's database and answers borrow requests by having lenders export.

It owns nothing: killed at any moment, it costs new loans only. A fresh one asks everybody to announce, and serves when
all who should be there have spoken, or after `LISTEN_S`. Here is its listening; the course of a loan is in
`lending.py`, grants that nobody uses are in `unused_grants.py`, what everybody may read of it in `database.py`.
"""

import logging
from collections.abc import Collection

from ramshare.agent import REAL, Agent, Runtime
from ramshare.bus.api import Bus, StateArrived
from ramshare.manager.cluster import Cluster
from ramshare.manager.database import Database, not_heard
from ramshare.manager.lending import Lending
from ramshare.manager.unused_grants import UnusedGrants
from ramshare.messages.requests import Announce, BorrowMemory
from ramshare.settings import ManagerSettings
from ramshare.topics import EVERYBODY

log = logging.getLogger(__name__)

LISTEN_S = 3.0
"""How long a fresh manager waits for agents that the broker believes online; an announcement takes milliseconds."""
SETTLE_S = 0.5
"""Retained topics arrive in a burst after subscribing; the manager does not serve before it is over."""
TICK_S = 1.0
LISTENING_TICK_S = 0.1

WATCHED = ("status", "offer", "export/+", "lease/+")
"""What of everybody's state the manager needs; memory reports are for lenders."""


class Manager(Agent):
    """Listens, and puts its parts together."""

    sweeps = True

    def __init__(self, bus: Bus, runtime: Runtime = REAL, settings: ManagerSettings | None = None) -> None:
        super().__init__(bus, runtime)
        self.cluster = Cluster()
        self._database = Database(self.cluster)
        self._unused_grants = UnusedGrants(self, bus, self.cluster)
        settings = settings or ManagerSettings()
        self._lending = Lending(self, bus, self.desk, self.cluster, self._database, self._unused_grants, settings)

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
        """Begin to listen: what the broker replays may be old, so everybody is asked to say again what is true."""
        self.cluster.doubt()
        self._listening_since_s = self.clock()
        self.bus.ask(EVERYBODY, Announce(), LISTEN_S)
        self.soon()

    def on_state(self, arrived: StateArrived) -> None:
        """Fold in what an agent says of itself."""
        self.cluster.take(arrived, self.clock())
        self.soon()

    def true_paths(self) -> Collection[str] | None:
        """Return what the database shows, as soon as everybody was heard."""
        return self._database.published.keys() if self.ready else None

    def tick(self) -> float:
        """Become ready, take back unused grants, publish the database."""
        now_s = self.clock()
        if not self.ready:
            self._listen(now_s - self._listening_since_s)
        if self.ready:
            self._unused_grants.take_back(self._lending.held(), now_s)
            self._lending.turn()
        self.cluster.forget_grants(now_s)
        self._publish(now_s)
        return TICK_S if self.ready else LISTENING_TICK_S

    def _listen(self, so_far_s: float) -> None:
        if so_far_s > LISTEN_S or (so_far_s > SETTLE_S and not self.cluster.presence.unheard):
            self.cluster.settle()
            log.info("ready: %d agents known, %s", len(self.cluster.by_client), not_heard(self.cluster))
            self._lending.go_on()

    def _publish(self, now_s: float) -> None:
        for path, message in self._database.changes(now_s, self._lending.waiting).items():
            self.bus.set_state(path, message)
