"""Asks the manager for memory: for a person's request, or because a volume lost or must leave some of its leases.

Leases that are granted are written down on the volume before anything else is done. Used by the borrower's agent.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from ramshare.borrower.machine.api import Host, LeaseTerms
from ramshare.borrower.plan.granted import not_as_needed
from ramshare.borrower.plan.part import part_of, wanted_bytes
from ramshare.borrower.plan.steps import AskForMemory
from ramshare.borrower.plan.tags import LeaseTag, Terms
from ramshare.borrower.plan.view import VolumeView
from ramshare.borrower.publish import Publisher
from ramshare.borrower.volumes import ManagedVolume, Volumes
from ramshare.bus.api import RequestTimeoutError
from ramshare.desk import RefusedError
from ramshare.loop import Loop
from ramshare.messages.replies import BorrowReply, ErrorCode, Reply
from ramshare.messages.requests import BorrowMemory, BorrowVolume, ReleaseLease
from ramshare.messages.state import Mode
from ramshare.topics import MANAGER, name

log = logging.getLogger(__name__)

WAIT_TIMEOUT_S = 12.0
"""The manager tells those who wait after 5 s that they still do, and keeps the place of who is silent for 20 s."""
ASK_AGAIN_S = 1.0
"""Who waits asks no more often, whatever the manager answers how fast."""
ASK_TRIES = 2
"""A manager that does not answer is asked the same again: if it died, its successor goes on with that loan."""


class NoMoreWaitedForError(RefusedError):
    """Somebody ended the wait for memory."""


@dataclass
class _Loan:
    """One question to the manager, on its way."""

    request: BorrowVolume
    mode: Mode
    view: VolumeView
    step: AskForMemory | None
    """What is missing of a volume that is attached already; None to get all of it."""
    done: Callable[[BorrowReply | Exception], None]
    terms: Terms
    waits: Callable[[str], None]
    """Told why there is no memory yet, whenever the manager says so."""
    since_s: float
    stopped: bool = False
    """Nobody waits for it any more: what is granted goes back."""
    accepting: bool = False
    """Its leases are being written down; it waits for nothing any more."""
    asked_s: float = field(default=0.0)
    tries: int = field(default=0)


class Loans:
    """Asks, and has the host accept what is granted."""

    def __init__(
        self, loop: Loop, host: Host, volumes: Volumes, publisher: Publisher, timeout_s: float, own_host: str
    ) -> None:
        """`own_host` is this host's name; it lends itself nothing."""
        self._own_host = own_host
        self._loop = loop
        self._host = host
        self._volumes = volumes
        self._publisher = publisher
        self._timeout_s = timeout_s
        self._waiting: dict[str, _Loan] = {}
        """By volume, those that may wait."""
        self._ask_again: list[tuple[_Loan, BorrowMemory]] = []
        self._generation = 0
        """Of the newest manager that granted anything in this run; what an older one grants is not taken."""

    def ask(
        self,
        request: BorrowVolume,
        view: VolumeView,
        done: Callable[[BorrowReply | Exception], None],
        step: AskForMemory | None = None,
        waits: Callable[[str], None] = log.info,
        *,
        automatic: bool = False,
    ) -> None:
        """Ask the manager for the whole volume, or for what a step says is missing of it; the request names its mode.

        Whatever goes wrong on the way is the outcome that `done` gets. A request that may wait for memory is asked
        again until it is served or its time is over; `waits` hears each time why there is none yet.
        """
        assert request.mode is not None
        terms = Terms(automatic, request.only_if_faster)
        loan = _Loan(request, request.mode, view, step, done, terms, waits, self._loop.clock())
        if request.wait_s and not request.dry_run:
            self._waiting[request.volume] = loan
            loan.done = partial(self._ended, loan, done)
        self._loop.work(partial(self._host.terms, request.volume, loan.mode), partial(self._ask, loan))

    def stop_waiting(self, volume: str) -> bool:
        """Wait no more for memory for a volume; False if nobody does."""
        loan = self._waiting.get(volume)
        if loan is None or loan.accepting:
            return False
        loan.stopped = True
        loan.done(NoMoreWaitedForError(ErrorCode.CONFLICT, f"{volume} was told to wait for memory no more"))
        return True

    def turn(self) -> None:
        """Ask again for those who wait; once a second."""
        again, self._ask_again = self._ask_again, []
        for loan, need in again:
            self._send(loan, need)

    def _ended(
        self, loan: _Loan, done: Callable[[BorrowReply | Exception], None], outcome: BorrowReply | Exception
    ) -> None:
        if self._waiting.get(loan.request.volume) is loan:
            del self._waiting[loan.request.volume]
            done(outcome)

    def _ask(self, loan: _Loan, terms: LeaseTerms | Exception) -> None:
        if isinstance(terms, Exception):
            loan.done(terms)
            return
        try:
            need = _need(loan, terms)
        except ValueError as error:
            log.exception("cannot ask for memory for %s", loan.request.volume)
            loan.done(error)
            return
        self._send(loan, need)

    def _send(self, loan: _Loan, need: BorrowMemory) -> None:
        loan.tries += 1
        loan.asked_s = self._loop.clock()
        timeout_s = WAIT_TIMEOUT_S if need.wait_s else self._timeout_s
        self._loop.ask(MANAGER, need, timeout_s, partial(self._answered, loan, need))

    def _wait_on(self, loan: _Loan, need: BorrowMemory, why: str) -> None:
        """Ask the same again, for what is left of the time."""
        now_s = self._loop.clock()
        waited_s = now_s - loan.since_s
        left_s = 0.0 if loan.stopped else max(0.0, loan.request.wait_s - waited_s)
        if loan.stopped and not need.wait_s:
            return
        need = need.model_copy(update={"wait_s": left_s, "waited_s": min(waited_s, loan.request.wait_s)})
        if not loan.stopped:
            loan.waits(why)
        if now_s - loan.asked_s >= ASK_AGAIN_S:
            self._send(loan, need)
        else:
            self._ask_again.append((loan, need))

    def _answered(self, loan: _Loan, need: BorrowMemory, reply: Reply | Exception) -> None:
        if isinstance(reply, BorrowReply) and reply.ok and not need.dry_run:
            if reply.generation < self._generation:
                reply = RequestTimeoutError(f"a manager that was replaced ({reply.generation}) does not count")
            else:
                self._generation = reply.generation
        if isinstance(reply, Reply) and reply.error is ErrorCode.WAITING:
            self._wait_on(loan, need, reply.sentence)
        elif loan.stopped:
            self._give_back(reply)
        elif isinstance(reply, RequestTimeoutError) and need.wait_s:
            self._wait_on(loan, need, "the manager does not answer; it is asked again")
        elif isinstance(reply, RequestTimeoutError) and loan.tries < ASK_TRIES:
            self._send(loan, need)
        elif isinstance(reply, BorrowReply) and reply.ok and need.dry_run:
            loan.done(reply)
        elif isinstance(reply, BorrowReply) and reply.ok and (why := self._not_as_needed(need, reply)):
            loan.done(RefusedError(ErrorCode.FAILED, f"the manager granted what was not asked for: {why}"))
        elif isinstance(reply, BorrowReply) and reply.ok and need.waited_s:
            check = partial(self._host.check_borrow, need.volume, need.mode)
            self._loop.work(check, partial(self._checked_again, loan, need, reply))
        elif isinstance(reply, BorrowReply) and reply.ok:
            self._accept(loan, need, reply)
        elif isinstance(reply, Reply):
            loan.done(RefusedError(reply.error or ErrorCode.FAILED, reply.sentence))
        else:
            loan.done(RefusedError(ErrorCode.NOT_READY, f"the manager does not answer: {reply}"))

    def _give_back(self, reply: Reply | Exception) -> None:
        """Release leases that came when nobody waited for them any more; what is not heard, the manager takes back."""
        for grant in reply.grants if isinstance(reply, BorrowReply) else ():
            self._loop.ask(
                grant.lender, ReleaseLease(lease=grant.lease), self._timeout_s, partial(_released, grant.lease)
            )

    def _not_as_needed(self, need: BorrowMemory, reply: BorrowReply) -> str:
        return not_as_needed(reply.grants, need, self._own_host)

    def _checked_again(self, loan: _Loan, need: BorrowMemory, reply: BorrowReply, view: VolumeView | Exception) -> None:
        """Take what came after a wait, unless the volume is not any more what it was then."""
        if isinstance(view, VolumeView) and view.size_bytes != loan.view.size_bytes:
            view = RefusedError(ErrorCode.CONFLICT, f"{need.volume} has another size than when memory was asked for")
        if loan.stopped or isinstance(view, Exception):
            self._give_back(reply)
            loan.done(view if isinstance(view, Exception) else reply)
        else:
            self._accept(loan, need, reply)

    def _accept(self, loan: _Loan, need: BorrowMemory, reply: BorrowReply) -> None:
        loan.accepting = True
        tags = [LeaseTag(g.lease, name(g.lender), g.size_bytes - need.overhead_bytes, leg=g.leg) for g in reply.grants]
        mode = loan.mode if loan.step is None else None
        part_bytes = part_of(loan.view, need.size_bytes, sum(tag.size_bytes for tag in tags)) if mode else 0
        job = partial(
            self._host.accept, need.volume, mode, tags, reply.grants, loan.request.encrypt, part_bytes, loan.terms
        )
        self._loop.work(job, partial(self._accepted, loan, reply))

    def _accepted(self, loan: _Loan, reply: BorrowReply, outcome: Exception | None) -> None:
        if not isinstance(outcome, Exception):
            self._publisher.granted(grant.lease for grant in reply.grants)
        loan.done(outcome if isinstance(outcome, Exception) else reply)

    def ask_again(self, managed: ManagedVolume, step: AskForMemory) -> None:
        """Ask the manager unless it is being asked; meanwhile the volume is looked after as ever."""
        view = managed.view
        if view is None or managed.asking:
            return
        managed.asking = True
        request = BorrowVolume(volume=managed.volume, mode=view.mode or Mode.MIRROR)
        if managed.ask_id:
            request = request.model_copy(update={"request_id": managed.ask_id})
        self.ask(request, view, partial(self._asked_again, managed, request.request_id), step)

    def _asked_again(self, managed: ManagedVolume, request_id: str, reply: BorrowReply | Exception) -> None:
        managed.asking = False
        silent = isinstance(reply, RefusedError) and reply.code is ErrorCode.NOT_READY
        managed.ask_id = request_id if silent else ""
        managed.nothing_to_borrow = isinstance(reply, Exception)
        since_s = self._loop.clock() if managed.in_vain_since_s is None else managed.in_vain_since_s
        managed.in_vain_since_s = since_s if managed.nothing_to_borrow else None
        if isinstance(reply, Exception):
            self._volumes.failed(managed, str(reply))
        else:
            managed.failures, managed.error = 0, ""
        if not managed.nothing_to_borrow or managed.vacated(self._volumes.wanted_back):
            self._volumes.care(managed.volume)
        self._publisher.publish(managed)


def _released(lease: str, reply: Reply | Exception) -> None:
    log.info("released %s: %s", lease, getattr(reply, "sentence", reply))


def _need(loan: _Loan, terms: LeaseTerms) -> BorrowMemory:
    """Return what to ask the manager. Raises `ValueError` for terms that no request can carry."""
    return BorrowMemory(
        request_id=loan.request.request_id,
        volume=loan.request.volume,
        size_bytes=loan.step.size_bytes if loan.step else wanted_bytes(loan.request, loan.view, terms.grain_bytes),
        at_most=loan.request.at_most,
        exclude=loan.step.exclude if loan.step else (),
        overhead_bytes=terms.overhead_bytes,
        grain_bytes=terms.grain_bytes,
        mode=loan.mode,
        leg=loan.step.leg if loan.step else 0,
        initiator=terms.initiator,
        min_lenders=loan.request.min_lenders,
        wait_s=None if loan.step else loan.request.wait_s,
        dry_run=loan.request.dry_run,
    )
