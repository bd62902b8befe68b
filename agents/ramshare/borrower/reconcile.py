"""Brings each volume to its goal: look at the one that is due, apply one step, and decide when to look again.

Looking and applying run on the worker thread (`machine/`), one volume at a time, for they share LVM's lock. What a step
needs from the bus (memory from the manager, a release at a lender) is done on the loop. A volume that is where it
should be is looked at rarely, its sessions (a read of sysfs) every second. Used by the borrower's agent.
"""

import logging
from functools import partial
from typing import assert_never

from ramshare.borrower.loans import Loans
from ramshare.borrower.machine.api import Looked, Machine
from ramshare.borrower.plan import steps as s
from ramshare.borrower.plan.patience import gives_up
from ramshare.borrower.plan.step import WORKING_S
from ramshare.borrower.publish import Publisher
from ramshare.borrower.releases import Releases
from ramshare.borrower.volumes import ManagedVolume, Volumes
from ramshare.loop import Loop

log = logging.getLogger(__name__)


class Reconciler:
    """Knows whether the worker is at a volume."""

    def __init__(
        self, loop: Loop, machine: Machine, volumes: Volumes, loans: Loans, releases: Releases, publisher: Publisher
    ) -> None:
        self._loop = loop
        self._machine = machine
        self._volumes = volumes
        self._loans = loans
        self._releases = releases
        self._publisher = publisher
        self._busy = False

    def start(self) -> None:
        """Find the volumes that carry our tags and go on with them."""
        self._busy = True
        self._loop.work(self._machine.start, self._started)

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
        if self._machine.sessions_changed():
            for managed in self._volumes:
                self._volumes.pause(managed, 0.0)
        due = self._volumes.due()
        if due is not None:
            self._busy = True
            job = partial(self._machine.turn, due.volume, self._volumes.heard(due))
            self._loop.work(job, partial(self._looked, due))

    def _looked(self, managed: ManagedVolume, looked: Looked | Exception) -> None:
        """Take note of a turn's outcome, publish it, and follow it up."""
        self._busy = False
        if isinstance(looked, Exception):
            log.warning("%s: %s", managed.volume, looked)
            self._volumes.failed(managed, str(looked))
        else:
            again = looked.step == managed.step
            managed.view, managed.step = looked.view, looked.step
            self._publisher.tell(managed, looked)
            if looked.error:
                self._volumes.failed(managed, looked.error, looked.step.retry_s)
            else:
                managed.failures, managed.error = 0, ""
                self._follow(managed, looked.step, again=again)
            self._give_up_in_vain(managed, looked)
        self._publisher.publish(managed)
        self._loop.soon()

    def _follow(self, managed: ManagedVolume, step: s.Step, again: bool) -> None:
        """Decide when to look again, and do what the step needs from the bus."""
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
            case s.TellLoss(leases):  # told already, as this step's event
                managed.told_lost.update(leases)
            case _:
                assert_never(step)

    def _give_up_in_vain(self, managed: ManagedVolume, looked: Looked) -> None:
        """Send the volume home if what leads to its goal cannot be done: its leases are not held for nothing."""
        now_s = self._loop.clock()
        if isinstance(looked.step, s.Wait) and looked.step.stuck:
            managed.stuck_since_s = now_s if managed.stuck_since_s is None else managed.stuck_since_s
        else:
            managed.stuck_since_s = None
        stuck_s = now_s - (managed.stuck_since_s if managed.stuck_since_s is not None else now_s)
        if gives_up(looked.view, looked.step, managed.failures, stuck_s):
            why = f"could not {looked.step}: {looked.error}" if looked.error else str(looked.step)
            self._loop.work(partial(self._machine.host.send_home, managed.volume), partial(self._gave_up, managed, why))

    def _gave_up(self, managed: ManagedVolume, why: str, sent_home: bool | Exception) -> None:
        if isinstance(sent_home, Exception):
            log.warning("%s cannot be sent home: %s", managed.volume, sent_home)
            return
        self._volumes.give_up(managed, why)
        self._publisher.tell_given_up(managed)
        self._volumes.care(managed.volume)
