"""Grants that nobody uses: their lenders are asked to take them back. Used by the manager."""

import logging
from collections.abc import Collection
from operator import itemgetter

from ramshare.bus.api import Bus
from ramshare.loop import Loop, say
from ramshare.manager.cluster import Cluster
from ramshare.manager.office import Office
from ramshare.messages.events import EventKind
from ramshare.messages.requests import ReleaseLease

log = logging.getLogger(__name__)

TAKE_BACK_AGAIN_S = 60.0
"""A lender that did not give an unused grant up (its agent is busy or away) is asked again."""
RELEASE_TIMEOUT_S = 15.0
"""Freeing 4 GiB takes a lender less than a second; its answer is for the log only."""


class UnusedGrants:
    """Knows since when grants are unused, and who was asked."""

    def __init__(self, loop: Loop, bus: Bus, cluster: Cluster, office: Office) -> None:
        self._office = office
        self._loop = loop
        self._bus = bus
        self._cluster = cluster
        self._at_s: dict[tuple[str, str], float] = {}
        self._asked: set[tuple[str, str]] = set()
        """Both by lender and lease: one lender's claims change nothing for another's."""

    def take_back(self, held: Collection[str], now_s: float) -> None:
        """Have every grant released that is abandoned for too long; not those `held` for a loan that is being made."""
        unused = {
            key: export
            for key, export in sorted(self._cluster.unconnected.items(), key=itemgetter(0))
            if export.lease not in held and self._cluster.abandoned(export, now_s)
        }
        self._at_s = {key: at_s for key, at_s in self._at_s.items() if key in unused}
        self._asked &= unused.keys()
        for key, export in unused.items():
            lender, lease = key
            within_s = max(0.0, (export.login_by - export.created_at).total_seconds())
            if now_s <= self._at_s.setdefault(key, now_s + within_s) or not self._cluster.online(lender):
                continue
            if key not in self._asked:
                sentence = f"{export.borrower} has not used {lease} for {within_s:.0f} s"
                about = {"lease": lease, "peer": lender, "size_bytes": export.size_bytes}
                say(self._bus, EventKind.TAKEN_BACK, sentence, **about)
            self._asked.add(key)
            self._at_s[key] = now_s + TAKE_BACK_AGAIN_S
            self.release(lender, lease)

    def release(self, lender: str, lease: str) -> None:
        """Ask a lender to release a lease; what it answers is only logged. Who has been replaced leaves it alone."""
        if not self._office.leads:
            return
        self._loop.ask(
            lender,
            ReleaseLease(lease=lease, generation=self._office.generation),
            RELEASE_TIMEOUT_S,
            lambda reply: log.info("%s, asked to release %s: %s", lender, lease, getattr(reply, "sentence", reply)),
        )
