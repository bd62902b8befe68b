"""The manager: a matchmaker. It keeps the cluster's database and answers borrow requests by having lenders export.

It owns nothing: killed at any moment, it costs new loans only. A fresh one asks everybody to announce, and serves when
all who should be there have spoken, or after `LISTEN_S`.
"""

import logging
from collections.abc import Collection
from uuid import uuid4

from ramshare.bus.api import RequestArrived, StateArrived
from ramshare.daemon import Agent
from ramshare.manager.database import bounded, records, same
from ramshare.manager.loans import Loan
from ramshare.manager.placement import Candidate, Share, place
from ramshare.manager.state import AgentView, Cluster
from ramshare.messages.base import Message
from ramshare.messages.events import EventKind
from ramshare.messages.replies import BorrowReply, ErrorCode, ExportReply, Reply
from ramshare.messages.requests import Announce, BorrowMemory, ExportLease, ReleaseLease
from ramshare.messages.state import Export, Mode
from ramshare.topics import EVERYBODY, name

log = logging.getLogger(__name__)

LISTEN_S = 3.0
"""How long a fresh manager waits for agents that the broker believes online; an announcement takes milliseconds."""
SETTLE_S = 0.5
"""Retained topics arrive in a burst after subscribing; the manager does not serve before it is over."""
EXPORT_TIMEOUT_S = 15.0
"""Zeroing 4 GiB takes a lender about 4 s; more than three times that is a lender in trouble."""
LOGIN_WITHIN_S = 60.0
TAKE_BACK_AGAIN_S = 60.0
"""A lender that did not give an unused grant up (its agent is busy or away) is asked again."""
TICK_S = 1.0
LISTENING_TICK_S = 0.1

WATCHED = ("status", "offer", "export/+", "lease/+")
"""What of everybody's state the manager needs; memory reports are for lenders."""


class Manager(Agent):
    """See the module."""

    sweeps = True

    def begin(self) -> None:
        """Listen to everybody, and ask everybody to speak."""
        self.cluster = Cluster()
        self._run_id = uuid4().hex[:8]
        """Marks this run, so that a successor's request for the same lease is a new request."""
        self._published: dict[str, Message] = {}
        self._loans: list[Loan] = []
        self._take_back_at_s: dict[str, float] = {}
        self._asked_back: set[str] = set()
        self.handlers = {BorrowMemory: self._borrow}
        for path in WATCHED:
            self.bus.watch_state(path=path)
        self.on_connected()

    def on_connected(self) -> None:
        """Begin to listen: what the broker replays may be old, so everybody is asked to say again what is true."""
        self.cluster.distrust()
        self.ready = False
        self._listening_since_s = self.clock()
        self.bus.ask(EVERYBODY, Announce(), LISTEN_S)
        self.soon()

    def on_state(self, arrived: StateArrived) -> None:
        """Fold in what an agent says of itself."""
        self.cluster.take(arrived, self.clock())
        self.soon()

    def true_paths(self) -> Collection[str] | None:
        """See `Agent`: the database, as soon as everybody was heard."""
        return self._published.keys() if self.ready else None

    def tick(self) -> float:
        """Become ready, take back unused grants, publish the database."""
        now_s = self.clock()
        if not self.ready:
            self._listen(now_s - self._listening_since_s)
        if self.ready:
            self._take_back(now_s)
        self._publish(now_s)
        return TICK_S if self.ready else LISTENING_TICK_S

    def _listen(self, so_far_s: float) -> None:
        if so_far_s > LISTEN_S or (so_far_s > SETTLE_S and not self.cluster.unheard()):
            self.ready = True
            log.info("ready: %d agents known, not heard: %s", len(self.cluster.agents), self.cluster.unheard())
            for loan in list(self._loans):
                self._advance(loan)

    # ---- borrow

    def _borrow(self, arrived: RequestArrived) -> Reply | None:
        """Begin a loan. While listening it is only taken note of, which takes no longer than `LISTEN_S`."""
        need = arrived.request
        assert isinstance(need, BorrowMemory)
        loan = Loan(arrived, need)
        self._loans.append(loan)
        self._advance(loan)
        return None

    def _advance(self, loan: Loan) -> None:
        """Ask lenders for what is missing; when nothing is, or nobody can, answer."""
        if not self.ready:
            return
        if not loan.begun:
            loan.begun = True
            if name(loan.borrower) in self._lending_hosts():
                self._refuse(loan, ErrorCode.CONFLICT, "this host lends memory itself; drain it before it borrows")
                return
            self._take_up(loan)
        missing = loan.missing()
        if missing.size_bytes <= 0:
            if not loan.waiting:
                self._grant(loan)
            return
        placement = place(missing, [Candidate(v.client, self._free_bytes(v, loan.need.mode)) for v in self._able(loan)])
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

    def _able(self, loan: Loan) -> list[AgentView]:
        """Return the lenders that may be asked. A host whose own swap is or is about to be remote must not lend."""
        now_s, shunned = self.clock(), loan.shunned()
        borrowing = self.cluster.borrowing_hosts() | {name(other.borrower) for other in self._loans}
        return [
            view
            for view in self.cluster.lenders()
            if self.cluster.usable(view, now_s)
            and view.client not in shunned
            and name(view.client) not in borrowing
            and view.offer is not None
            and view.offer.exportable
        ]

    def _lending_hosts(self) -> set[str]:
        return self.cluster.lending_hosts() | {name(lender) for loan in self._loans for lender in loan.lenders()}

    def _free_bytes(self, view: AgentView, mode: Mode) -> int:
        """What a lender has left in this mode: its last word, less what was lent or asked for since."""
        offer = view.offer
        if offer is None:
            return 0
        exports = {export.lease: export for export in view.of_kind(Export)}
        taken = [(export.size_bytes, export.mode) for export in exports.values()]
        for loan in self._loans:
            held = [share for lease, share in loan.held().items() if lease not in exports]
            taken += [(share.size_bytes, loan.need.mode) for share in held if share.lender == view.client]
        free = min(offer.free_bytes, offer.capacity_bytes - sum(size for size, _ in taken))
        if mode is Mode.MOVE:
            moved_bytes = sum(size for size, of_mode in taken if of_mode is Mode.MOVE)
            free = min(free, offer.committed_free_bytes, offer.committed_bytes - moved_bytes)
        return max(0, free)

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
        if isinstance(reply, ExportReply) and reply.ok and reply.grant is not None and reply.grant.lease == lease:
            loan.grants[lease] = reply.grant
        else:
            said = reply.sentence if isinstance(reply, Reply) else str(reply)
            log.warning("%s did not export %s: %s", share.lender, lease, said)
            loan.refused[share.lender] = said
            if not isinstance(reply, Reply) or reply.ok:
                self._release(share.lender, lease)
        self._advance(loan)

    def _grant(self, loan: Loan) -> None:
        self._loans.remove(loan)
        grants = tuple(loan.grants.values())
        reason = (loan.reason or "the same as before")[:1000]
        self.desk.settle(loan.arrived, BorrowReply(request_id=loan.need.request_id, grants=grants, sentence=reason))
        self.say(
            EventKind.GRANTED,
            f"{loan.need.volume} of {loan.borrower} gets {len(grants)} lease(s): {reason}",
            peer=loan.borrower,
            volume=loan.need.volume,
            size_bytes=bounded(g.size_bytes for g in grants),
        )

    def _refuse(self, loan: Loan, code: ErrorCode, reason: str) -> None:
        self._loans.remove(loan)
        for grant in loan.grants.values():
            self._release(grant.lender, grant.lease)
        reply = BorrowReply(request_id=loan.need.request_id, error=code, sentence=reason[:1000])
        self.desk.settle(loan.arrived, reply)
        self.say(EventKind.REFUSED, f"{loan.need.volume} of {loan.borrower}: {reason}", peer=loan.borrower)

    # ---- grants that nobody uses

    def _take_back(self, now_s: float) -> None:
        held = {lease for loan in self._loans for lease in loan.held()}
        unused = {
            export.lease: (view, export)
            for view, export in self.cluster.exports()
            if export.lease not in held and self.cluster.abandoned(export, now_s)
        }
        self._take_back_at_s = {lease: at_s for lease, at_s in self._take_back_at_s.items() if lease in unused}
        self._asked_back &= unused.keys()
        for lease, (view, export) in unused.items():
            within_s = max(0.0, (export.login_by - export.created_at).total_seconds())
            if now_s <= self._take_back_at_s.setdefault(lease, now_s + within_s) or not view.online:
                continue
            if lease not in self._asked_back:
                sentence = f"{export.borrower} has not used {lease} for {within_s:.0f} s"
                size_bytes = export.size_bytes
                self.say(EventKind.TAKEN_BACK, sentence, lease=lease, peer=view.client, size_bytes=size_bytes)
            self._asked_back.add(lease)
            self._take_back_at_s[lease] = now_s + TAKE_BACK_AGAIN_S
            self._release(view.client, lease)

    def _release(self, lender: str, lease: str) -> None:
        self.ask(
            lender,
            ReleaseLease(lease=lease),
            EXPORT_TIMEOUT_S,
            lambda reply: log.info("%s, asked to release %s: %s", lender, lease, getattr(reply, "sentence", reply)),
        )

    # ---- the database

    def _publish(self, now_s: float) -> None:
        wanted = records(self.cluster, self.ready, now_s)
        for path, message in wanted.items():
            if not same(message, self._published.get(path)):
                self.bus.set_state(path, message)
        for path in self._published.keys() - wanted.keys():
            self.bus.set_state(path, None)
        self._published = wanted
