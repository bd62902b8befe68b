"""A lab with all that a fault case needs at hand: the process that thrashes, the operator, and ways to break things.

One stage serves several cases, as long as each leaves it clean (`leftovers.py` looks).
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from ramshare.bus.api import Bus
from ramshare.bus.mqtt import MqttBus
from ramshare.errors import RamshareError
from ramshare.messages.events import Event, EventKind
from ramshare.messages.state import Export, Mode, Volume, VolumePhase
from ramshare_lab.cluster.agents import AgentProcess
from ramshare_lab.cluster.lab import Lab
from ramshare_lab.cluster.operator import Operator
from ramshare_lab.cluster.spec import VOLUME
from ramshare_lab.experiments.faults.ledger import Ledger
from ramshare_lab.experiments.faults.victim import Victim

SERVICE_RESTARTS_S = 2.0
"""A service manager starts what has died again; the suite does it in its place, so late (systemd: RestartSec)."""
ATTACH_S = 150.0
HOME_S = 150.0


class CaseFailedError(RamshareError):
    """A case did not go as it must."""


class _Auditor(Operator):
    """An operator that adds up what every lender has lent, with every message."""

    def __init__(self, bus: Bus, borrower: str, on_event: Callable[[Event, str], None], ledger: Ledger) -> None:
        super().__init__(bus, borrower, on_event)
        self._ledger = ledger

    def _take(self, timeout_s: float) -> None:
        super()._take(timeout_s)
        self._ledger.take((fact.client, export) for fact, export in self.retained.of_kind(Export))


class Stage:
    """A running lab and what is done to it; a context manager."""

    def __init__(self, lab: Lab, say: Callable[[str], None] = lambda _: None) -> None:
        self.lab = lab
        self.say = say
        self.borrower = f"borrower.{lab.spec.borrower_names[0]}"
        self.ledger = Ledger(lab.spec.lender_bytes)
        bus = MqttBus(lab.broker.settings("cli.lab"), "cli.lab")
        self.operator: Operator = _Auditor(bus, self.borrower, self._event, self.ledger)
        self.victim = Victim(lab.borrower.shell)
        self.injected_s = self.recovered_s = 0.0

    def __enter__(self) -> Self:
        self.operator.__enter__()
        self.operator.wait_ready(self.lab.spec.swap_bytes)
        self.wait(lambda: all(map(self.online, self.lab.agents)), "all agents are online", 60.0)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with contextlib.suppress(RamshareError):
            self.victim.end()
        self.operator.__exit__(kind, error, tb)

    def _event(self, event: Event, who: str) -> None:
        self.say(f"{who}: {event.sentence}")

    # ---- the case's clock

    def begin_case(self) -> None:
        """Forget the times of the case before."""
        self.injected_s = self.recovered_s = 0.0
        self.victim.begin_case()
        self.ledger.wrong.clear()
        self.ledger.returned.clear()

    @contextlib.contextmanager
    def fault(self) -> Iterator[None]:
        """Note the time of what happens in the block as the fault's."""
        self.injected_s = time.monotonic()
        self.victim.note_fault(self.injected_s)
        yield

    def note_recovery(self) -> None:
        """Note that all is well again, unless a case has done so itself."""
        self.recovered_s = self.recovered_s or time.monotonic()

    def since_fault_s(self) -> float:
        """Return the seconds since the fault."""
        return time.monotonic() - self.injected_s

    def stall_s(self) -> float:
        """Return the longest time without progress between fault and recovery; of an idle case, in the check after."""
        return self.victim.stall_s(self.recovered_s + 1.0)

    # ---- what people do

    def attach(self, mode: Mode) -> Volume:
        """Borrow for the volume and wait until it is attached."""
        self.begin_attach(mode)
        return self.operator.follow(VOLUME, VolumePhase.ATTACHED, ATTACH_S)

    def begin_attach(self, mode: Mode) -> None:
        """Borrow for the volume; returns when attaching has begun."""
        self.victim.thrash  # noqa: B018 (filled while the volume is still at home)
        self.operator.borrow(VOLUME, mode)

    def online(self, client: str) -> bool:
        """Whether the broker shows an agent as online."""
        return self.operator.retained.online(client)

    def lenders_in_use(self) -> list[str]:
        """Return the lenders of the volume's leases, by client name."""
        return sorted({lease.lender for lease in self.operator.leases()})

    def leases_in_use(self) -> set[str]:
        """Return the names of the volume's leases."""
        return {lease.lease for lease in self.operator.leases()}

    # ---- waiting

    def wait(self, reached: Callable[[], bool], what: str, timeout_s: float) -> None:
        """Listen until `reached`. Raises `CaseFailedError` saying `what` did not happen."""
        if not self.operator.until(reached, timeout_s):
            volume = self.operator.volume(VOLUME)
            told = f"{volume.phase}: {volume.step}" if volume else "unknown"
            raise CaseFailedError(f"within {timeout_s:g} s not: {what}; the volume is {told}")

    def wait_for_step(self, words: str, timeout_s: float = ATTACH_S, percent: float = 0.0) -> None:
        """Wait until the volume's step says `words`, at `percent` of progress or more."""
        self.wait(lambda: self._in_step(words, percent), f"step {words!r}", timeout_s)

    def _in_step(self, words: str, percent: float) -> bool:
        volume = self.operator.volume(VOLUME)
        return volume is not None and words in volume.step and volume.progress_percent >= percent

    def wait_for_end_of(self, phase: VolumePhase, timeout_s: float) -> None:
        """Wait until a new run of the borrower's agent says that the volume is in `phase`."""
        before = self.operator.volume(VOLUME)
        old = before.instance if before is not None else ""

        def reached() -> bool:
            volume = self.operator.volume(VOLUME)
            return volume is not None and volume.instance != old and volume.phase is phase

        self.wait(reached, f"{phase} by the new agent's word", timeout_s)

    def wait_for_event(self, words: str, timeout_s: float = ATTACH_S, kind: EventKind | None = None) -> None:
        """Wait for a new event whose sentence says `words`."""
        seen = len(self.operator.events)

        def heard() -> bool:
            news = self.operator.events[seen:]
            return any(words in event.sentence and kind in (None, event.kind) for _, _, event in news)

        self.wait(heard, f"event {words!r}", timeout_s)

    # ---- breaking and mending

    def agent(self, client: str) -> AgentProcess:
        """Return an agent of the lab."""
        return self.lab.agents[client]

    def crash(self, client: str) -> None:
        """Kill an agent; its service manager starts it again by and by."""
        self.agent(client).kill()
        self.operator.listen(SERVICE_RESTARTS_S)
        self.agent(client).start()

    def pause(self, client: str) -> None:
        """Stop an agent in its tracks; it keeps its connections but does nothing."""
        self._signal(client, signal.SIGSTOP)

    def resume(self, client: str) -> None:
        """Undo `pause`."""
        self._signal(client, signal.SIGCONT)

    def _signal(self, client: str, number: signal.Signals) -> None:
        agent = self.agent(client)
        pid = agent.pid()
        assert pid is not None
        vm = self.lab.vms.get(agent.spec.host)
        if vm is not None:
            vm.shell.run(["sh", "-c", f"kill -{number.value} {pid}"])
        else:
            os.kill(pid, number)
