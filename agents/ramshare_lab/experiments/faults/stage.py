"""A lab with all that a fault case needs at hand: the process that thrashes, the operator, and ways to break things.

One stage serves several cases, as long as each leaves it clean (`leftovers.py` looks).
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from ramshare.bus.api import Bus
from ramshare.bus.mqtt import MqttBus
from ramshare.errors import RamshareError
from ramshare.messages.events import Event, EventKind
from ramshare.messages.state import Export, Mode, Volume, VolumePhase
from ramshare_lab.cluster.agents import AgentProcess
from ramshare_lab.cluster.blueprint import control_port
from ramshare_lab.cluster.lab import Lab
from ramshare_lab.cluster.netns import NETNS_DIR
from ramshare_lab.cluster.operator import Operator
from ramshare_lab.cluster.spec import VOLUME, LabSpec
from ramshare_lab.cluster.vm import MIB
from ramshare_lab.experiments.faults.ledger import Ledger
from ramshare_lab.experiments.faults.storm import Storm
from ramshare_lab.load.thrash import Thrash, command

SERVICE_RESTARTS_S = 2.0
"""A service manager starts what has died again; the suite does it in its place, so late (systemd: RestartSec)."""
ATTACH_S = 150.0
HOME_S = 150.0
SWAP_BYTES = 224 * MIB
PATIENCE_S = 15
"""How long a move waits for a lost lender; 90 s by default, which the suite has no time for."""
DATA_BYTES = 144 * MIB
"""Of it 80 to 100 MiB stay in the VM's memory, so less than half of the swap is in use."""


class CaseFailedError(RamshareError):
    """A case did not go as it must."""


def usual_spec(name: str, **changes: object) -> LabSpec:
    """Return the suite's usual lab: each lender has room for half of the volume, and a third stands by."""
    shape: dict[str, object] = {
        "name": name,
        "lenders": 3,
        "guests": 0,
        "swap_bytes": SWAP_BYTES,
        "lender_bytes": SWAP_BYTES // 2 + 16 * MIB,
        "env": {"RAMSHARE_BORROWER_PATIENCE_S": str(PATIENCE_S)},
    }
    return LabSpec(**{**shape, **changes})  # type: ignore[arg-type]


def mirror_spec(name: str, **changes: object) -> LabSpec:
    """Return the lab of a host whose swap is mirrored: it has a queue, which a swap that is moved must not have."""
    return usual_spec(name, swap_queue=True, **changes)


class _Auditor(Operator):
    """An operator that goes through the lenders' books with every message."""

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
        self._thrash: Thrash | None = None
        self._storm: Storm | None = None
        self.injected_s = self.recovered_s = 0.0
        self._storm_was = False
        self._idle_stall_s = self._known_stall_s = 0.0
        self.known_bad = 0
        """Bad pages that a process had met before it was ended."""

    def __enter__(self) -> Self:
        self.operator.__enter__()
        self.operator.wait_ready(self.lab.spec.swap_bytes)
        self.wait(lambda: all(map(self.online, self.lab.agents)), "all agents are online", 60.0)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with contextlib.suppress(RamshareError):
            self.end_process()
        self.operator.__exit__(kind, error, tb)

    def _event(self, event: Event, who: str) -> None:
        self.say(f"{who}: {event.sentence}")

    # ---- the process

    @property
    def thrash(self) -> Thrash:
        """The process with its checked pages, started and filled on first use."""
        if self._thrash is None:
            self._thrash = Thrash(self.lab.borrower.shell.open(command(DATA_BYTES)))
            self._thrash.init()
        return self._thrash

    @property
    def storm(self) -> Storm:
        """Its storm."""
        if self._storm is None:
            self._storm = Storm(self.thrash)
        return self._storm

    def end_process(self) -> None:
        """End the process; the next use starts a fresh one."""
        storm, thrash = self._storm, self._thrash
        self._storm = self._thrash = None
        if storm is not None:
            self._known_stall_s = max(self._known_stall_s, storm.longest_stall_s(self.injected_s, time.monotonic()))
            self.known_bad = max(self.known_bad, storm.bad_pages)
            storm.abandon()
        if thrash is not None:
            thrash.close()

    def stop_storm(self) -> None:
        """End the storm if there is one."""
        if self._storm is not None:
            self._storm.stop()

    def check_pages(self) -> int:
        """Read every page and return how many are bad; a process with bad pages is not used again."""
        if self._thrash is None:
            return 0
        checked = self._thrash.check()
        if not self._storm_was:
            self._idle_stall_s = checked.stall_s
        if checked.bad_pages_total:
            self.end_process()
        return checked.bad_pages_total

    # ---- the case's clock

    def begin_case(self) -> None:
        """Forget the times of the case before."""
        self.injected_s = self.recovered_s = self._idle_stall_s = self._known_stall_s = 0.0
        self.known_bad = 0
        self.ledger.wrong.clear()
        self.ledger.returned.clear()

    @contextlib.contextmanager
    def fault(self) -> Iterator[None]:
        """Note the time of what happens in the block as the fault's."""
        self._storm_was = self._storm is not None and self._storm.running
        self.injected_s = time.monotonic()
        yield

    def note_recovery(self) -> None:
        """Note that all is well again, unless a case has done so itself."""
        self.recovered_s = self.recovered_s or time.monotonic()

    def since_fault_s(self) -> float:
        """Return the seconds since the fault."""
        return time.monotonic() - self.injected_s

    def stall_s(self) -> float:
        """Return the longest time without progress between fault and recovery; of an idle case, in the check after."""
        stormy = (
            self._storm.longest_stall_s(self.injected_s, self.recovered_s + 1.0) if self._storm is not None else 0.0
        )
        return max(stormy, self._idle_stall_s, self._known_stall_s)

    # ---- what people do

    def attach(self, mode: Mode) -> Volume:
        """Borrow for the volume and wait until it is attached."""
        self.begin_attach(mode)
        return self.operator.follow(VOLUME, VolumePhase.ATTACHED, ATTACH_S)

    def begin_attach(self, mode: Mode) -> None:
        """Borrow for the volume; returns when attaching has begun."""
        self.thrash  # noqa: B018 (filled while the volume is still at home)
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
        """Stop a native agent in its tracks; it keeps its connections but does nothing."""
        os.kill(self._native_pid(client), signal.SIGSTOP)

    def resume(self, client: str) -> None:
        """Undo `pause`."""
        os.kill(self._native_pid(client), signal.SIGCONT)

    def _native_pid(self, client: str) -> int:
        pid = self.agent(client).pid()
        assert pid is not None
        return pid

    def kill_target(self, lender: str) -> None:
        """Kill the tgtd of a lender's host."""
        for pid in self.targets_of(lender):
            os.kill(pid, signal.SIGKILL)

    def targets_of(self, lender: str) -> list[int]:
        """Return the pids of the tgtd on a lender's host."""
        host = lender.partition(".")[2]
        port = control_port(self.lab.spec, host)
        namespace = (NETNS_DIR / self.lab.network.namespace(host)).stat().st_ino
        return [pid for pid in _tgtds(port) if _namespace_of(pid) == namespace]


def _tgtds(port: int) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if words[0].endswith(b"tgtd") and str(port).encode() in words:
                    yield int(entry.name)


def _namespace_of(pid: int) -> int:
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino
    except OSError:
        return 0
