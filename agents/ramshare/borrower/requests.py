"""What is asked of the borrower: people have it borrow for a volume and return it, lenders want leases back.

A request is answered when it is clear what becomes of it; the cycle does the rest. Used by the borrower's agent.
"""

import logging
from collections.abc import Iterable
from functools import partial

from ramshare.agent import Agent
from ramshare.borrower.loans import Loans
from ramshare.borrower.machine.host import BorrowerHost
from ramshare.borrower.plan.view import Goal, LeaseView, VolumeView
from ramshare.borrower.volumes import Volumes
from ramshare.bus.api import RequestArrived
from ramshare.desk import RefusedError
from ramshare.errors import RamshareError
from ramshare.messages.replies import AttachReply, BorrowReply, ErrorCode, Grant, Reply
from ramshare.messages.requests import BorrowVolume, ReturnVolume, Vacate

log = logging.getLogger(__name__)


class Requests:
    """The handlers; knows for which volumes memory is being asked at this moment."""

    def __init__(self, agent: Agent, host: BorrowerHost, volumes: Volumes, loans: Loans) -> None:
        self._agent = agent
        self._host = host
        self._volumes = volumes
        self._loans = loans
        self._borrowing: set[str] = set()

    def borrow(self, arrived: RequestArrived[BorrowVolume]) -> Reply | None:
        """Get memory for a volume; answered when there are leases, or why there are none."""
        request = arrived.request
        if request.volume in self._borrowing:
            raise RefusedError(ErrorCode.BUSY, f"{request.volume} is being borrowed for at this moment")
        self._borrowing.add(request.volume)
        check = partial(self._host.check_borrow, request.volume, request.mode)
        self._agent.work(check, partial(self._checked, arrived, request))
        return None

    def _checked(self, arrived: RequestArrived, request: BorrowVolume, checked: VolumeView | Exception) -> None:
        if isinstance(checked, VolumeView) and checked.goal is not Goal.ATTACHED:
            self._loans.ask(request, checked, partial(self._answered, arrived, request))
            return
        self._borrowing.discard(request.volume)
        if isinstance(checked, Exception):
            self._decline(arrived, checked)
        else:
            self._attached(arrived, request, "already borrowed", checked.leases)

    def _answered(self, arrived: RequestArrived, request: BorrowVolume, reply: BorrowReply | Exception) -> None:
        self._borrowing.discard(request.volume)
        if isinstance(reply, Exception):
            self._decline(arrived, reply)
        else:
            self._attached(arrived, request, reply.sentence, reply.grants)

    def _attached(
        self, arrived: RequestArrived, request: BorrowVolume, sentence: str, leases: Iterable[Grant | LeaseView]
    ) -> None:
        self._volumes.care(request.volume)
        leases = tuple(leases)
        answer = AttachReply(
            request_id=request.request_id,
            sentence=sentence,
            leases=tuple(x.lease for x in leases),
            lenders=tuple(x.lender for x in leases),
        )
        self._agent.desk.settle(arrived, answer)

    def send_home(self, arrived: RequestArrived[ReturnVolume]) -> Reply | None:
        """Bring a volume home; answered when that has been written down."""
        request = arrived.request
        if request.volume in self._borrowing:
            raise RefusedError(ErrorCode.BUSY, f"memory for {request.volume} is being asked for; return it after that")

        def done(outcome: bool | Exception) -> None:
            if isinstance(outcome, Exception):
                self._decline(arrived, outcome)
                return
            self._volumes.care(request.volume)
            sentence = f"{request.volume} {'coming home' if outcome else 'is at home already'}"
            self._agent.desk.settle(arrived, Reply(request_id=request.request_id, sentence=sentence))

        self._agent.work(partial(self._host.send_home, request.volume), done)
        return None

    def vacate(self, arrived: RequestArrived[Vacate]) -> Reply | None:
        """Leave leases that their lender wants back."""
        request = arrived.request
        if request.deadline <= request.at:
            raise RefusedError(ErrorCode.DEADLINE_PASSED, "the deadline lies in the past")
        if not self._volumes.all_seen:
            raise RefusedError(ErrorCode.NOT_READY, "the borrower has just started and is still looking at its volumes")
        known = {x.lease: x for managed in self._volumes if managed.view for x in managed.view.leases}
        asked = [known[lease] for lease in request.leases if lease in known]
        if not asked:
            raise RefusedError(ErrorCode.UNKNOWN_LEASE, f"no volume here uses {', '.join(request.leases)}")
        for lease in asked:
            if lease.lender != arrived.client:
                raise RefusedError(ErrorCode.NOT_ALLOWED, f"lease {lease.lease} is not of {arrived.client}")
        self._volumes.wanted_back.update(lease.lease for lease in asked)
        self._volumes.care_for_all()
        return Reply(request_id=request.request_id, sentence=f"vacating {len(asked)} lease(s)")

    def _decline(self, arrived: RequestArrived, error: Exception) -> None:
        code = error.code if isinstance(error, RefusedError) else ErrorCode.FAILED
        sentence = str(error) if isinstance(error, RamshareError) else repr(error)
        log.info("refused %s of %s: %s", arrived.verb, arrived.client, sentence)
        reply = Reply(request_id=arrived.request.request_id, error=code, sentence=sentence)
        self._agent.desk.settle(arrived, reply)
