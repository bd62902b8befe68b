"""Lent memory comes back: it was released, or more is lent than can be and it is asked back, or cut off in the end.

Which leases are asked for is chosen by a pure function. Used by the lender's agent, on its loop.
"""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from itertools import combinations

from ramshare.agent import Agent
from ramshare.lender.exports.ledger import Ledger
from ramshare.lender.exports.records import ExportRecord
from ramshare.lender.exports.store import Exports
from ramshare.lender.offer import Offering
from ramshare.lender.surplus import Surplus
from ramshare.messages.events import EventKind
from ramshare.messages.requests import Vacate
from ramshare.messages.state import Mode

log = logging.getLogger(__name__)

CUT_OFF_AGAIN_S = 10.0
"""A lease that could not be cut off is tried again."""


class Reclaim:
    """Knows which leases were asked back, and by when."""

    def __init__(
        self, agent: Agent, exports: Exports, ledger: Ledger, surplus: Surplus, offering: Offering, within_s: float
    ) -> None:
        """Borrowers are given `within_s` to give back what is asked for."""
        self._agent = agent
        self._exports = exports
        self._ledger = ledger
        self._surplus = surplus
        self._offering = offering
        self._within_s = within_s
        self._deadlines_s: dict[str, float] = {}

    def remove(
        self,
        record: ExportRecord,
        why: str,
        *,
        force: bool = False,
        done: Callable[[Exception | None], None] = lambda _outcome: None,
    ) -> None:
        """Take an export away, then run `done`; one with an open session only by `force`."""

        def removed(outcome: Exception | None) -> None:
            if isinstance(outcome, Exception):
                log.error("cannot remove %s: %s", record.lease, outcome)
            else:
                self._gone(record, why)
            done(outcome)

        self._agent.work(partial(self._exports.remove, record.lease, force=force), removed)

    def _gone(self, record: ExportRecord, why: str) -> None:
        """The memory is back: say so, once, and offer it again."""
        if not self._ledger.strike(record):
            return
        self._deadlines_s.pop(record.lease, None)
        self._surplus.measure()
        self._offering.offer()
        self._agent.say(
            EventKind.RELEASED,
            f"{record.size_bytes >> 20} MiB are back: {why}",
            lease=record.lease,
            peer=record.borrower,
            size_bytes=record.size_bytes,
        )

    def reclaim(self) -> None:
        """Ask leases back when more is lent than can be; cut off mirrors whose borrower let the deadline pass."""
        plan, records, now_s = self._offering.plan, self._ledger.records, self._agent.clock()
        if plan is None:
            return
        asked = sum(records[lease].size_bytes for lease in self._deadlines_s if lease in records)
        need = self._ledger.lent_bytes() - plan.capacity_bytes - asked
        candidates = {
            r.lease: r.size_bytes
            for r in records.values()
            if r.lease not in self._deadlines_s and (r.mode is Mode.MIRROR or self._ledger.draining)
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
            self._deadlines_s[lease] = self._agent.clock() + self._within_s
        sentence = f"ask {borrower} for {size_bytes >> 20} MiB back within {self._within_s:g} s: {reason}"
        self._agent.say(EventKind.VACATED, sentence, peer=borrower, size_bytes=size_bytes)
        self._agent.ask(borrower, request, self._within_s, lambda reply: log.info("vacate %s: %s", leases, reply))

    def _overdue(self, record: ExportRecord) -> None:
        """Cut a mirror off; of a move lease remind the borrower, which may have been restarted since it was asked."""
        if record.mode is Mode.MIRROR:
            self._deadlines_s[record.lease] = self._agent.clock() + CUT_OFF_AGAIN_S
            self.remove(record, f"{record.borrower} let the deadline pass; every page is on its disk too", force=True)
            return
        self._vacate(record.borrower, (record.lease,), "asked before")
        self._agent.say(
            EventKind.FAILED,
            f"{record.borrower} has not moved lease {record.lease} home yet; it stays, for its pages lie only here",
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
