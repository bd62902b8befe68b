"""Every volume home before this host shuts down: what `ramshare-home.service` runs when the agent has ended.

Moves home first: that takes no memory, and afterwards swap is there again at the next boot. A volume that cannot come,
or is not home after `HOME_SHARE` of the time, has its swap turned off instead if its pages fit into memory; by then
most processes have ended. What lies on the leases after that is nobody's. All of it works without a broker; only the
lenders cannot be told then, and hear of it from the agent after the next boot.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ramshare.borrower.machine.api import Machine
from ramshare.borrower.plan.steps import AskForMemory, AtHome, Attached, Release, Step, TellLoss, Wait, WriteOff
from ramshare.borrower.plan.view import NOTHING_HEARD
from ramshare.bus.api import Bus
from ramshare.errors import RamshareError
from ramshare.messages.replies import ErrorCode
from ramshare.messages.requests import ReleaseLease

log = logging.getLogger(__name__)

HOME_SHARE = 2 / 3
"""Of the time is for moving; the rest for `swapoff`, which reads at the network's pace."""
PAUSE_S = 1.0
"""Between two looks while the kernel works, and after a step that failed."""
CONNECT_S = RELEASE_S = 5.0
"""For the broker, and for each lender, to answer: the host is waiting to go down."""


Waiting = Wait | Attached | TellLoss | WriteOff | AskForMemory | None
"""Steps after which looking again at once shows nothing new; None is one that failed."""


@dataclass
class Outcome:
    """Where every volume is when the time is over."""

    away: list[str]
    """Their pages are lost when the network goes."""
    home: list[str] = field(default_factory=list)
    off: list[str] = field(default_factory=list)
    """Still on leases, but nothing of it is needed any more."""


class Homeward:
    """Brings volumes home within `within_s` seconds."""

    def __init__(
        self,
        machine: Machine,
        within_s: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._machine = machine
        self._clock = clock
        self._sleep = sleep
        self._sent: set[str] = set()
        """Volumes whose way home is written down."""
        started_s = clock()
        self._swapoff_s, self._end_s = started_s + within_s * HOME_SHARE, started_s + within_s

    def run(self) -> Outcome:
        """Bring all home. Raises `RamshareError` only if this host's volumes cannot be looked at."""
        outcome = Outcome(away=self._machine.start())
        while outcome.away and self._clock() < self._end_s:
            steps = {volume: self._step(volume) for volume in outcome.away}
            outcome.home += [volume for volume, step in steps.items() if isinstance(step, Release | AtHome)]
            outcome.away = [volume for volume in outcome.away if volume not in outcome.home]
            late = self._clock() >= self._swapoff_s
            for volume in [v for v in outcome.away if late or isinstance(steps[v], TellLoss | WriteOff)]:
                outcome.off += [volume] if self._swap_off(volume) else []
            outcome.away = [volume for volume in outcome.away if volume not in outcome.off]
            if outcome.away and all(isinstance(steps[volume], Waiting) for volume in outcome.away):
                self._sleep(PAUSE_S)
        return outcome

    def release(self, bus: Bus, volumes: Iterable[str]) -> None:
        """Give the leases of volumes that are home back. Raises `RamshareError` if a lender does not answer."""
        for volume in volumes:
            step = self._step(volume)
            while not isinstance(step, Waiting | AtHome):
                if isinstance(step, Release):
                    reply = bus.ask(step.lender, ReleaseLease(lease=step.lease), RELEASE_S).result()
                    if not reply.ok and reply.error is not ErrorCode.UNKNOWN_LEASE:
                        raise RamshareError(f"{step.lender} does not take {step.lease} back: {reply.sentence}")
                    self._machine.host.forget_lease(volume, step.lease)
                step = self._step(volume)

    def _step(self, volume: str) -> Step | None:
        """Apply one step towards home; None if that failed."""
        try:
            if volume not in self._sent:
                self._machine.host.send_home(volume)
                self._sent.add(volume)
            looked = self._machine.turn(volume, NOTHING_HEARD)
        except (RamshareError, OSError) as error:
            log.warning("%s: %s", volume, error)
            return None
        log.log(logging.WARNING if looked.error else logging.INFO, "%s: %s", volume, looked.error or looked.step)
        return None if looked.error else looked.step

    def _swap_off(self, volume: str) -> bool:
        """Turn the volume's swap off if its pages fit into memory."""
        try:
            return self._machine.host.swap_off(volume, max(PAUSE_S, self._end_s - self._clock()))
        except (RamshareError, OSError) as error:
            log.warning("%s: %s", volume, error)
            return False


def bring_home(machine: Machine, within_s: float, open_bus: Callable[[], Bus]) -> None:
    """Bring every volume of this host home. Raises `RamshareError` naming those whose pages are still away.

    Lenders are told by `open_bus`'s bus if there is a broker.
    """
    homeward = Homeward(machine, within_s)
    outcome = homeward.run()
    if outcome.home:
        try:
            with contextlib.closing(open_bus()) as bus:
                bus.connect(CONNECT_S)
                homeward.release(bus, outcome.home)
        except RamshareError as error:
            log.warning("lenders will be told after the next boot: %s", error)
    if outcome.off:
        log.warning("%s not home, but off: nothing of it is needed", ", ".join(outcome.off))
    if outcome.away:
        raise RamshareError(
            f"{', '.join(outcome.away)} not home within {within_s:g} s: what lies on leases only is lost with iSCSI"
        )
    log.info("%d volume(s) home", len(outcome.home))
