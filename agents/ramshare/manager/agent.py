"""The manager: a matchmaker. It keeps the cluster's database and answers borrow requests by having lenders export.

It owns nothing: killed at any moment, it costs new loans only. A fresh one asks everybody to announce, and serves when
all who should be there have spoken, or after `LISTEN_S`. Here are its listening and the course of a loan; who may be
asked is in `candidates.py`, how much of whom in `placement.py`, grants that nobody uses in `unused_grants.py`.
"""

import logging
from collections.abc import Collection
from uuid import uuid4

from ramshare.agent import Agent
from ramshare.bus.api import RequestArrived, StateArrived
from ramshare.manager.candidates import candidates, lending_hosts
from ramshare.manager.cluster import Cluster
from ramshare.manager.database import bounded, records, same
from ramshare.manager.loans import Loan
from ramshare.manager.placement import Share, place
from ramshare.manager.unused_grants import UnusedGrants
from ramshare.messages.base import Message
from ramshare.messages.events import EventKind
from ramshare.messages.replies import BorrowReply, ErrorCode, ExportReply, Reply
from ramshare.messages.requests import Announce, BorrowMemory, ExportLease
from ramshare.messages.state import Mode
from ramshare.topics import EVERYBODY, name

log = logging.getLogger(__name__)

LISTEN_S = 3.0
"""How long a fresh manager waits for agents that the broker believes online; an announcement takes milliseconds."""
SETTLE_S = 0.5
"""Retained topics arrive in a burst after subscribing; the manager does not serve before it is over."""
EXPORT_TIMEOUT_S = 15.0
"""Zeroing 4 GiB takes a lender about 4 s; more than three times that is a lender in trouble."""
LOGIN_WITHIN_S = 60.0
TICK_S = 1.0
LISTENING_TICK_S = 0.1

WATCHED = ("status", "offer", "export/+", "lease/+")
"""What of everybody's state the manager needs; memory reports are for lenders."""


class Manager(Agent):
    """Owns what is known of the cluster, and the loans that are being made."""

    sweeps = True

    def begin(self) -> None:
        """Listen to everybody, and ask everybody to speak."""
        self.cluster = Cluster()
        self._run_id = uuid4().hex[:8]
        """Marks this run, so that a successor's request for the same lease is a new request."""
        self._published: dict[str, Message] = {}
        self._loans: list[Loan] = []
        self._unused_grants = UnusedGrants(self, self.cluster, EXPORT_TIMEOUT_S)
        self.handle(BorrowMemory, self._borrow)
        for path in WATCHED:
            self.bus.watch_state(path=path)
        self.on_connected()

    def on_connected(self) -> None:
        """Begin to listen: what the broker replays may be old, so everybody is asked to say again what is true."""
        self.cluster.doubt()
        self.ready = False
        self._listening_since_s = self.clock()
        self.bus.ask(EVERYBODY, Announce(), LISTEN_S)
        self.soon()

    def on_state(self, arrived: StateArrived) -> None:
        """Fold in what an agent says of itself."""
        self.cluster.take(arrived, self.clock())
        self.soon()

    def true_paths(self) -> Collection[str] | None:
        """Return what the database shows, as soon as everybody was heard."""
        return self._published.keys() if self.ready else None

    def tick(self) -> float:
        """Become ready, take back unused grants, publish the database."""
        now_s = self.clock()
        if not self.ready:
            self._listen(now_s - self._listening_since_s)
        if self.ready:
            self._unused_grants.take_back({lease for loan in self._loans for lease in loan.held()}, now_s)
        self._publish(now_s)
        return TICK_S if self.ready else LISTENING_TICK_S

    def _listen(self, so_far_s: float) -> None:
        if so_far_s > LISTEN_S or (so_far_s > SETTLE_S and not self.cluster.unheard()):
            self.ready = True
            self.cluster.settle()
            log.info("ready: %d agents known, not heard: %s", len(self.cluster.by_client), self.cluster.unheard())
            for loan in list(self._loans):
                with self.desk.serving(loan.arrived):
                    self._advance(loan)

    # ---- borrow

    def _borrow(self, arrived: RequestArrived[BorrowMemory]) -> Reply | None:
        """Begin a loan. While listening it is only taken note of, which takes no longer than `LISTEN_S`."""
        loan = Loan(arrived)
        self._loans.append(loan)
        self.desk.when_answered(arrived, lambda reply: self._ended(loan, reply))
        self._advance(loan)
        return None

    def _ended(self, loan: Loan, reply: Reply) -> None:
        """Forget a loan that has its answer; what was granted for one that is refused goes back."""
        self._loans.remove(loan)
        if not reply.ok:
            for grant in loan.grants.values():
                self._unused_grants.release(grant.lender, grant.lease)

    def _advance(self, loan: Loan) -> None:
        """Ask lenders for what is missing; when nothing is, or nobody can, answer."""
        if not self.ready:
            return
        if not loan.begun:
            loan.begun = True
            if name(loan.borrower) in lending_hosts(self.cluster, self._loans):
                self._refuse(loan, ErrorCode.CONFLICT, "this host lends memory itself; drain it before it borrows")
                return
            self._take_up(loan)
        missing = loan.missing()
        if missing.size_bytes <= 0:
            if not loan.waiting:
                self._grant(loan)
            return
        placement = place(missing, candidates(self.cluster, loan, self._loans, self.clock()))
        if placement.shares:
            loan.reason = placement.reason
            for share in placement.shares:
                self._export(loan, loan.new_lease(), share)
        elif not loan.waiting:
            only = " for a move, which only committed memory may back" if loan.need.mode is Mode.MOVE else ""
            said = "".join(f"; {lender} said: {words}" for lender, words in sorted(loan.refused.items()))
            self._refuse(loan, ErrorCode.NO_CAPACITY, placement.reason + only + said)

    def _take_up(self, loan: Loan) -> None:
        """Ask again for the leases that an earlier manager had made for this request; lenders repeat themselves."""
        for view, export in self.cluster.exports():
            if export.borrower == loan.borrower and loan.recognise(export.lease):
                self._export(loan, export.lease, Share(view.client, export.size_bytes))

    def _export(self, loan: Loan, lease: str, share: Share) -> None:
        loan.waiting[lease] = share
        request = ExportLease(
            request_id=f"{lease}-{self._run_id}",
            lease=lease,
            borrower=loan.borrower,
            initiator=loan.need.initiator,
            size_bytes=share.size_bytes,
            mode=loan.need.mode,
            login_within_s=LOGIN_WITHIN_S,
        )
        self.ask(share.lender, request, EXPORT_TIMEOUT_S, lambda reply: self._exported(loan, lease, reply))

    def _exported(self, loan: Loan, lease: str, reply: Reply | Exception) -> None:
        share = loan.waiting.pop(lease)
        if loan not in self._loans:  # refused meanwhile: something went wrong here
            self._unused_grants.release(share.lender, lease)
            return
        if isinstance(reply, ExportReply) and reply.ok and reply.grant is not None and reply.grant.lease == lease:
            loan.grants[lease] = reply.grant
        else:
            said = reply.sentence if isinstance(reply, Reply) else str(reply)
            log.warning("%s did not export %s: %s", share.lender, lease, said)
            loan.refused[share.lender] = said
            if not isinstance(reply, Reply) or reply.ok:
                self._unused_grants.release(share.lender, lease)
        self._advance(loan)

    def _grant(self, loan: Loan) -> None:
        grants = tuple(loan.grants.values())
        reason = loan.reason or "the same as before"
        self.desk.settle(loan.arrived, BorrowReply(request_id=loan.need.request_id, grants=grants, sentence=reason))
        self.say(
            EventKind.GRANTED,
            f"{loan.need.volume} of {loan.borrower} gets {len(grants)} lease(s): {reason}",
            peer=loan.borrower,
            volume=loan.need.volume,
            size_bytes=bounded(g.size_bytes for g in grants),
        )

    def _refuse(self, loan: Loan, code: ErrorCode, reason: str) -> None:
        reply = BorrowReply(request_id=loan.need.request_id, error=code, sentence=reason)
        self.desk.settle(loan.arrived, reply)
        self.say(EventKind.REFUSED, f"{loan.need.volume} of {loan.borrower}: {reason}", peer=loan.borrower)

    # ---- the database

    def _publish(self, now_s: float) -> None:
        wanted = records(self.cluster, self.ready, now_s)
        for path, message in wanted.items():
            if not same(message, self._published.get(path)):
                self.bus.set_state(path, message)
        for path in self._published.keys() - wanted.keys():
            self.bus.set_state(path, None)
        self._published = wanted
