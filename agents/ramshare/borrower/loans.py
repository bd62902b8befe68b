"""Loans the manager for memory: for a person's request, or because a volume lost or must leave some of its leases.

Leases that are granted are written down on the volume before anything else is done. Used by the borrower's agent.
"""

from collections.abc import Callable
from functools import partial

from ramshare.agent import Agent
from ramshare.borrower.machine.host import BorrowerHost
from ramshare.borrower.plan.steps import AskForMemory
from ramshare.borrower.plan.tags import LeaseTag
from ramshare.borrower.plan.view import VolumeView
from ramshare.borrower.publish import Publisher
from ramshare.borrower.volumes import ManagedVolume, Volumes
from ramshare.bus.api import RequestTimeoutError
from ramshare.desk import RefusedError
from ramshare.messages.replies import BorrowReply, ErrorCode, Reply
from ramshare.messages.requests import BorrowMemory, BorrowVolume
from ramshare.messages.state import Mode
from ramshare.topics import MANAGER, name

ASK_TRIES = 2
"""A manager that does not answer is asked the same again: if it died, its successor goes on with that loan."""


class Loans:
    """Asks, and has the host accept what is granted."""

    def __init__(
        self, agent: Agent, host: BorrowerHost, volumes: Volumes, publisher: Publisher, timeout_s: float
    ) -> None:
        self._agent = agent
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

    def ask_again(self, managed: ManagedVolume, step: AskForMemory) -> None:
        """Ask the manager unless it is being asked; meanwhile the volume is looked after as ever."""
        view = managed.view
        if view is None or managed.asking:
            return
        managed.asking = True
        request = BorrowVolume(volume=managed.volume, mode=view.mode or Mode.MIRROR)
        if managed.ask_id:
            request = request.model_copy(update={"request_id": managed.ask_id})

        def done(reply: BorrowReply | Exception) -> None:
            managed.asking = False
            silent = isinstance(reply, RefusedError) and reply.code is ErrorCode.NOT_READY
            managed.ask_id = request.request_id if silent else ""
            managed.failures = managed.failures + 1 if isinstance(reply, Exception) else 0
            managed.error = str(reply) if isinstance(reply, Exception) else ""
            managed.nothing_to_borrow = isinstance(reply, Exception)
            if managed.nothing_to_borrow and not managed.vacated(self._volumes.wanted_back):
                self._volumes.pause_after_failure(managed)
            else:
                self._volumes.care(managed.volume)
            self._publisher.publish(managed)

        self.ask(request, view, done, step)
