"""Exports are made, removed and drained: the work goes to the worker thread, its outcome into the ledger.

Used by `requests.py` (on request) and `reclaim.py` (by force), on the lender's loop.
"""

import logging
from collections.abc import Callable
from functools import partial

from ramshare.audit import EndedLease, lease_ended
from ramshare.bus.api import Bus
from ramshare.generation import Generation
from ramshare.lender.exports.ledger import Ledger
from ramshare.lender.exports.records import ExportRecord
from ramshare.lender.exports.store import Exports
from ramshare.loop import Loop, say
from ramshare.messages.events import EventKind, LeaseOutcome
from ramshare.messages.requests import ExportLease

log = logging.getLogger(__name__)


class ExportChanges:
    """The one way in which exports change; every `done` runs on the loop, after the ledger knows."""

    def __init__(self, loop: Loop, bus: Bus, exports: Exports, ledger: Ledger, reserve_bytes: int) -> None:
        """`reserve_bytes` must stay available when an export has been made."""
        self._loop = loop
        self._bus = bus
        self._exports = exports
        self._ledger = ledger
        self._reserve_bytes = reserve_bytes

    def create(self, request: ExportLease, done: Callable[[ExportRecord | Exception], None]) -> None:
        """Make an export, or find the one that this lease has."""

        def made(outcome: ExportRecord | Exception) -> None:
            if isinstance(outcome, ExportRecord) and self._ledger.enter(outcome):
                self._say(EventKind.EXPORTED, f"for {outcome.borrower}, {outcome.mode}, as {outcome.target}", outcome)
            done(outcome)

        self._loop.work(partial(self._exports.create, request, self._reserve_bytes), made)

    def remove(
        self,
        record: ExportRecord,
        why: str,
        outcome: LeaseOutcome,
        *,
        force: bool = False,
        done: Callable[[Exception | None], None] = lambda _outcome: None,
    ) -> None:
        """Take an export away, before those that wait to be made; one with an open session only by `force`."""

        def removed(failure: Exception | None) -> None:
            if isinstance(failure, Exception):
                log.error("cannot remove %s: %s", record.lease, failure)
            elif self._ledger.strike(record):
                self._say(EventKind.RELEASED, f"are back: {why}", record)
                self._audit(record, why, outcome)
            done(failure)

        self._loop.work(partial(self._exports.remove, record.lease, force=force), removed, first=True)

    def remember(self, newest: Generation) -> None:
        """Write down whose orders are obeyed, before anything that was ordered is done."""

        def written(outcome: Exception | None) -> None:
            if isinstance(outcome, Exception):
                log.error("cannot write down that %s is the newest manager: %s", newest.manager, outcome)

        self._loop.work(partial(self._exports.remember, newest), written, first=True)

    def drain(self, draining: bool, done: Callable[[Exception | None], None]) -> None:
        """Begin or end the drain at once, and write that down; what cannot be written down is undone."""
        before = self._ledger.draining
        self._ledger.drain(draining)

        def written(outcome: Exception | None) -> None:
            if isinstance(outcome, Exception):
                self._ledger.drain(before)
            done(outcome)

        self._loop.work(partial(self._exports.drain, draining), written)

    def _audit(self, record: ExportRecord, why: str, outcome: LeaseOutcome) -> None:
        ended = EndedLease(
            lease=record.lease,
            peer=record.borrower,
            size_bytes=record.size_bytes,
            mode=record.mode,
            outcome=outcome,
            reason=why,
            granted_at=record.created_at,
        )
        lease_ended(self._bus, ended)

    def _say(self, kind: EventKind, what: str, record: ExportRecord) -> None:
        sentence = f"{record.size_bytes >> 20} MiB {what}"
        say(self._bus, kind, sentence, lease=record.lease, peer=record.borrower, size_bytes=record.size_bytes)
