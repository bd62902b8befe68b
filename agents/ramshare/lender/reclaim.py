"""More is lent than can be: leases are asked back, or cut off in the end.

Which leases are asked for is chosen by a pure function. Used by the lender's agent, on its loop.
"""

import logging
from collections.abc import Mapping
from itertools import combinations

from ramshare.bus.api import Bus
from ramshare.lender.exports.changes import ExportChanges
from ramshare.lender.exports.ledger import Ledger
from ramshare.lender.exports.records import ExportRecord
from ramshare.lender.offer_plan import OfferPlan
from ramshare.loop import Loop, say
from ramshare.messages.events import EventKind, LeaseOutcome
from ramshare.messages.requests import Vacate
from ramshare.messages.state import Mode

log = logging.getLogger(__name__)

CUT_OFF_AGAIN_S = 10.0
"""A lease that could not be cut off is tried again."""


class Reclaim:
    """Knows which leases were asked back, and by when."""

    def __init__(self, loop: Loop, bus: Bus, ledger: Ledger, changes: ExportChanges, within_s: float) -> None:
        """Borrowers are given `within_s` to give back what is asked for."""
        self._loop = loop
        self._bus = bus
        self._ledger = ledger
        self._changes = changes
        self._within_s = within_s
        self._deadlines_s: dict[str, float] = {}

    def turn(self, plan: OfferPlan) -> None:
        """Ask leases back when more is lent than can be; cut off mirrors whose borrower let the deadline pass."""
        records, now_s = self._ledger.records, self._loop.clock()
        asked = sum(records[lease].size_bytes for lease in self._deadlines_s if lease in records)
        need = self._ledger.lent_bytes() - plan.capacity_bytes - asked
        candidates = {
            r.lease: r.size_bytes
            for r in records.values()
            if r.lease not in self._deadlines_s and (not r.committed or self._ledger.draining)
        }
        chosen = smallest_sufficient(candidates, need)
        for borrower in sorted({records[lease].borrower for lease in chosen}):
            self._vacate(borrower, tuple(x for x in chosen if records[x].borrower == borrower), plan.reason)
        for lease, deadline_s in list(self._deadlines_s.items()):
            record = records.get(lease)
            if record is None:
                self._deadlines_s.pop(lease)
            elif now_s >= deadline_s:
                self._overdue(record)

    def _vacate(self, borrower: str, leases: tuple[str, ...], reason: str) -> None:
        size_bytes = sum(self._ledger.records[lease].size_bytes for lease in leases)
        request = Vacate.until(leases, size_bytes, self._within_s)
        for lease in leases:
            self._deadlines_s[lease] = self._loop.clock() + self._within_s
        sentence = f"ask {borrower} for {size_bytes >> 20} MiB back within {self._within_s:g} s: {reason}"
        say(self._bus, EventKind.VACATED, sentence, peer=borrower, size_bytes=size_bytes)
        self._loop.ask(borrower, request, self._within_s, lambda reply: log.info("vacate %s: %s", leases, reply))

    def _overdue(self, record: ExportRecord) -> None:
        """Cut a mirror off; of any other lease remind the borrower, which may have been restarted since it was asked.

        It may hold the only copy of pages: a move always does, a pair's leg while the other one is being replaced.
        """
        if record.mode is Mode.MIRROR:
            self._deadlines_s[record.lease] = self._loop.clock() + CUT_OFF_AGAIN_S
            why = f"{record.borrower} let the deadline pass; every page is on its disk too"
            self._changes.remove(record, why, LeaseOutcome.CUT_OFF, force=True)
            return
        self._vacate(record.borrower, (record.lease,), "asked before")
        say(
            self._bus,
            EventKind.FAILED,
            f"{record.borrower} has not left lease {record.lease} yet; it stays, for its pages may lie only here",
            lease=record.lease,
            peer=record.borrower,
        )


EXACT_UP_TO = 12
"""Leases up to which every subset is tried (4,096 of them); beyond, the largest go first."""


def smallest_sufficient(sizes: Mapping[str, int], need_bytes: int) -> tuple[str, ...]:
    """Return the leases whose sum is the least that covers `need_bytes`, fewest first; all if nothing covers it."""
    if need_bytes <= 0:
        return ()
    if sum(sizes.values()) <= need_bytes:
        return tuple(sorted(sizes))
    if len(sizes) <= EXACT_UP_TO:
        sets = (c for n in range(1, len(sizes) + 1) for c in combinations(sorted(sizes), n))
        enough = (c for c in sets if sum(sizes[x] for x in c) >= need_bytes)
        return min(enough, key=lambda c: (sum(sizes[x] for x in c), len(c), c))
    chosen: list[str] = []
    for lease in sorted(sizes, key=lambda x: (-sizes[x], x)):
        if sum(sizes[x] for x in chosen) >= need_bytes:
            break
        chosen.append(lease)
    return tuple(sorted(chosen))
