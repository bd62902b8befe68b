"""The borrower's cycle: look at the volume that is due, apply one step, and decide when to look again.

Looking and applying run on the worker thread (`machine/`), one volume at a time, for they share LVM's lock. What a step
needs from the bus (memory from the manager, a release at a lender) is done on the loop. A volume that is where it
should be is looked at rarely, its sessions (a read of sysfs) every second. Used by the borrower's agent.
"""

import logging
from functools import partial
from typing import assert_never

from ramshare.agent import Agent
from ramshare.borrower.loans import Loans
from ramshare.borrower.machine.host import BorrowerHost, Looked
from ramshare.borrower.plan import steps as s
from ramshare.borrower.plan.step import WORKING_S
from ramshare.borrower.plan.view import Heard
from ramshare.borrower.publish import Publisher
from ramshare.borrower.releases import Releases
from ramshare.borrower.volumes import ManagedVolume, Volumes

log = logging.getLogger(__name__)


class Reconciler:
    """Knows whether the worker is at a volume."""

    def __init__(
        self,
        agent: Agent,
        host: BorrowerHost,
        volumes: Volumes,
        loans: Loans,
        releases: Releases,
        publisher: Publisher,
    ) -> None:
        self._agent = agent
        self._host = host
        self._volumes = volumes
        self._loans = loans
        self._releases = releases
        self._publisher = publisher
        self._busy = False

    def start(self) -> None:
        """Find the volumes that carry our tags and go on with them."""
        self._busy = True
        self._agent.work(self._host.start, self._started)

    def _started(self, volumes: list[str] | Exception) -> None:
        self._busy = False
        if isinstance(volumes, Exception):
            log.error("cannot look at this host's volumes: %s", volumes)
            return
        for volume in volumes:
            log.info("going on with %s", volume)
        self._volumes.start_with(volumes)

    def turn(self) -> None:
        """Look after the volume that is due first, unless the worker is at one."""
        if self._busy:
            return
        if self._host.sessions_changed():
            for managed in self._volumes:
                self._volumes.pause(managed, 0.0)
        due = self._volumes.due()
        if due is not None:
            self._busy = True
            heard = Heard(frozenset(self._volumes.wanted_back), due.nothing_to_borrow, frozenset(due.told_lost))
            self._agent.work(partial(self._host.cycle, due.volume, heard), partial(self._looked, due))

    def _looked(self, managed: ManagedVolume, looked: Looked | Exception) -> None:
        """Take note of a cycle's outcome, publish it, and do what the step needs from the bus."""
        self._busy = False
        before = managed.step
        if isinstance(looked, Exception):
            managed.failures += 1
            managed.error = str(looked)
            log.warning("%s: %s", managed.volume, looked)
            self._volumes.pause_after_failure(managed)
        else:
            managed.view, managed.step, managed.error = looked.view, looked.step, looked.error
            managed.failures = managed.failures + 1 if looked.error else 0
            self._publisher.tell(managed, looked)
            self._follow(managed, looked.step, again=looked.step == before)
        self._publisher.publish(managed)
        self._agent.soon()

    def _follow(self, managed: ManagedVolume, step: s.Step, again: bool) -> None:
        """Decide when to look again, and do what the step needs from the bus."""
        if managed.error:
            if step.retry_s is None:
                self._volumes.pause_after_failure(managed)
            else:
                self._volumes.pause(managed, step.retry_s)
            return
        self._volumes.pause(managed, max(step.look_again_s, WORKING_S if again else 0.0))
        for lease in step.given_back:
            self._releases.give_back(managed, s.Release(lease.lease, lease.lender), cut_off=step.cuts_off)
        if isinstance(step, s.BusStep):
            self._apply(managed, step)
        if isinstance(step, s.Done) and managed.view is not None and not managed.view.tagged:
            self._volumes.forget(managed)

    def _apply(self, managed: ManagedVolume, step: s.BusStep) -> None:
        match step:
            case s.AskForMemory():
                self._loans.ask_again(managed, step)
            case s.Release():
                self._releases.give_back(managed, step)
            case s.TellLoss(leases):  # told as its event
                managed.told_lost.update(leases)
            case _:
                assert_never(step)
