"""The course of a loan: from a borrower's request over the lenders that are asked to grants, or to why there are none.

Who may be asked is in `candidates.py`, how much of whom in `placement.py`. Used by the manager.
"""

import logging
from collections.abc import Collection
from dataclasses import replace
from functools import partial

from ramshare.bus.api import Bus, RequestArrived
from ramshare.desk import Desk, RefusedError
from ramshare.grants import misfit
from ramshare.loop import Loop, say
from ramshare.manager.candidates import candidates
from ramshare.manager.cluster import Cluster
from ramshare.manager.confirming import Confirming
from ramshare.manager.database import Database, bounded
from ramshare.manager.loans import Loan
from ramshare.manager.office import Office
from ramshare.manager.placement import Candidate, Placement, Share, mib, place, together
from ramshare.manager.placing_pairs import place_pair
from ramshare.manager.pledges import Pledges
from ramshare.manager.quota import Quota
from ramshare.manager.standing import Standing
from ramshare.manager.unused_grants import UnusedGrants
from ramshare.messages.events import EventKind
from ramshare.messages.replies import BorrowReply, ErrorCode, ExportReply, Grant, LenderShare, Reply
from ramshare.messages.requests import BorrowMemory, ExportLease
from ramshare.messages.state import Mode, is_committed
from ramshare.settings import ManagerSettings
from ramshare.topics import name

log = logging.getLogger(__name__)

EXPORT_TIMEOUT_S = 15.0
"""Zeroing 4 GiB takes a lender about 4 s; more than three times that is a lender in trouble."""
LOGIN_WITHIN_S = 60.0
LAST_CHOICE_S = 600.0
"""A lender that offers much and does not deliver costs whoever asks it `EXPORT_TIMEOUT_S`: one loan in ten minutes."""
KEPT_S = 20.0
"""How long a request that another manager is to answer is kept: a borrower waits so long before it asks again."""
LENDS_ITSELF = "this host lends memory itself; drain it before it borrows"


class Lending:
    """Owns the loans that are being made."""

    def __init__(
        self,
        loop: Loop,
        bus: Bus,
        desk: Desk,
        cluster: Cluster,
        database: Database,
        unused_grants: UnusedGrants,
        office: Office,
        confirming: Confirming,
        settings: ManagerSettings,
    ) -> None:
        self._loop = loop
        self._bus = bus
        self._desk = desk
        self._cluster = cluster
        self._database = database
        self._unused_grants = unused_grants
        self._office = office
        self._confirming = confirming
        self._least_lease_bytes = settings.least_lease_bytes
        self._quota = Quota(settings.borrower_limit_bytes, settings.borrower_limit_leases)
        self._pledges = Pledges()
        self._standing = Standing(loop, desk)
        self._failed_until_s: dict[str, float] = {}
        """Lenders that did not answer, or granted what they were not asked for: until when they are the last choice."""

    def held(self) -> set[str]:
        """Return the leases of loans that are being made."""
        return self._pledges.leases()

    def go_on(self) -> None:
        """Begin with the loans that waited until everybody was heard, or were another manager's."""
        self._standing.begin()
        for loan in self._pledges.loans:
            with self._desk.serving(loan.arrived):
                self._advance(loan)

    def stand_by(self) -> None:
        """Another makes loans: what was begun here is begun anew if that one falls silent."""
        begun, in_line = self._pledges.loans, self._standing.give_up()
        for loan in begun:
            self._pledges.end(loan)
        for loan in dict.fromkeys((*begun, *in_line)):
            loan.start_over()
            loan.since_s = self._loop.clock()
            self._pledges.begin(loan)

    def forget(self, answered: Collection[str]) -> None:
        """Drop the loans that the active manager has answered."""
        if answered and not self._office.leads:
            self._drop([loan for loan in self._pledges.loans if loan.prefix in answered])

    def forget_late(self, now_s: float) -> None:
        """Drop the loans that nobody waits for any more; whoever does asks again."""
        if not self._office.leads:
            self._drop([loan for loan in self._pledges.loans if now_s - loan.since_s > KEPT_S])

    def _drop(self, loans: Collection[Loan]) -> None:
        for loan in loans:
            self._desk.drop(loan.arrived)
            self._pledges.end(loan)

    def borrow(self, arrived: RequestArrived[BorrowMemory]) -> Reply | None:
        """Begin a loan, or tell what it would be. Who listens or stands by only takes note of a loan."""
        waits = None if arrived.request.dry_run else self._standing.comes_again(arrived)
        loan = waits or Loan(arrived, self._least_lease_bytes, self._loop.clock())
        self._desk.when_answered(arrived, lambda reply: self._ended(loan, reply))
        if waits is None:
            self._begin(loan)
        return None

    @property
    def waiting(self) -> int:
        """How many requests wait for memory."""
        return len(self._standing)

    def turn(self) -> None:
        """Serve those who wait, as far as there is memory."""
        self._standing.turn(self._why_not, self._begin)

    def _begin(self, loan: Loan) -> None:
        self._pledges.begin(loan)
        self._advance(loan)

    def _why_not(self, loan: Loan) -> str:
        """Return why a loan that waits cannot be made now; empty if lenders are to be asked."""
        borrower = self._cluster.by_client.get(loan.borrower)
        if borrower is not None and not borrower.online:
            return f"{loan.borrower} is offline"
        self._database.refresh(self._loop.clock())
        if not loan.need.at_most and self._database.free_bytes < loan.need.size_bytes:
            return f"asked for {mib(loan.need.size_bytes)}, and all lenders have {mib(self._database.free_bytes)} left"
        placement = self._place(loan)
        return self._over_quota(loan, placement) if placement.shares else _shortage(loan, placement)

    def _foretell(self, loan: Loan) -> Reply:
        """Return who would be asked for how much, and why. No lender is asked, and nothing is remembered of it."""
        if self._lends(loan.borrower):
            raise RefusedError(ErrorCode.CONFLICT, LENDS_ITSELF)
        placement = self._place(loan)
        if not placement.shares:
            raise RefusedError(ErrorCode.NO_CAPACITY, _shortage(loan, placement))
        over = self._over_quota(loan, placement) or self._standing.turn_of_others(loan)
        if over:
            raise RefusedError(ErrorCode.NO_CAPACITY, over)
        shares = tuple(LenderShare(lender=x.lender, size_bytes=x.size_bytes, leg=x.leg) for x in placement.shares)
        return BorrowReply(request_id=loan.need.request_id, shares=shares, sentence=placement.reason)

    def _ended(self, loan: Loan, reply: Reply) -> None:
        """Forget a loan that has its answer; what was granted for one that is refused goes back."""
        self._office.answered(loan.prefix)
        if loan in self._pledges:
            self._pledges.end(loan)
        if loan.need.dry_run:
            return
        if not reply.ok:
            self._give_back(loan)
        self._standing.ended(loan, reply)

    def _give_back(self, loan: Loan) -> None:
        for grant in loan.grants.values():
            self._unused_grants.release(grant.lender, grant.lease)

    def _advance(self, loan: Loan) -> None:
        """Ask lenders for what is missing; when nothing is, or nobody can, answer."""
        if not self._office.leads:
            return
        if loan.need.dry_run:
            self._desk.settle(loan.arrived, self._foretell(loan))
            return
        if loan.confirming or (not loan.begun and self._confirms(loan, {f"lender.{name(loan.borrower)}"})):
            return
        if not loan.begun:
            loan.begun = True
            if self._lends(loan.borrower):
                self._refuse(loan, ErrorCode.CONFLICT, LENDS_ITSELF)
                return
            self._take_up(loan)
            if not loan.held() and (turn := self._standing.turn_of_others(loan)):
                self._stand_or_refuse(loan, turn)
                return
        if loan.complete:
            if not loan.waiting:
                self._grant(loan)
            return
        placement = self._place(loan)
        if over := self._over_quota(loan, placement):
            if not loan.waiting:
                self._refuse(loan, ErrorCode.NO_CAPACITY, over)
        elif placement.shares:
            if self._confirms(loan, {share.lender for share in placement.shares}):
                return
            loan.reason = placement.reason
            for share in placement.shares:
                self._export(loan, loan.new_lease(), share)
        elif loan.waiting:
            return
        elif loan.need.at_most and loan.grants:
            self._grant(loan)
        else:
            self._stand_or_refuse(loan, _shortage(loan, placement))

    def _confirms(self, loan: Loan, lenders: Collection[str]) -> bool:
        """Whether a loan goes on only when these lenders, of which only the broker's memory speaks, have answered."""
        loan.confirming = {lender for lender in lenders if self._cluster.to_confirm(lender)}
        for lender in list(loan.confirming):
            self._confirming.ask(lender, partial(self._confirmed, loan, loan.confirming, lender))
        return bool(loan.confirming)

    def _confirmed(self, loan: Loan, confirming: set[str], lender: str) -> None:
        confirming.discard(lender)
        if loan.confirming is confirming and not confirming and loan in self._pledges:
            with self._desk.serving(loan.arrived):
                self._advance(loan)

    def _stand_or_refuse(self, loan: Loan, reason: str) -> None:
        """Let a loan that nobody can make now wait, with nothing held for it, or refuse it."""
        need = loan.need
        held = self._cluster.held_by(loan.borrower).values()
        if need.wait_s and not need.at_most and (over := self._quota.exceeded(loan.borrower, held, [need.size_bytes])):
            self._refuse(loan, ErrorCode.NO_CAPACITY, over)
        elif why_not := self._standing.stand(loan, reason):
            self._refuse(loan, ErrorCode.NO_CAPACITY, why_not)
        else:
            self._pledges.end(loan)
            self._give_back(loan)
            loan.start_over()

    def _lends(self, borrower: str) -> bool:
        host = name(borrower)
        return self._cluster.lends(host) or self._pledges.lends(f"lender.{host}")

    def _place(self, loan: Loan) -> Placement:
        """Choose lenders; those that have just failed somebody only if no others can serve."""
        now_s = self._loop.clock()
        self._database.refresh(now_s)

        def able(*, committed: bool) -> list[Candidate]:
            return candidates(self._cluster, self._database.ranking, loan, self._pledges, committed=committed)

        leg = loan.need.leg
        if loan.wants_pair:
            who = together(able(committed=False), able(committed=True))
        else:
            who = able(committed=is_committed(loan.need.mode, leg))

        def placed(lenders: list[Candidate]) -> Placement:
            if loan.wants_pair:
                return place_pair(loan.missing(1), loan.missing(2), lenders, loan.legs())
            found = place(loan.missing(leg), lenders)
            return replace(found, shares=tuple(replace(share, leg=leg) for share in found.shares))

        placement = placed([c for c in who if now_s >= self._failed_until_s.get(c.lender, now_s)])
        return placement if placement.shares else placed(who)

    def _over_quota(self, loan: Loan, placement: Placement) -> str:
        """Return why a borrower may not have so much more, empty if it may. What is being made for it counts."""
        held = self._cluster.held_by(loan.borrower)
        for other in self._pledges.of_borrower(loan.borrower):
            held |= {(share.lender, lease): share.size_bytes for lease, share in other.held().items()}
        return self._quota.exceeded(loan.borrower, held.values(), [share.size_bytes for share in placement.shares])

    def _take_up(self, loan: Loan) -> None:
        """Ask again for the leases that an earlier manager had made for this request; lenders repeat themselves."""
        for lender, export in self._cluster.exports_to(loan.borrower):
            recognised = loan.recognise(export.lease)
            if recognised and lender not in loan.shunned() and loan.may_be_ours(export.size_bytes, export.leg):
                self._export(loan, export.lease, Share(lender, export.size_bytes, export.leg))

    def _export(self, loan: Loan, lease: str, share: Share) -> None:
        loan.waiting[lease] = share
        self._pledges.add(loan, lease, share)
        request = ExportLease(
            request_id=f"{lease}-{self._office.run_id}",
            lease=lease,
            borrower=loan.borrower,
            initiator=loan.need.initiator,
            size_bytes=share.size_bytes,
            mode=loan.need.mode,
            leg=share.leg,
            login_within_s=LOGIN_WITHIN_S,
            generation=self._office.generation,
        )
        self._loop.ask(share.lender, request, EXPORT_TIMEOUT_S, lambda reply: self._exported(loan, lease, share, reply))

    def _exported(self, loan: Loan, lease: str, share: Share, reply: Reply | Exception) -> None:
        if loan.waiting.get(lease) is not share:
            return  # asked for in an earlier time in office
        del loan.waiting[lease]
        if loan not in self._pledges:  # refused meanwhile: something went wrong here
            self._unused_grants.release(share.lender, lease)
            return
        if isinstance(reply, ExportReply) and reply.ok and reply.grant is not None:
            self._granted(loan, lease, share, reply.grant)
        else:
            said = reply.sentence if isinstance(reply, Reply) else str(reply)
            log.warning("%s did not export %s: %s", share.lender, lease, said)
            self._without(loan, lease, share, said, made=not isinstance(reply, Reply) or reply.ok)
        self._advance(loan)

    def _granted(self, loan: Loan, lease: str, share: Share, grant: Grant) -> None:
        """Take a grant that is what was asked for; any other is told, and never relayed."""
        why = not_as_asked(grant, lease, share, self._cluster.portal_of(share.lender))
        if not why:
            loan.grants[lease] = grant
            self._failed_until_s.pop(share.lender, None)
            self._cluster.grant(share.lender, lease, loan.borrower, self._loop.clock())
            return
        sentence = f"{share.lender} granted {loan.borrower} what it was not asked for: {why}"
        say(self._bus, EventKind.REFUSED, sentence, peer=share.lender, lease=lease)
        self._without(loan, lease, share, f"a grant that is not as asked: {why}", made=True)

    def _without(self, loan: Loan, lease: str, share: Share, said: str, *, made: bool) -> None:
        """Go on without a lender; what it may have `made`, without a word or not as asked, it is to give up."""
        loan.refused[share.lender] = said
        self._pledges.drop(share.lender, lease)
        if made:
            self._failed_until_s[share.lender] = self._loop.clock() + LAST_CHOICE_S
            self._unused_grants.release(share.lender, lease)

    def _grant(self, loan: Loan) -> None:
        grants = tuple(loan.grants.values())
        reason = loan.reason or "the same as before"
        reply = BorrowReply(
            request_id=loan.need.request_id, grants=grants, sentence=reason, generation=self._office.generation
        )
        self._desk.settle(loan.arrived, reply)
        say(
            self._bus,
            EventKind.GRANTED,
            f"{loan.need.volume} of {loan.borrower} gets {len(grants)} lease(s): {reason}",
            peer=loan.borrower,
            volume=loan.need.volume,
            size_bytes=bounded(g.size_bytes for g in grants),
        )

    def _refuse(self, loan: Loan, code: ErrorCode, reason: str) -> None:
        reply = BorrowReply(request_id=loan.need.request_id, error=code, sentence=reason)
        self._desk.settle(loan.arrived, reply)
        say(self._bus, EventKind.REFUSED, f"{loan.need.volume} of {loan.borrower}: {reason}", peer=loan.borrower)


def not_as_asked(grant: Grant, lease: str, share: Share, portal: str | None) -> str:
    """Return how a grant differs from what its lender was asked for and offers, empty if it does not. Pure.

    A lease has the size that was asked for: less would make a loan of many, more is nobody's to give away.
    """
    if grant.lease != lease:
        return f"lease {grant.lease}, not {lease}"
    if grant.lender != share.lender:
        return f"a lease of {grant.lender}"
    if grant.leg != share.leg:
        return f"leg {grant.leg}, not {share.leg}"
    if grant.size_bytes != share.size_bytes:
        return f"{grant.size_bytes} bytes, not {share.size_bytes}"
    if grant.portal != portal:
        return f"at {grant.portal}, and it offers {portal or 'nothing'}"
    return misfit(grant)


def _shortage(loan: Loan, placement: Placement) -> str:
    """Return why nobody can be asked, with what those said who were."""
    only = ""
    if is_committed(loan.need.mode, loan.need.leg):
        what = "a move" if loan.need.mode is Mode.MOVE else "a pair's first leg"
        only = f" for {what}, which only committed memory may back"
    said = "".join(f"; {lender} said: {words}" for lender, words in sorted(loan.refused.items()))
    return placement.reason + only + said
