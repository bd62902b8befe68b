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
from ramshare.borrower.plan.tags import LeaseTag
from ramshare.borrower.plan.view import VolumeView
from ramshare.borrower.publish import Publisher
from ramshare.borrower.volumes import ManagedVolume, Volumes
from ramshare.bus.api import RequestTimeoutError
from ramshare.desk import RefusedError
from ramshare.loop import Loop
from ramshare.messages.replies import BorrowReply, ErrorCode, Reply
from ramshare.messages.requests import BorrowMemory, BorrowVolume
from ramshare.messages.state import Mode
from ramshare.topics import MANAGER, name

log = logging.getLogger(__name__)

ASK_TRIES = 2
"""A manager that does not answer is asked the same again: if it died, its successor goes on with that loan."""


@dataclass
class _Loan:
    """One question to the manager, on its way."""

    request: BorrowVolume
    view: VolumeView
    step: AskForMemory | None
    """What is missing of a volume that is attached already; None to get all of it."""
    done: Callable[[BorrowReply | Exception], None]
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

    def ask(
        self,
        request: BorrowVolume,
        view: VolumeView,
        done: Callable[[BorrowReply | Exception], None],
        step: AskForMemory | None = None,
    ) -> None:
        """Ask the manager for the whole volume, or for what a step says is missing of it.

        Whatever goes wrong on the way is the outcome that `done` gets.
        """
        loan = _Loan(request, view, step, done)
        self._loop.work(partial(self._host.terms, request.volume, request.mode), partial(self._ask, loan))

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
        self._loop.ask(MANAGER, need, self._timeout_s, partial(self._answered, loan, need))

    def _answered(self, loan: _Loan, need: BorrowMemory, reply: Reply | Exception) -> None:
        if isinstance(reply, RequestTimeoutError) and loan.tries < ASK_TRIES:
            self._send(loan, need)
        elif isinstance(reply, BorrowReply) and reply.ok and need.dry_run:
            loan.done(reply)
        elif isinstance(reply, BorrowReply) and reply.ok and (why := self._not_as_needed(need, reply)):
            loan.done(RefusedError(ErrorCode.FAILED, f"the manager granted what was not asked for: {why}"))
        elif isinstance(reply, BorrowReply) and reply.ok:
            self._accept(loan, need, reply)
        elif isinstance(reply, Reply):
            loan.done(RefusedError(reply.error or ErrorCode.FAILED, reply.sentence))
        else:
            loan.done(RefusedError(ErrorCode.NOT_READY, f"the manager does not answer: {reply}"))

    def _not_as_needed(self, need: BorrowMemory, reply: BorrowReply) -> str:
        return not_as_needed(reply.grants, need, self._own_host)

    def _accept(self, loan: _Loan, need: BorrowMemory, reply: BorrowReply) -> None:
        tags = [LeaseTag(g.lease, name(g.lender), g.size_bytes - need.overhead_bytes, leg=g.leg) for g in reply.grants]
        mode = loan.request.mode if loan.step is None else None
        part_bytes = part_of(loan.view, need.size_bytes, sum(tag.size_bytes for tag in tags)) if mode else 0
        job = partial(self._host.accept, need.volume, mode, tags, reply.grants, loan.request.encrypt, part_bytes)
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
        mode=loan.request.mode,
        leg=loan.step.leg if loan.step else 0,
        initiator=terms.initiator,
        min_lenders=loan.request.min_lenders,
        dry_run=loan.request.dry_run,
    )
