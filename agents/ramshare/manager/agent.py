"""The manager: a matchmaker. It keeps the cluster's database and answers borrow requests by having lenders export.

It owns nothing: killed at any moment, it costs new loans only. A fresh one asks everybody to announce, and serves when
all who should be there have spoken, or after `LISTEN_S`.
"""

import hashlib
import logging
from dataclasses import dataclass, field
from uuid import uuid4

from ramshare.bus.api import RequestArrived, StateArrived
from ramshare.daemon import Agent, RefusedError
from ramshare.manager.placement import Candidate, Need, Placement, Share, place
from ramshare.manager.state import AgentView, Cluster
from ramshare.messages.base import Message
from ramshare.messages.events import EventKind
from ramshare.messages.replies import BorrowReply, ErrorCode, ExportReply, Grant, Reply
from ramshare.messages.requests import Announce, BorrowMemory, ExportLease, ReleaseLease
from ramshare.messages.state import LeasePhase, ManagerState, Mode
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


@dataclass
class Loan:
    """One borrow request while its leases are being made."""

    arrived: RequestArrived
    need: BorrowMemory
    prefix: str
    counter: int = 0
    reason: str = ""
    grants: dict[str, Grant] = field(default_factory=dict)
    waiting: dict[str, Share] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    def payload_bytes(self) -> int:
        """Bytes granted or being asked for, without overhead."""
        held = [g.size_bytes for g in self.grants.values()] + [s.size_bytes for s in self.waiting.values()]
        return sum(held) - len(held) * self.need.overhead_bytes


class Manager(Agent):
    """See the module."""

    def begin(self) -> None:
        """Listen to everybody, and ask everybody to speak."""
        self.cluster = Cluster()
        self.ready = False
        self._run_id = uuid4().hex[:8]
        """Marks this run, so that a successor's request for the same lease is a new request."""
        self._started_s = self.clock()
        self._published: dict[str, Message] = {}
        self._loans: list[Loan] = []
        self._taking_back: set[str] = set()
        self.handlers = {BorrowMemory: self._borrow}
        self.bus.watch_state()
        self.bus.ask(EVERYBODY, Announce(), LISTEN_S)

    def on_state(self, arrived: StateArrived) -> None:
        """Fold in what an agent says of itself; our own old records are cleared if they are not true any more."""
        if arrived.client == self.bus.client:
            self._sweep_own(arrived)
            return
        self.cluster.take(arrived, self.clock())
        self.soon()

    def tick(self) -> float:
        """Become ready, take back unused grants, publish the database."""
        now_s = self.clock()
        if not self.ready:
            heard = now_s - self._started_s > SETTLE_S and not self.cluster.unheard()
            if heard or now_s - self._started_s > LISTEN_S:
                self.ready = True
                log.info("ready: %d agents known, not heard: %s", len(self.cluster.agents), self.cluster.unheard())
        if self.ready:
            self._take_back(now_s)
        self._publish(now_s)
        return TICK_S if self.ready else 0.1

    # ---- borrow

    def _borrow(self, arrived: RequestArrived) -> Reply | None:
        need = arrived.request
        assert isinstance(need, BorrowMemory)
        if not self.ready:
            raise RefusedError(ErrorCode.NOT_READY, "the manager has just started and is still listening; try again")
        if name(arrived.client) in self.cluster.lending_hosts():
            raise RefusedError(ErrorCode.CONFLICT, "this host lends memory itself; drain it before it borrows")
        loan = Loan(arrived, need, _prefix(arrived.client, need.request_id))
        self._loans.append(loan)
        for _, export in self.cluster.exports():
            if export.lease.startswith(loan.prefix) and export.borrower == arrived.client:
                loan.counter += 1
                self._export(loan, export.lease, Share(f"lender.{export.host}", export.size_bytes))
        self._advance(loan)
        return None

    def _advance(self, loan: Loan) -> None:
        """Ask lenders for what is missing; when nothing is, or nobody can, answer."""
        missing = loan.need.size_bytes - loan.payload_bytes()
        if missing > 0:
            placement = self._place(loan, missing)
            if not placement.shares:
                if not loan.waiting:
                    self._refuse(loan, placement.reason)
                return
            loan.reason = placement.reason
            for share in placement.shares:
                loan.counter += 1
                self._export(loan, f"{loan.prefix}-{loan.counter}", share)
        elif not loan.waiting:
            self._grant(loan)

    def _place(self, loan: Loan, missing: int) -> Placement:
        need = loan.need
        spread = max(1, need.min_lenders - len(loan.grants) - len(loan.waiting))
        return place(
            Need(missing, need.grain_bytes, need.overhead_bytes, spread),
            [Candidate(v.client, self._free_bytes(v, need.mode)) for v in self._candidates(loan)],
        )

    def _candidates(self, loan: Loan) -> list[AgentView]:
        now_s, borrowing = self.clock(), self.cluster.borrowing_hosts()
        avoid = {*loan.need.exclude, *loan.refused, f"lender.{name(loan.arrived.client)}"}
        return [
            view
            for view in self.cluster.lenders()
            if self.cluster.usable(view, now_s)
            and view.client not in avoid
            and name(view.client) not in borrowing
            and view.offer is not None
            and view.offer.exportable
        ]

    def _free_bytes(self, view: AgentView, mode: Mode) -> int:
        """What a lender has left in this mode, less what other loans are asking it for at this moment."""
        offer = view.offer
        if offer is None:
            return 0
        asked = [s for loan in self._loans for s in loan.waiting.values() if s.lender == view.client]
        free = offer.free_bytes if mode is Mode.MIRROR else min(offer.free_bytes, offer.committed_free_bytes)
        return max(0, free - sum(s.size_bytes for s in asked))

    def _export(self, loan: Loan, lease: str, share: Share) -> None:
        loan.waiting[lease] = share
        request = ExportLease(
            request_id=f"{lease}-{self._run_id}",
            lease=lease,
            borrower=loan.arrived.client,
            initiator=loan.need.initiator,
            size_bytes=share.size_bytes,
            mode=loan.need.mode,
            login_within_s=LOGIN_WITHIN_S,
        )
        self.ask(share.lender, request, EXPORT_TIMEOUT_S, lambda reply: self._exported(loan, lease, reply))

    def _exported(self, loan: Loan, lease: str, reply: Reply | Exception) -> None:
        share = loan.waiting.pop(lease)
        if isinstance(reply, ExportReply) and reply.ok and reply.grant is not None:
            loan.grants[lease] = reply.grant
        else:
            said = reply.sentence if isinstance(reply, Reply) else str(reply)
            log.warning("%s did not export %s: %s", share.lender, lease, said)
            loan.refused[share.lender] = said
            if isinstance(reply, Exception):
                self._release(share.lender, lease)
        self._advance(loan)

    def _grant(self, loan: Loan) -> None:
        self._loans.remove(loan)
        grants = tuple(loan.grants.values())
        self.say(
            EventKind.GRANTED,
            f"{loan.need.volume} of {loan.arrived.client} gets {len(grants)} lease(s): {loan.reason or 'as before'}",
            peer=loan.arrived.client,
            volume=loan.need.volume,
            size_bytes=sum(g.size_bytes for g in grants),
        )
        reply = BorrowReply(request_id=loan.need.request_id, grants=grants, sentence=loan.reason)
        self.desk.settle(loan.arrived, reply)

    def _refuse(self, loan: Loan, reason: str) -> None:
        self._loans.remove(loan)
        for grant in loan.grants.values():
            self._release(grant.lender, grant.lease)
        if loan.refused:
            reason += "; " + "; ".join(f"{lender} said: {said}" for lender, said in sorted(loan.refused.items()))
        if loan.need.mode is Mode.MOVE:
            reason += " for a move (only committed memory may back one)"
        self.say(EventKind.REFUSED, f"{loan.need.volume} of {loan.arrived.client}: {reason}", peer=loan.arrived.client)
        reply = BorrowReply(request_id=loan.need.request_id, error=ErrorCode.NO_CAPACITY, sentence=reason[:1000])
        self.desk.settle(loan.arrived, reply)

    # ---- grants that nobody uses

    def _take_back(self, now_s: float) -> None:
        for view, export in self.cluster.exports():
            age_s = now_s - view.first_seen_s[f"export/{export.lease}"]
            allowed_s = (export.login_by - export.created_at).total_seconds()
            if export.phase is not LeasePhase.EXPORTED or export.connected or age_s <= allowed_s:
                continue
            if export.lease not in self._taking_back and view.online:
                self._taking_back.add(export.lease)
                self.say(
                    EventKind.TAKEN_BACK,
                    f"{export.borrower} did not log in to {export.lease} within {allowed_s:.0f} s",
                    lease=export.lease,
                    peer=view.client,
                    size_bytes=export.size_bytes,
                )
                self._release(view.client, export.lease)

    def _release(self, lender: str, lease: str) -> None:
        self.ask(lender, ReleaseLease(lease=lease), EXPORT_TIMEOUT_S, lambda _reply: self._taking_back.discard(lease))

    # ---- the database

    def _publish(self, now_s: float) -> None:
        hosts, leases = self.cluster.host_records(now_s), self.cluster.lease_records()
        usable = [h for h in hosts.values() if h.online]
        wanted: dict[str, Message] = {f"host/{host}": record for host, record in hosts.items()}
        wanted |= {f"lease/{lease}": record for lease, record in leases.items()}
        wanted["summary"] = ManagerState(
            ready=self.ready,
            lenders=len(usable),
            borrowers=sum(1 for view in self.cluster.borrowers() if view.online),
            leases=len(leases),
            capacity_bytes=sum(h.capacity_bytes for h in usable),
            lent_bytes=sum(h.lent_bytes for h in usable),
            free_bytes=sum(h.free_bytes for h in usable if h.exportable),
            reason="serving" if self.ready else f"listening; not heard yet: {self.cluster.unheard()}",
        )
        for path, message in wanted.items():
            if not same(message, self._published.get(path)):
                self.bus.set_state(path, message)
        for path in self._published.keys() - wanted.keys():
            self.bus.set_state(path, None)
        self._published = wanted

    def _sweep_own(self, arrived: StateArrived) -> None:
        """Clear a record that an earlier manager left and that this one does not publish."""
        ours = arrived.path.startswith(("host/", "lease/"))
        if ours and arrived.retained and arrived.message is not None and arrived.path not in self._published:
            self._published.setdefault(arrived.path, arrived.message)


def same(one: Message, other: Message | None) -> bool:
    """Whether two messages say the same, whoever sent them when."""
    ignored = {"instance", "seq", "at"}
    return type(one) is type(other) and one.model_dump(exclude=ignored) == other.model_dump(exclude=ignored)


def _prefix(client: str, request_id: str) -> str:
    return "l" + hashlib.sha256(f"{client}/{request_id}".encode()).hexdigest()[:10]
