"""The borrower's cycle: look at the volume that is due, apply one step, and decide when to look again.

Looking and applying run on the worker thread (`host.py`), one volume at a time, for they share LVM's lock. What a step
needs from the bus (memory from the manager, a release at a lender) is done on the loop. A volume that is where it
should be is looked at rarely, its sessions (a read of sysfs) every second. Used by the borrower's agent.
"""

import logging
from functools import partial

from ramshare.agent import Agent
from ramshare.borrower.asking import Asking
from ramshare.borrower.charges import Charge, Charges
from ramshare.borrower.host import BorrowerHost, Looked
from ramshare.borrower.releases import Releases
from ramshare.borrower.steps import AskForMemory, Done, LetGo, Release, SplitLeg, Step, Wait, WriteOff
from ramshare.borrower.telling import Telling
from ramshare.borrower.view import Heard

log = logging.getLogger(__name__)

WORKING_S = 1.0
"""Between two looks at a volume that the kernel is working on."""
STEADY_S = 30.0
"""Between two looks at a volume that is where it should be; its sessions are watched every second.

LVM itself is asked less often, see `steady.py`."""
WRITE_OFF_AGAIN_S = 5.0
"""A write-off waits for memory: for processes that lost pages to end."""


class Cycle:
    """Knows whether the worker is at a volume."""

    def __init__(
        self,
        agent: Agent,
        host: BorrowerHost,
        charges: Charges,
        asking: Asking,
        releases: Releases,
        telling: Telling,
    ) -> None:
        self._agent = agent
        self._host = host
        self._charges = charges
        self._asking = asking
        self._releases = releases
        self._telling = telling
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
        self._charges.start_with(volumes)

    def turn(self) -> None:
        """Look after the volume that is due first, unless the worker is at one."""
        if self._busy:
            return
        if self._host.sessions_changed():
            for charge in self._charges:
                self._charges.pause(charge, 0.0)
        due = self._charges.due()
        if due is not None:
            self._busy = True
            heard = Heard(frozenset(self._charges.wanted_back), due.nothing_to_borrow, frozenset(due.told_lost))
            self._agent.work(partial(self._host.cycle, due.volume, heard), partial(self._looked, due))

    def _looked(self, charge: Charge, looked: Looked | Exception) -> None:
        """Take note of a cycle's outcome, publish it, and do what the step needs from the bus."""
        self._busy = False
        before = charge.step
        if isinstance(looked, Exception):
            charge.failures += 1
            charge.error = str(looked)
            log.warning("%s: %s", charge.volume, looked)
            self._charges.pause_after_failure(charge)
        else:
            charge.view, charge.step, charge.error = looked.view, looked.step, looked.error
            charge.failures = charge.failures + 1 if looked.error else 0
            self._telling.tell(charge, before)
            self._follow(charge, looked.step, again=looked.step == before)
        self._telling.publish(charge)
        self._agent.soon()

    def _follow(self, charge: Charge, step: Step, again: bool) -> None:
        """Decide when to look again. A step that seems to have had no effect is not repeated without a pause."""
        pause = partial(self._charges.pause, charge)
        if charge.error and isinstance(step, WriteOff):
            pause(WRITE_OFF_AGAIN_S)
        elif charge.error:
            self._charges.pause_after_failure(charge)
        elif isinstance(step, AskForMemory):
            pause(WORKING_S)
            self._asking.ask_again(charge, step)
        elif isinstance(step, Release):
            pause(WORKING_S)
            self._releases.give_back(charge, step)
        elif isinstance(step, SplitLeg | LetGo):
            pause(WORKING_S if step.leaving else 0.0)
            self._releases.give_back_leaving(charge, step)
        elif isinstance(step, Done):
            pause(STEADY_S)
            if charge.view is not None and not charge.view.tagged:
                self._charges.forget(charge)
        elif again or isinstance(step, Wait):
            pause(WORKING_S)
        else:
            pause(0.0)
