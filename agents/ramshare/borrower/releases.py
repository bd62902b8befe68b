"""Giving leases back to their lenders, and telling lenders that were away what is not needed any more.

A volume never waits for a lender that is lost: the lease is forgotten here, and its lender is owed the news. What is
owed is kept in a file, so that no export stays behind for nobody. The course of one lease is in `plan/releasing.py`.
Used by the borrower's agent.
"""

from functools import partial
from typing import assert_never

from ramshare.borrower.machine.api import Machine
from ramshare.borrower.plan.releasing import Change, Releasing, Stage, Todo, answered, begin, not_forgotten
from ramshare.borrower.plan.steps import Release
from ramshare.borrower.volumes import ManagedVolume, Volumes
from ramshare.loop import Loop
from ramshare.messages.replies import ErrorCode, Reply
from ramshare.messages.requests import ReleaseLease

LOST_RELEASE_S = 5.0
"""A lender that seems dead is given so long to answer before it is told again."""
TELL_AGAIN = frozenset({ErrorCode.IN_USE, ErrorCode.BUSY, ErrorCode.NOT_READY, ErrorCode.FAILED})
"""What a lender may say for a while after it came back."""
OWED_AGAIN_S = 10.0
"""Between two tries to tell a lender that came back what is not needed any more."""


class Releases:
    """Carries out what follows from each lease's state, and keeps what lenders are still owed."""

    def __init__(self, loop: Loop, machine: Machine, volumes: Volumes, timeout_s: float) -> None:
        self._loop = loop
        self._host = machine.host
        self._file = machine.owed
        self._volumes = volumes
        self._timeout_s = timeout_s
        self._owed: dict[str, str] = {}
        """Lease to the lender that has yet to be told."""
        self._being_told: set[str] = set()
        self._next_owed_s = 0.0

    def start(self) -> None:
        """Read what an earlier run owes."""
        self._loop.work(self._file.read, self._read)

    def _read(self, found: dict[str, str] | Exception) -> None:
        if not isinstance(found, Exception):
            self._owed = found | self._owed
            self._next_owed_s = 0.0

    # ---- one lease

    def give_back(self, managed: ManagedVolume, step: Release, *, cut_off: bool = False) -> None:
        """Give a lease back; `cut_off` if it is in the volume group still. Does nothing if that is under way."""
        self._follow(managed, begin(managed.releasing.get(step.lease), step, cut_off=cut_off))

    def _follow(self, managed: ManagedVolume, change: Change) -> None:
        now, todos = change
        managed.releasing[now.lease] = now
        for todo in todos:
            match todo:
                case Todo.ASK:
                    request, done = ReleaseLease(lease=now.lease), partial(self._answered, managed, now)
                    self._loop.ask(now.lender, request, self._timeout_s, done)
                case Todo.OWE:
                    self._owed[now.lease] = now.lender
                    self._save()
                    self._next_owed_s = 0.0
                case Todo.FORGET:
                    job = partial(self._host.forget_lease, managed.volume, now.lease)
                    self._loop.work(job, partial(self._forgotten, managed, now))
                case _:
                    assert_never(todo)

    def _answered(self, managed: ManagedVolume, asked: Releasing, reply: Reply | Exception) -> None:
        taken = isinstance(reply, Reply) and (reply.ok or reply.error is ErrorCode.UNKNOWN_LEASE)
        change = answered(managed.releasing.get(asked.lease, asked), taken=taken)
        self._follow(managed, change)
        if change[0].stage is Stage.REFUSED:
            self._volumes.failed(managed, f"{asked.lender} does not take {asked.lease} back: {reply}")
        self._loop.soon()

    def _forgotten(self, managed: ManagedVolume, forgetting: Releasing, outcome: Exception | None) -> None:
        if isinstance(outcome, Exception):
            managed.releasing[forgetting.lease] = not_forgotten(forgetting)
            self._volumes.failed(managed, str(outcome))
            return
        managed.releasing.pop(forgetting.lease, None)
        self._volumes.wanted_back.discard(forgetting.lease)
        self._volumes.care(managed.volume)

    # ---- what lenders are owed

    def tell_lenders_if_due(self) -> None:
        """Tell lenders that were away what is not needed any more."""
        now_s = self._loop.clock()
        if now_s < self._next_owed_s:
            return
        self._next_owed_s = now_s + OWED_AGAIN_S
        for lease, lender in self._owed.items():
            if lease not in self._being_told:
                self._being_told.add(lease)
                self._loop.ask(lender, ReleaseLease(lease=lease), LOST_RELEASE_S, partial(self._told, lease))

    def _told(self, lease: str, reply: Reply | Exception) -> None:
        self._being_told.discard(lease)
        if isinstance(reply, Reply) and reply.error not in TELL_AGAIN and self._owed.pop(lease, None) is not None:
            self._save()

    def _save(self) -> None:
        self._loop.work(partial(self._file.write, dict(self._owed)), lambda _outcome: None)
