"""What is asked of the lender: the manager has memory exported, borrowers give it back, people drain the host.

Used by the lender's agent, on its loop.
"""

import logging
from functools import partial

from ramshare.agent import Agent
from ramshare.bus.api import RequestArrived
from ramshare.desk import RefusedError
from ramshare.lender.exports.ledger import Ledger
from ramshare.lender.exports.records import ExportRecord
from ramshare.lender.exports.store import Exports
from ramshare.lender.offer import Offering
from ramshare.lender.reclaim import Reclaim
from ramshare.messages.events import EventKind
from ramshare.messages.replies import ErrorCode, ExportReply, Grant, Reply
from ramshare.messages.requests import ExportLease, ReleaseLease
from ramshare.topics import MANAGER

log = logging.getLogger(__name__)


class Requests:
    """The handlers."""

    def __init__(
        self,
        agent: Agent,
        exports: Exports,
        ledger: Ledger,
        offering: Offering,
        reclaim: Reclaim,
        reserve_bytes: int,
    ) -> None:
        """`reserve_bytes` must stay available when an export has been made."""
        self._agent = agent
        self._exports = exports
        self._ledger = ledger
        self._offering = offering
        self._reclaim = reclaim
        self._reserve_bytes = reserve_bytes

    def export(self, arrived: RequestArrived[ExportLease]) -> Reply | None:
        """Make an export, or grant again the one that this lease has."""
        request = arrived.request
        if not self._ledger.ready:
            raise RefusedError(ErrorCode.NOT_READY, "the lender has just started")
        if request.lease in self._ledger.pending:
            raise RefusedError(ErrorCode.BUSY, f"lease {request.lease} is being made")
        if request.lease not in self._ledger.records:
            self._offering.check_room(request)
            self._ledger.pending[request.lease] = request
            self._offering.offer()
        job = partial(self._exports.create, request, self._reserve_bytes)
        self._agent.work(job, partial(self._exported, arrived, request))
        return None

    def _exported(self, arrived: RequestArrived, request: ExportLease, made: ExportRecord | Exception) -> None:
        self._ledger.pending.pop(request.lease, None)
        if isinstance(made, Exception):
            self._offering.offer()
            log.error("cannot export %s: %s", request.lease, made)
            reply = ExportReply(request_id=request.request_id, error=_code(made), sentence=str(made)[:1000])
            self._agent.desk.settle(arrived, reply)
            return
        new = made.lease not in self._ledger.records
        self._ledger.records[made.lease] = made
        self._offering.offer()
        self._ledger.publish(made)
        if new:
            self._agent.say(
                EventKind.EXPORTED,
                f"{made.size_bytes >> 20} MiB for {made.borrower}, {made.mode}, as {made.target}",
                lease=made.lease,
                peer=made.borrower,
                size_bytes=made.size_bytes,
            )
        grant = Grant(
            lease=made.lease,
            lender=self._agent.bus.client,
            portal=self._ledger.portal,
            target=made.target,
            size_bytes=made.size_bytes,
            chap_user=made.chap_user,
            chap_secret=made.chap_secret,
        )
        self._agent.desk.settle(arrived, ExportReply(request_id=request.request_id, grant=grant))

    def release(self, arrived: RequestArrived[ReleaseLease]) -> Reply | None:
        """Take a lease back from its borrower or the manager; answered when its memory is free."""
        request = arrived.request
        if not self._ledger.ready:
            raise RefusedError(ErrorCode.NOT_READY, "the lender has just started and does not know its leases yet")
        record = self._ledger.records.get(request.lease)
        if record is None:
            raise RefusedError(ErrorCode.UNKNOWN_LEASE, f"no lease {request.lease} here; it may be released already")
        if arrived.client not in (record.borrower, MANAGER):
            raise RefusedError(ErrorCode.NOT_ALLOWED, f"lease {request.lease} is of {record.borrower}")

        def done(outcome: Exception | None) -> None:
            reply = Reply(request_id=request.request_id)
            if outcome is not None:
                reply = reply.model_copy(update={"error": _code(outcome), "sentence": str(outcome)[:1000]})
            self._agent.desk.settle(arrived, reply)

        self._reclaim.remove(record, f"given back by {arrived.client}", done=done)
        return None

    def drain(self, arrived: RequestArrived, draining: bool) -> Reply | None:
        """Offer nothing any more and ask everything back; or undo that."""
        self._ledger.drain(draining)
        self._offering.offer()
        self._agent.soon()
        return Reply(
            request_id=arrived.request.request_id,
            sentence=f"{self._ledger.lent_bytes() >> 20} MiB to come back" if draining else "offering again",
        )


def _code(error: Exception) -> ErrorCode:
    return error.code if isinstance(error, RefusedError) else ErrorCode.FAILED
