"""Asking the manager for memory: for a person's request, or because a volume lost or must leave some of its leases.

Leases that are granted are written down on the volume before anything else is done. Used by the borrower's agent.
"""

from collections.abc import Callable
from functools import partial

from ramshare.agent import Agent, RefusedError
from ramshare.borrower.charges import Charge, Charges
from ramshare.borrower.host import BorrowerHost
from ramshare.borrower.steps import AskForMemory
from ramshare.borrower.tags import LeaseTag
from ramshare.borrower.telling import Telling
from ramshare.borrower.view import VolumeView
from ramshare.bus.api import RequestTimeoutError
from ramshare.messages.replies import BorrowReply, ErrorCode, Reply
from ramshare.messages.requests import BorrowMemory, BorrowVolume
from ramshare.messages.state import Mode
from ramshare.topics import MANAGER, name

ASK_TRIES = 2
"""A manager that does not answer is asked the same again: if it died, its successor goes on with that loan."""


class Asking:
    """Asks, and has the host accept what is granted."""

    def __init__(self, agent: Agent, host: BorrowerHost, charges: Charges, telling: Telling, timeout_s: float) -> None:
        self._agent = agent
        self._host = host
        self._charges = charges
        self._telling = telling
        self._timeout_s = timeout_s

    def ask(
        self,
        request: BorrowVolume,
        view: VolumeView,
        done: Callable[[BorrowReply | Exception], None],
        step: AskForMemory | None = None,
    ) -> None:
        """Ask the manager for the whole volume, or for what a step says is missing of it."""
        need = BorrowMemory(
            request_id=request.request_id,
            volume=request.volume,
            size_bytes=step.size_bytes if step else view.size_bytes,
            exclude=step.exclude if step else (),
            overhead_bytes=self._host.overhead_bytes(request.volume, request.mode),
            grain_bytes=self._host.extent_bytes(request.volume),
            mode=request.mode,
            initiator=self._host.initiator(),
            min_lenders=request.min_lenders,
        )
        tries = 1

        def answered(reply: Reply | Exception) -> None:
            nonlocal tries
            if isinstance(reply, RequestTimeoutError) and tries < ASK_TRIES:
                tries += 1
                self._agent.ask(MANAGER, need, self._timeout_s, answered)
            elif isinstance(reply, BorrowReply) and reply.ok:
                tags = [LeaseTag(g.lease, name(g.lender), g.size_bytes - need.overhead_bytes) for g in reply.grants]
                mode = request.mode if step is None else None
                job = partial(self._host.accept, request.volume, mode, tags, reply.grants)
                self._agent.work(job, lambda outcome: done(outcome if isinstance(outcome, Exception) else reply))
            elif isinstance(reply, Reply):
                done(RefusedError(reply.error or ErrorCode.FAILED, reply.sentence))
            else:
                done(RefusedError(ErrorCode.NOT_READY, f"the manager does not answer: {reply}"))

        self._agent.ask(MANAGER, need, self._timeout_s, answered)

    def ask_again(self, charge: Charge, step: AskForMemory) -> None:
        """Ask the manager unless it is being asked; meanwhile the volume is looked after as ever."""
        view = charge.view
        if view is None or charge.asking:
            return
        charge.asking = True
        request = BorrowVolume(volume=charge.volume, mode=view.mode or Mode.MIRROR)
        if charge.ask_id:
            request = request.model_copy(update={"request_id": charge.ask_id})

        def done(reply: BorrowReply | Exception) -> None:
            charge.asking = False
            silent = isinstance(reply, RefusedError) and reply.code is ErrorCode.NOT_READY
            charge.ask_id = request.request_id if silent else ""
            charge.failures = charge.failures + 1 if isinstance(reply, Exception) else 0
            charge.error = str(reply) if isinstance(reply, Exception) else ""
            charge.nothing_to_borrow = isinstance(reply, Exception)
            if charge.nothing_to_borrow and not charge.vacated(self._charges.wanted_back):
                self._charges.pause_after_failure(charge)
            else:
                self._charges.care(charge.volume)
            self._telling.publish(charge)

        self.ask(request, view, done, step)
