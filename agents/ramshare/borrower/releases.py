"""Giving leases back to their lenders, and telling lenders that were away what is not needed any more.

A volume never waits for a lender that is lost: the lease is dropped here, and its lender is owed the news (`owed.py`).
Used by the borrower's agent.
"""

from functools import partial
from pathlib import Path

from ramshare.agent import Agent
from ramshare.borrower.charges import Charge, Charges
from ramshare.borrower.host import BorrowerHost
from ramshare.borrower.owed import Owed
from ramshare.borrower.steps import LetGo, Release, SplitLeg
from ramshare.messages.replies import ErrorCode, Reply
from ramshare.messages.requests import ReleaseLease

RELEASE_TRIES = 3
"""After so many unanswered releases a lender is taken for dead; it is told when it returns."""
LOST_RELEASE_S = 5.0
"""A lender that seems dead is given so long to answer before it is told again."""
TELL_AGAIN = frozenset({ErrorCode.IN_USE, ErrorCode.BUSY, ErrorCode.NOT_READY, ErrorCode.FAILED})
"""What a lender may say for a while after it came back."""
OWED_AGAIN_S = 10.0
"""Between two tries to tell a lender that came back what is not needed any more."""


class Releases:
    """Owns what lenders are still owed."""

    def __init__(self, agent: Agent, host: BorrowerHost, charges: Charges, directory: Path, timeout_s: float) -> None:
        self._agent = agent
        self._host = host
        self._charges = charges
        self._timeout_s = timeout_s
        self._owed = Owed(directory)
        self._telling: set[str] = set()
        self._next_owed_s = 0.0

    def start(self) -> None:
        """Read what an earlier run owes."""
        self._owed.load()

    def give_back_leaving(self, charge: Charge, step: SplitLeg | LetGo) -> None:
        """Give back what a step let go, at once."""
        if isinstance(step, LetGo):
            charge.let_go.update(lease.lease for lease in step.leaving)
        for lease in step.leaving:
            self.give_back(charge, Release(lease.lease, lease.lender))

    def give_back(self, charge: Charge, step: Release) -> None:
        """Give a lease back. The volume does not wait for the lender of a lost one, which hears of it when it can."""
        if step.lease in charge.releasing:
            return
        charge.releasing.add(step.lease)
        if step.lease in charge.given_back:
            self._drop(charge, step.lease)
            return
        tries = charge.release_tries[step.lease] = charge.release_tries.get(step.lease, 0) + 1

        def answered(reply: Reply | Exception) -> None:
            gone = isinstance(reply, Reply) and (reply.ok or reply.error is ErrorCode.UNKNOWN_LEASE)
            if step.lease in charge.let_go:
                self._gone_ahead(charge, step, gone)
            elif gone:
                self._drop(charge, step.lease)
            elif tries >= RELEASE_TRIES:
                self._do_without(charge, step)
            else:
                charge.releasing.discard(step.lease)
                charge.error = f"{step.lender} does not take {step.lease} back: {reply}"
                charge.failures += 1
                self._charges.pause_after_failure(charge)

        if step.lost:
            self._do_without(charge, step)
        else:
            self._agent.ask(step.lender, ReleaseLease(lease=step.lease), self._timeout_s, answered)

    def _gone_ahead(self, charge: Charge, step: Release, gone: bool) -> None:
        """A lease went back before LVM was through with it; it is forgotten when LVM is."""
        if not gone:
            self._owe(step)
        charge.given_back.add(step.lease)
        charge.releasing.discard(step.lease)
        self._agent.soon()

    def _do_without(self, charge: Charge, step: Release) -> None:
        """Do without the lender: note that it has to be told, and begin to tell it."""
        self._owe(step)
        self._drop(charge, step.lease)

    def _drop(self, charge: Charge, lease: str) -> None:
        """Forget a lease on this host."""

        def dropped(outcome: Exception | None) -> None:
            charge.releasing.discard(lease)
            charge.release_tries.pop(lease, None)
            self._charges.wanted_back.discard(lease)
            if isinstance(outcome, Exception):
                charge.error = str(outcome)
            else:
                charge.let_go.discard(lease)
                charge.given_back.discard(lease)
            self._charges.care(charge.volume)

        self._agent.work(partial(self._host.drop_lease, charge.volume, lease), dropped)

    def _owe(self, step: Release) -> None:
        self._owed.add(step.lease, step.lender)
        self._next_owed_s = 0.0

    def tell_lenders_if_due(self) -> None:
        """Tell lenders that were away what is not needed any more."""
        now_s = self._agent.clock()
        if now_s < self._next_owed_s:
            return
        self._next_owed_s = now_s + OWED_AGAIN_S
        for lease, lender in self._owed.all().items():
            if lease not in self._telling:
                self._telling.add(lease)
                self._agent.ask(lender, ReleaseLease(lease=lease), LOST_RELEASE_S, partial(self._told, lease))

    def _told(self, lease: str, reply: Reply | Exception) -> None:
        self._telling.discard(lease)
        if isinstance(reply, Reply) and reply.error not in TELL_AGAIN:
            self._owed.settle(lease)
