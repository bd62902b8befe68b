"""What is asked of the lender: the manager has memory exported, borrowers give it back, people drain the host.

Used by the lender's agent, on its loop.
"""

from ramshare.bus.api import RequestArrived
from ramshare.desk import Desk, RefusedError
from ramshare.generation import Generation
from ramshare.lender.exports.changes import ExportChanges
from ramshare.lender.exports.ledger import Ledger
from ramshare.lender.exports.records import ExportRecord
from ramshare.lender.offer import PublishedOffer
from ramshare.messages.base import LEAST_LEASE_BYTES
from ramshare.messages.events import LeaseOutcome
from ramshare.messages.replies import ErrorCode, ExportReply, Reply
from ramshare.messages.requests import Drain, ExportLease, ReleaseLease, Undrain
from ramshare.topics import MANAGER, role


class Requests:
    """Checks what is asked for, has it done, and answers."""

    def __init__(self, desk: Desk, ledger: Ledger, offer: PublishedOffer, changes: ExportChanges) -> None:
        self._desk = desk
        self._ledger = ledger
        self._offer = offer
        self._changes = changes

    def export(self, arrived: RequestArrived[ExportLease]) -> Reply | None:
        """Make an export, or grant again the one that this lease has."""
        request = arrived.request
        self._require_ready()
        self._obey(arrived.client, request.generation)
        if request.size_bytes < LEAST_LEASE_BYTES:
            least = f"the smallest lease is {LEAST_LEASE_BYTES >> 20} MiB"
            raise RefusedError(ErrorCode.BAD_REQUEST, f"{request.size_bytes} bytes: {least}")
        if request.lease in self._ledger.pending:
            raise RefusedError(ErrorCode.BUSY, f"lease {request.lease} is being made")
        if request.lease not in self._ledger.records:
            self._ledger.require_key(request.borrower)
            self._offer.check_room(request)
            self._desk.when_answered(arrived, lambda _reply: self._ledger.abandon(request.lease))
            self._ledger.begin(request)

        def done(made: ExportRecord | Exception) -> None:
            if isinstance(made, Exception):
                raise made
            reply = ExportReply(request_id=request.request_id, grant=self._ledger.grant(made))
            self._desk.settle(arrived, reply)

        self._changes.create(request, done)
        return None

    def release(self, arrived: RequestArrived[ReleaseLease]) -> Reply | None:
        """Take a lease back from its borrower or the manager; answered when its memory is free."""
        request = arrived.request
        self._require_ready()
        ordered = role(arrived.client) == MANAGER
        if ordered:
            self._obey(arrived.client, request.generation)
        record = self._ledger.records.get(request.lease)
        if record is None:
            raise RefusedError(ErrorCode.UNKNOWN_LEASE, f"no lease {request.lease} here; it may be released already")
        if not ordered and arrived.client != record.borrower:
            raise RefusedError(ErrorCode.NOT_ALLOWED, f"lease {request.lease} is of {record.borrower}")

        def done(outcome: Exception | None) -> None:
            if outcome is not None:
                raise outcome
            self._desk.settle(arrived, Reply(request_id=request.request_id))

        outcome = LeaseOutcome.UNUSED if ordered else LeaseOutcome.RETURNED
        self._changes.remove(record, f"given back by {arrived.client}", outcome, done=done)
        return None

    def drain(self, arrived: RequestArrived[Drain] | RequestArrived[Undrain], draining: bool) -> Reply | None:
        """Offer nothing any more and ask everything back; or undo that. Answered when it outlasts a restart."""
        self._require_ready()

        def done(outcome: Exception | None) -> None:
            if outcome is not None:
                raise outcome
            sentence = f"{self._ledger.lent_bytes() >> 20} MiB to come back" if draining else "offering again"
            self._desk.settle(arrived, Reply(request_id=arrived.request.request_id, sentence=sentence))

        self._changes.drain(draining, done)
        return None

    def _obey(self, manager: str, number: int) -> None:
        """Raise `RefusedError` if a newer manager than this one has given orders; remember a new one for good."""
        if self._ledger.fence.admit(Generation(number, manager)):
            self._changes.remember(self._ledger.fence.newest)
            self._offer.update()

    def _require_ready(self) -> None:
        if not self._ledger.ready:
            raise RefusedError(ErrorCode.NOT_READY, "the lender has just started and does not know its leases yet")
