"""Giving leases back to their lenders, and telling lenders that were away what is not needed any more.

A volume never waits for a lender that is lost: the lease is dropped here, and its lender is owed the news, which
is kept in a file: a lender that comes back after hours hears of it even from a later run of the agent, and no export
stays behind for nobody. Used by the borrower's agent.
"""

import json
import logging
from functools import partial
from pathlib import Path

from ramshare.agent import Agent
from ramshare.borrower.machine.host import BorrowerHost
from ramshare.borrower.plan.steps import Release
from ramshare.borrower.volumes import ManagedVolume, Volumes
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

    def __init__(self, agent: Agent, host: BorrowerHost, volumes: Volumes, directory: Path, timeout_s: float) -> None:
        self._agent = agent
        self._host = host
        self._volumes = volumes
        self._timeout_s = timeout_s
        self._owed = Owed(directory)
        self._telling: set[str] = set()
        self._next_owed_s = 0.0

    def start(self) -> None:
        """Read what an earlier run owes."""
        self._owed.load()

    def give_back(self, managed: ManagedVolume, step: Release, *, cut_off: bool = False) -> None:
        """Give a lease back. The volume does not wait for the lender of a lost one, which hears of it when it can."""
        if cut_off:
            managed.let_go.add(step.lease)
        if step.lease in managed.releasing:
            return
        managed.releasing.add(step.lease)
        if step.lease in managed.given_back:
            self._drop(managed, step.lease)
            return
        tries = managed.release_tries[step.lease] = managed.release_tries.get(step.lease, 0) + 1

        def answered(reply: Reply | Exception) -> None:
            gone = isinstance(reply, Reply) and (reply.ok or reply.error is ErrorCode.UNKNOWN_LEASE)
            if step.lease in managed.let_go:
                self._gone_ahead(managed, step, gone)
            elif gone:
                self._drop(managed, step.lease)
            elif tries >= RELEASE_TRIES:
                self._do_without(managed, step)
            else:
                managed.releasing.discard(step.lease)
                managed.error = f"{step.lender} does not take {step.lease} back: {reply}"
                managed.failures += 1
                self._volumes.pause_after_failure(managed)

        if step.lost:
            self._do_without(managed, step)
        else:
            self._agent.ask(step.lender, ReleaseLease(lease=step.lease), self._timeout_s, answered)

    def _gone_ahead(self, managed: ManagedVolume, step: Release, gone: bool) -> None:
        """A lease went back before LVM was through with it; it is forgotten when LVM is."""
        if not gone:
            self._owe(step)
        managed.given_back.add(step.lease)
        managed.releasing.discard(step.lease)
        self._agent.soon()

    def _do_without(self, managed: ManagedVolume, step: Release) -> None:
        """Do without the lender: note that it has to be told, and begin to tell it."""
        self._owe(step)
        self._drop(managed, step.lease)

    def _drop(self, managed: ManagedVolume, lease: str) -> None:
        """Forget a lease on this host."""

        def dropped(outcome: Exception | None) -> None:
            managed.releasing.discard(lease)
            managed.release_tries.pop(lease, None)
            self._volumes.wanted_back.discard(lease)
            if isinstance(outcome, Exception):
                managed.error = str(outcome)
            else:
                managed.let_go.discard(lease)
                managed.given_back.discard(lease)
            self._volumes.care(managed.volume)

        self._agent.work(partial(self._host.drop_lease, managed.volume, lease), dropped)

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


log = logging.getLogger(__name__)


class Owed:
    """Lease to lender, on disk."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "owed.json"
        self._leases: dict[str, str] = {}

    def load(self) -> None:
        """Read what an earlier run left; a damaged file counts as empty."""
        try:
            found = json.loads(self._path.read_text())
            self._leases |= {str(lease): str(lender) for lease, lender in found.items()}
        except FileNotFoundError:
            return
        except (OSError, ValueError, AttributeError) as error:
            log.warning("cannot read %s: %s", self._path, error)

    def add(self, lease: str, lender: str) -> None:
        """Note that `lender` has yet to hear that `lease` is not used any more."""
        self._leases[lease] = lender
        self._save()

    def settle(self, lease: str) -> None:
        """The lender knows."""
        if self._leases.pop(lease, None) is not None:
            self._save()

    def all(self) -> dict[str, str]:
        """Return lease to lender."""
        return dict(self._leases)

    def _save(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            part = self._path.with_suffix(".part")
            part.write_text(json.dumps(self._leases))
            part.replace(self._path)
        except OSError as error:
            log.error("cannot write %s: %s", self._path, error)
